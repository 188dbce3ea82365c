"""Requests and replies as values: what is written is read back."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from app.kinds.prompts.reply import Choice, Chunk, Reply, Tokens
from app.kinds.prompts.request import (
    Media,
    Message,
    Part,
    PromptRequest,
    Text,
    Tool,
    ToolCall,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
PART: st.SearchStrategy[Part] = st.builds(Text, TEXT) | st.builds(Media, TEXT, TEXT, TEXT)
CALLS = st.lists(st.builds(ToolCall, TEXT, JSON, TEXT), max_size=2).map(tuple)
MESSAGES = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    st.lists(PART, max_size=3).map(tuple),
    CALLS,
    TEXT,
)
REQUESTS = st.builds(
    PromptRequest,
    st.sampled_from(["chat", "complete", "embed"]),
    TEXT,
    st.lists(MESSAGES, max_size=3).map(tuple),
    st.lists(st.builds(Tool, TEXT, TEXT, st.none() | st.dictionaries(TEXT, JSON, min_size=1))).map(
        tuple
    ),
    st.none() | st.sampled_from(["auto", "none", {"name": "weather"}]),
    st.none() | st.just("json") | st.dictionaries(TEXT, JSON, min_size=1),
    st.dictionaries(TEXT, JSON, max_size=3),
    st.lists(TEXT, max_size=3).map(tuple),
)
CHUNKS = st.builds(
    Chunk, st.integers(0, 3), TEXT, st.floats(0, 1e6), st.none() | st.integers(0, 3), TEXT, TEXT
)
CHOICES = st.builds(Choice, TEXT, CALLS, st.sampled_from(["stop", "length", "tool_calls"]))
REPLIES = st.builds(
    Reply,
    st.lists(CHOICES, max_size=3).map(tuple),
    TEXT,
    st.builds(Tokens, st.integers(0, 10**6), st.integers(0, 10**6)),
    st.lists(st.lists(st.floats(-1, 1), max_size=3).map(tuple), max_size=2).map(tuple),
    st.lists(CHUNKS, max_size=3).map(tuple),
)


@given(REQUESTS)
def test_a_request_written_as_json_is_read_back(request: PromptRequest) -> None:
    written = orjson.dumps(request.to_json())
    assert PromptRequest.from_json(orjson.loads(written)) == request


@given(REPLIES)
def test_a_reply_written_as_text_is_read_back(reply: Reply) -> None:
    assert Reply.from_text(reply.to_text()) == reply


@given(st.lists(st.builds(Choice, TEXT, CALLS), max_size=3).map(tuple))
def test_the_pieces_of_a_reply_without_pace_are_its_text_and_its_calls(
    choices: tuple[Choice, ...],
) -> None:
    chunks = list(Reply(choices).chunks())
    for number, choice in enumerate(choices):
        mine = [chunk for chunk in chunks if chunk.choice == number]
        assert "".join(p.text for p in mine if p.call is None) == choice.text
        calls = [(p.name, orjson.loads(p.text), p.id) for p in mine if p.call is not None]
        assert calls == [(call.name, call.arguments, call.id) for call in choice.tool_calls]
