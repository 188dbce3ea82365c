"""Decks of prompts as conversations: what was asked, answered by what was recorded or cooked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from app.kinds.prompts.gate import REPLY
from app.kinds.prompts.reply import Choice, Reply
from app.kinds.prompts.request import PromptRequest
from app.store.key import Query
from precompute.cook.prompts import can_cook, request_of
from precompute.export.material import Material, StoredAnswers
from precompute.export.rows import ASSISTANT, Message, Row


class PromptMaterial(Material):
    """Chats of texts; what has calls of tools, media or several choices is left out.

    It needs no `training.json`: the prompts have all words.
    """

    def rows(self, stored: StoredAnswers, left_out: Counter[str]) -> Iterator[Row]:
        """The stored replies by key."""
        for entry in stored.current():
            request = request_of(entry.query)
            texts = _texts(entry.response)
            if request is None or not _is_plain(request) or len(texts) != 1:
                left_out["no chat of texts with one answer"] += 1
                continue
            yield Row(
                f"{entry.key}#{entry.variant}",
                entry.key,
                (*self.prompt(entry.query), Message(ASSISTANT, texts[0])),
                entry.query,
                entry.response,
                stored.origin(entry),
            )

    def prompt(self, query: Query) -> tuple[Message, ...]:
        """The messages of a prompt. Raises KeyError if the query is none."""
        request = request_of(query)
        if request is None:
            raise KeyError(query.key)
        return tuple(Message(message.role, message.text) for message in request.messages)

    def group(self, query: Query) -> str:
        """The replies to one prompt are a group."""
        return query.key

    def text(self, response: Mapping[str, str]) -> str:
        """The text of a reply."""
        return "".join(_texts(response))

    def read(self, answer: str) -> Mapping[str, str]:
        """What a model wrote, as a response that the gate can judge."""
        return {REPLY: Reply((Choice(answer.strip()),)).to_text()}


material = PromptMaterial


def _is_plain(request: PromptRequest) -> bool:
    return can_cook(request) and not any(
        message.tool_calls or message.role == "tool" for message in request.messages
    )


def _texts(response: Mapping[str, str]) -> list[str]:
    """The texts of a reply's choices; none if one of them calls a tool."""
    choices = Reply.from_text(response[REPLY]).choices
    return [] if any(choice.tool_calls for choice in choices) else [one.text for one in choices]
