"""The key of a prompt: what changes it, what does not, one field at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import RequestError
from app.kinds.prompts.key import (
    DEFAULT_RULES,
    KEY_OPTIONS,
    OPTIONS,
    KeyRules,
    canonical,
    canonical_json,
    query_of,
)
from app.kinds.prompts.request import Media, Message, PromptRequest, Text, Tool, ToolCall
from tests.kinds.prompts.test_prompt_values import REQUESTS

ASKED = PromptRequest(
    operation="chat",
    model="m-1",
    messages=(
        Message.of("system", "You are brief."),
        Message.of("user", "Weather in Nara?"),
        Message("assistant", (), (ToolCall("weather", {"city": "Nara"}, "call_7"),)),
        Message("tool", (Text("rain"),), (), "call_7"),
        Message("user", (Text("And this?"), Media("image", "image/png", "ab" * 32))),
    ),
    tools=(Tool("weather", "The weather", {"type": "object"}),),
    tool_choice="required",
    format={"type": "object"},
    options={"temperature": 0.5, "seed": 7},
)


def key(request: PromptRequest, rules: KeyRules = DEFAULT_RULES) -> str:
    """The key of a request to a deck."""
    return query_of("recorded", request, rules).key


def with_message(place: int, message: Message) -> PromptRequest:
    """The request with another message in a place."""
    messages = list(ASKED.messages)
    messages[place] = message
    return replace(ASKED, messages=tuple(messages))


OTHERS: dict[str, PromptRequest] = {
    "operation": replace(ASKED, operation="complete"),
    "model": replace(ASKED, model="m-2"),
    "system text": with_message(0, Message.of("system", "You are long.")),
    "an earlier turn": with_message(1, Message.of("user", "Weather in Uji?")),
    "the role of a turn": with_message(1, Message.of("assistant", "Weather in Nara?")),
    "a call's tool": with_message(2, Message("assistant", (), (ToolCall("w", {"city": "Nara"}),))),
    "a call's arguments": with_message(2, Message("assistant", (), (ToolCall("weather", {}),))),
    "a tool's answer": with_message(3, Message("tool", (Text("sun"),), (), "call_7")),
    "an image": with_message(
        4, Message("user", (Text("And this?"), Media("image", "image/png", "cd" * 32)))
    ),
    "no image": with_message(4, Message.of("user", "And this?")),
    "a tool's name": replace(ASKED, tools=(Tool("sky", "The weather", {"type": "object"}),)),
    "a tool's description": replace(ASKED, tools=(Tool("weather", "", {"type": "object"}),)),
    "a tool's schema": replace(ASKED, tools=(Tool("weather", "The weather", {}),)),
    "no tools": replace(ASKED, tools=()),
    "tool choice": replace(ASKED, tool_choice=None),
    "format": replace(ASKED, format="json"),
    "the schema of the format": replace(ASKED, format={"type": "array"}),
    "fewer turns": replace(ASKED, messages=ASKED.messages[:-1]),
    "only the last turn": replace(ASKED, messages=ASKED.messages[-1:]),
    "inputs": replace(ASKED, inputs=("x",)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_decides_the_answer_changes_the_key(name: str) -> None:
    assert key(OTHERS[name]) != key(ASKED)


SAME: dict[str, PromptRequest] = {
    "ids of calls": replace(
        ASKED,
        messages=(
            *ASKED.messages[:2],
            Message("assistant", (), (ToolCall("weather", {"city": "Nara"}, "other"),)),
            Message("tool", (Text("rain"),), (), "other"),
            *ASKED.messages[4:],
        ),
    ),
    "a tool's answer by the tool's name": with_message(
        3, Message("tool", (Text("rain"),), (), "weather")
    ),
    "a tool's answer by its place": with_message(3, Message("tool", (Text("rain"),))),
    "line ends and trailing space": with_message(0, Message.of("system", "You are brief. \r\n")),
    "an empty part": with_message(
        1, Message("user", (Text(""), Text("Weather in Nara?"), Text(" ")))
    ),
    "a model's path": replace(ASKED, model="models/m-1"),
    "a model's usual tag": replace(ASKED, model="m-1:latest"),
    "the form of numbers": replace(ASKED, options={"temperature": 0.5, "seed": 7.0}),
    "the order of options": replace(ASKED, options={"seed": 7, "temperature": 0.5}),
}


@pytest.mark.parametrize("name", SAME)
def test_what_does_not_decide_the_answer_does_not_change_the_key(name: str) -> None:
    assert key(SAME[name]) == key(ASKED)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_in_the_key_if_the_table_or_the_deck_says_so(name: str) -> None:
    """By default as the table says; a deck may take in any option, and leave out any."""
    asked, other = (replace(ASKED, options={name: value}) for value in (1, 2))
    assert (key(asked) != key(other)) == (name in KEY_OPTIONS)
    only, without = KeyRules(options=frozenset({name})), KeyRules(options=KEY_OPTIONS - {name})
    assert key(asked, only) != key(other, only)
    assert key(asked, without) == key(other, without)


def test_a_deck_may_leave_out_the_model() -> None:
    rules = KeyRules(model=False)
    assert key(ASKED, rules) == key(replace(ASKED, model="m-2"), rules)


@pytest.mark.parametrize(
    ("step", "other"),
    [
        ("width", "Ｗeather in Nara?"),
        ("case", "WEATHER in Nara?"),
        ("space", "Weather  in\nNara? "),
    ],
)
def test_a_deck_may_normalise_more(step: str, other: str) -> None:
    """Width, case and inner space are different prompts unless the deck names the step."""
    asked = with_message(1, Message.of("user", other))
    assert key(asked) != key(ASKED)
    assert key(asked, KeyRules(steps=(step,))) == key(ASKED, KeyRules(steps=(step,)))


def test_what_a_deck_takes_out_is_neither_in_the_key_nor_in_what_is_stored() -> None:
    """Patterns of `vary` and `redact` make prompts the same, and their matches are not kept."""
    days = [
        with_message(1, Message.of("user", f"Today is 2026-11-{day}; mail to a{day}@b.example"))
        for day in (27, 28)
    ]
    rules = KeyRules(vary=(r"\d{4}-\d\d-\d\d",), redact=(r"[\w.]+@[\w.]+",))
    assert key(days[0]) != key(days[1])
    assert key(days[0], rules) == key(days[1], rules)
    assert "2026-11" not in canonical(days[0], rules)
    assert "b.example" not in canonical(days[0], rules)


@given(REQUESTS)
def test_the_canonical_form_is_rfc_8785_and_can_be_read_back(request: PromptRequest) -> None:
    """It is stable: the key of what is read back is the key of what was asked."""
    text = canonical(request, DEFAULT_RULES)
    assert rfc8785.dumps(orjson.loads(text)) == text.encode()
    again = PromptRequest.from_json(orjson.loads(text))
    assert canonical(again, DEFAULT_RULES) == text


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.text(),
        st.integers(-(2**53) + 1, 2**53 - 1),
    ),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(_JSON)
@example({"\U0001f600": 1, "\ufb33": 2, "a": 1e21, "b": 1e-7, "c": -0.0, "d": 5e-324, "e": 1.0})
@example("".join(map(chr, range(0x100))) + "\u2028\u2029\uffff")
def test_any_value_is_written_as_the_library_for_rfc_8785_writes_it(value: Any) -> None:
    """Names beyond the first plane, control characters, floats of every size: byte for byte."""
    assert canonical_json(value).encode() == rfc8785.dumps(value)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, [{"a": "x\ud834"}]])
def test_half_a_character_is_a_clients_error(value: Any) -> None:
    """JSON can spell a lone surrogate, which no UTF-8 can hold."""
    with pytest.raises(RequestError, match="surrogate"):
        canonical_json(value)


def nested(depth: int) -> Any:
    """A schema of some depth."""
    value: Any = {}
    for _ in range(depth):
        value = {"items": value}
    return value


def test_a_request_that_is_nested_too_deeply_is_refused() -> None:
    assert key(replace(ASKED, format=nested(40)))
    with pytest.raises(RequestError, match="levels deep") as refused:
        key(replace(ASKED, format=nested(900)))
    assert refused.value.status == 400


@pytest.mark.parametrize("number", [2**60, -(2**60), 10**400, float("inf"), float("nan"), 1e308])
def test_any_number_has_a_key(number: float) -> None:
    assert key(replace(ASKED, options={"seed": number}))
