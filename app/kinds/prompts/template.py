"""A prompt's template with slots: filling it, and reading a live prompt into its slots."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import re2

from app.kinds.expressions import literal
from app.kinds.prompts.request import Message, PromptRequest
from app.kinds.reading import Reader, shorten
from app.normal_form import nfkc

TEMPLATE_FILE = "template.json"
# Its members, with what they mean.
MEMBERS: Mapping[str, str] = {
    "template": 'the messages: `[{"role": "user", "content": "… {slot} …"}]`',
    "slots": "slots → the values that each may have",
    "format": "the response format of the requests, as clients send it",
}
# Slots of a template, and the texts that it can make.
MOST_SLOTS, MOST_FILLED = 20, 10**12
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
# Stands for a slot while the text around it is spelled: a character for private use.
_HOLE = "\ue000"
_BLANKS = re.compile(r"\s+")
# Signs at the end of a text, and the blanks between them.
_CLOSING = " .!。!"


def spelled(text: str) -> str:
    """A text without what another spelling changes: width, case, spaces, the closing mark."""
    plain = nfkc(text).casefold()
    return _BLANKS.sub(" ", plain).rstrip(_CLOSING).strip()


@dataclass(frozen=True)
class PromptTemplate:
    """Messages with {slots}, and the values that each slot may have.

    `format` is the response format of the requests that fit it. Options and models are not looked at:
    its entries are for any of them.
    """

    messages: tuple[Message, ...]
    slots: Mapping[str, tuple[str, ...]]
    format: Any = None

    @property
    def size(self) -> int:
        """How many prompts it makes."""
        return math.prod(map(len, self.slots.values()))

    def filled(self, values: Mapping[str, str]) -> PromptRequest:
        """The request for values of all slots."""
        return PromptRequest(
            "chat",
            "",
            tuple(
                Message.of(message.role, self._holes.sub(lambda m: values[m[1]], message.text))
                for message in self.messages
            ),
            format=self.format,
        )

    def read(self, request: PromptRequest) -> dict[str, str] | None:
        """The values of a request's slots, in whatever spelling; None if it does not fit."""
        if (
            request.operation != "chat"
            or request.tools
            or request.format != self.format
            or request.options.get("n", 1) != 1
            or len(request.messages) != len(self.messages)
        ):
            return None
        values: dict[str, str] = {}
        for message, reader in zip(request.messages, self._readers, strict=True):
            found = reader.read(message)
            if found is None or any(values.get(name, said) != said for name, said in found.items()):
                return None
            values |= found
        return values

    @cached_property
    def _readers(self) -> tuple[_MessageReader, ...]:
        return tuple(map(self._reader, self.messages))

    @cached_property
    def _holes(self) -> re.Pattern[str]:
        return re.compile(r"\{(" + "|".join(map(re.escape, self.slots)) + r")\}")

    def _reader(self, message: Message) -> _MessageReader:
        names: list[str] = []

        def hole(found: re.Match[str]) -> str:
            names.append(found[1])
            return _HOLE

        parts = spelled(self._holes.sub(hole, message.text)).split(_HOLE)
        values = [{spelled(value): value for value in self.slots[name]} for name in names]
        groups = ["(" + "|".join(map(literal, options)) + ")" for options in values]
        joined = "".join(a + b for a, b in zip(map(literal, parts), [*groups, ""], strict=True))
        pattern = re2.compile(joined)  # type: ignore[no-untyped-call]
        return _MessageReader(message.role, pattern, names, values)


class _MessageReader(NamedTuple):
    """Reads the slots of one message: their names in order, the values of each by their spelling."""

    role: str
    pattern: Any
    names: Sequence[str]
    values: Sequence[Mapping[str, str]]

    def read(self, message: Message) -> dict[str, str] | None:
        """The values of the slots; None if the message does not fit."""
        if message.role != self.role or message.tool_calls:
            return None
        if len(message.parts) != 1:
            return None
        found = self.pattern.fullmatch(spelled(message.text))
        if found is None:
            return None
        slots: dict[str, str] = {}
        for name, values, said in zip(self.names, self.values, found.groups(), strict=True):
            if slots.setdefault(name, values[said]) != values[said]:
                return None
        return slots


def load_template(folder: Path) -> PromptTemplate | None:
    """Read and check a deck's template; None if it has none. Raises DeckError."""
    if not (folder / TEMPLATE_FILE).exists():
        return None
    reader = Reader(folder, TEMPLATE_FILE)
    root = reader.value
    reader.only(root, "", MEMBERS)
    messages = tuple(
        _message(reader, one, f"template {number}")
        for number, one in enumerate(reader.member(root, "template", list, ""), 1)
    )
    if not messages:
        raise reader.fail("template", "has no message")
    slots: dict[str, tuple[str, ...]] = {}
    for name, options in reader.member(root, "slots", dict, "").items():
        if not _NAME.fullmatch(name):
            raise reader.fail("slots", f"{name!r}: use letters, digits and _, a letter first")
        slots[name] = _values(reader, options, f"slots: {name}")
    if not 1 <= len(slots) <= MOST_SLOTS:
        raise reader.fail("slots", f"there must be 1 to {MOST_SLOTS}")
    template = PromptTemplate(messages, slots, root.get("format"))
    if template.size > MOST_FILLED:
        raise reader.fail("slots", f"they make {template.size:,} prompts, at most {MOST_FILLED:,}")
    whole = "\n".join(message.text for message in messages)
    if unused := [name for name in slots if f"{{{name}}}" not in whole]:
        raise reader.fail("slots", f"{unused[0]!r} is in no message of the template")
    return template


def _message(reader: Reader, value: Any, place: str) -> Message:
    role = reader.member(value, "role", str, place)
    if role not in ("system", "user", "assistant"):
        raise reader.fail(place, f"'role' must be system, user or assistant, not {shorten(role)}")
    return Message.of(role, reader.member(value, "content", str, place))


def _values(reader: Reader, value: Any, place: str) -> tuple[str, ...]:
    values = reader.strings(value, place)
    seen: dict[str, str] = {}
    for one in values:
        if spelled(one) in seen:
            raise reader.fail(place, f"{one!r} is another spelling of {seen[spelled(one)]!r}")
        seen[spelled(one)] = one
    if not values:
        raise reader.fail(place, "has no value")
    return values
