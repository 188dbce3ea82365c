"""What the codecs share: checked members of a body, media by hash, pieces of a stream."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from app.errors import BadFieldError, TsukuriokiError, UpstreamError
from app.kinds.prompts.reply import NO_TOKENS, Choice, Finish, Piece, Reply
from app.kinds.prompts.request import Media, Message, Text, ToolCall

# Items of a list in a body: messages, parts, tools, texts to embed.
MOST_ITEMS = 4096
# Choices that a request may ask for.
MOST_CHOICES = 128


class Wire(NamedTuple):
    """What rendering a reply needs to know of the request, and the key does not.

    `form` is the route's (`chat`, `generate`, `complete`, `embed` …), `model` the name as the
    client sent it; `marks` are switches of a dialect.
    """

    form: str
    model: str
    stream: bool = False
    marks: frozenset[str] = frozenset()


class Stamp(NamedTuple):
    """What a rendered reply says of itself: an id of letters and digits, seconds of the epoch."""

    id: str
    created: int


def events_of(events: Generator[Piece, None, Reply]) -> Iterator[Piece | Reply]:
    """The pieces of a reply, then the reply itself, which the generator returns."""
    reply = yield from events
    yield reply


def bad_field(field: str, expected: str) -> BadFieldError:
    """The error for a member of a body that is missing or wrong."""
    return BadFieldError(field, f"{field!r} must be {expected}")


class Members:
    """The members of a JSON object, checked as they are read; null is as good as missing.

    `place` is where the object stands, for errors. With `any_case`, a name is found in snake_case
    too. `fault` makes the error that all methods raise, of a place and what was expected there.
    """

    def __init__(
        self,
        value: object,
        place: str = "",
        *,
        any_case: bool = False,
        fault: Callable[[str, str], TsukuriokiError] = bad_field,
    ) -> None:
        if not isinstance(value, dict):
            raise fault(place or "body", "a JSON object")
        self.value: Mapping[str, Any] = value
        self._place = place
        self._any_case = any_case
        self._fault = fault

    def at(self, name: str) -> str:
        """Where a member stands."""
        return f"{self._place}.{name}" if self._place else name

    def get(self, name: str) -> Any:
        """A member as it is; None if it is missing."""
        found = self.value.get(name)
        if found is None and self._any_case:
            found = self.value.get(snake_case(name))
        return found

    def text(self, name: str, default: str | None = "") -> str:
        """A text; `default` if it is missing, which is an error if that is None."""
        found = self.get(name)
        if found is None and default is not None:
            return default
        if not isinstance(found, str):
            raise self._fault(self.at(name), "a text")
        return clean(found)

    def switch(self, name: str, *, default: bool = False) -> bool:
        """True or false."""
        found = self.get(name)
        if found is None:
            return default
        if not isinstance(found, bool):
            raise self._fault(self.at(name), "true or false")
        return found

    def count(self, name: str, default: int = 0, least: int = 0, most: int = 2**53) -> int:
        """A whole number."""
        found = self.get(name)
        if found is None:
            return default
        if type(found) is not int or not least <= found <= most:
            raise self._fault(self.at(name), f"a whole number from {least} to {most}")
        return found

    def items(self, name: str) -> list[Any]:
        """A list; empty if it is missing."""
        found = self.get(name)
        if found is None:
            return []
        if not isinstance(found, list) or len(found) > MOST_ITEMS:
            raise self._fault(self.at(name), f"a list of at most {MOST_ITEMS} items")
        return found

    def inner(self, name: str) -> Members:
        """The members of an object; none if it is missing."""
        found = self.get(name)
        return self._of({} if found is None else found, self.at(name))

    def objects(self, name: str) -> Iterator[Members]:
        """The members of each object of a list."""
        for number, item in enumerate(self.items(name)):
            yield self._of(item, f"{self.at(name)}[{number}]")

    def _of(self, value: object, place: str) -> Members:
        return Members(value, place, any_case=self._any_case, fault=self._fault)

    def options(self, names: Mapping[str, str]) -> dict[str, Any]:
        """The options that are here, by their canonical names; `names` has the dialect's."""
        found = {ours: self.get(name) for name, ours in names.items()}
        return {ours: value for ours, value in found.items() if value is not None}

    def stops(self, name: str) -> list[str] | None:
        """Texts at which a reply stops: one, or a list of them."""
        found = self.get(name)
        if isinstance(found, str):
            return [clean(found)]
        texts = self.items(name)
        if not all(isinstance(text, str) for text in texts):
            raise self._fault(self.at(name), "a text or a list of texts")
        return [clean(text) for text in texts] or None


def deepest(value: object, enough: int) -> int:
    """How many levels of lists and objects a value has; no more than `enough` + 1 are counted."""
    levels, here = 0, [value]
    while levels <= enough:
        inner: list[object] = []
        for one in here:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        if not inner:
            break
        levels, here = levels + 1, inner
    return levels


def snake_case(name: str) -> str:
    """`maxOutputTokens` as `max_output_tokens`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def clean(text: str) -> str:
    """A text without lone surrogates, which JSON allows and UTF-8 does not."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def text_part(text: str) -> Text:
    return Text(clean(text))


def media_part(kind: str, mime: str, content: str) -> Media:
    """A medium: its bytes if `content` is base64 or a data URL of it, else its URL."""
    if content.startswith("data:"):
        head, _, data = content.partition(",")
        mime = head[5:].partition(";")[0] or mime
        content = data if head.endswith(";base64") else content
    try:
        return Media.of(kind, mime, base64.b64decode(content, validate=True))
    except (binascii.Error, ValueError):
        return Media.of(kind, mime, clean(content))


def other_part(value: object) -> Media:
    """A part of a kind that we do not know, by its JSON."""
    return Media.of("file", "application/json", dumps(value))


def system_message(text: str) -> list[Message]:
    """A leading system message, none if the text is empty."""
    return [Message.of("system", clean(text))] if text else []


def dumps(value: object) -> str:
    """JSON as it stands in a reply's text."""
    return orjson.dumps(value, default=str).decode()


def arguments_of(value: object) -> Any:
    """The arguments of a tool call: the JSON that a text has, else the value itself."""
    if not isinstance(value, str):
        return {} if value is None else value
    try:
        return orjson.loads(clean(value) or "{}")
    except orjson.JSONDecodeError:
        return clean(value)


def arguments_text(call: ToolCall) -> str:
    """The arguments of a tool call as a JSON text; a text that is not JSON as it is."""
    return call.arguments if isinstance(call.arguments, str) else dumps(call.arguments)


# Reading what an upstream answered.


def upstream_object(body: object) -> Members:
    """The members of an upstream's reply, whose faults are UpstreamError."""
    return Members(body, any_case=True, fault=_upstream_fault)


def _upstream_fault(place: str, expected: str) -> UpstreamError:
    return unreadable(f"{place!r} must be {expected}")


def unreadable(why: str) -> UpstreamError:
    return UpstreamError(502, f"the upstream's reply cannot be read: {why}")


def cut_off() -> UpstreamError:
    return UpstreamError(502, "the upstream's stream ended before the reply was whole")


def parsed(text: bytes) -> Any:
    """The JSON of a line or an event of a stream. Raises UpstreamError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise unreadable(f"not JSON: {error.msg}") from None


class Lines:
    """Cuts a stream of bytes, whatever the network cut, into lines, or the data of its events."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def lines(self, data: bytes) -> list[bytes]:
        """The lines that are complete with these bytes, without their ends."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line.rstrip(b"\r") for line in whole]

    def events(self, data: bytes) -> list[bytes]:
        """The data of the server-sent events that are complete with these bytes."""
        found = []
        for line in self.lines(data):
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                found.append(b"\n".join(self._data))
                self._data.clear()
        return found


class ReplyBuilder:
    """Puts a reply together from its pieces."""

    def __init__(self) -> None:
        self._texts: dict[int, list[str]] = {}
        self._calls: dict[tuple[int, int], list[Piece]] = {}
        self._finish: dict[int, Finish] = {}
        self.usage = NO_TOKENS
        self.model = ""

    def add(self, piece: Piece) -> Piece:
        if piece.call is None:
            self._texts.setdefault(piece.choice, []).append(piece.text)
        else:
            self._calls.setdefault((piece.choice, piece.call), []).append(piece)
        return piece

    def finish(self, choice: int, reason: Finish) -> None:
        self._finish[choice] = reason

    @property
    def finished(self) -> bool:
        """Whether every choice that has begun has ended."""
        begun = {*self._texts, *(choice for choice, _ in self._calls)}
        return bool(self._finish) and begun <= set(self._finish)

    def calls_of(self, choice: int) -> int:
        """How many tool calls a choice has."""
        return sum(number == choice for number, _ in self._calls)

    def reply(self) -> Reply:
        """The whole reply. Raises UpstreamError if a choice has not ended."""
        if not self.finished:
            raise cut_off()
        choices = tuple(self._choice(number) for number in sorted(self._finish))
        return Reply(choices, self.model, self.usage)

    def _choice(self, number: int) -> Choice:
        calls = tuple(
            ToolCall(
                next((piece.name for piece in pieces if piece.name), ""),
                arguments_of("".join(piece.text for piece in pieces)),
                next((piece.id for piece in pieces if piece.id), ""),
            )
            for (choice, _), pieces in sorted(self._calls.items())
            if choice == number
        )
        finish = self._finish[number]
        if calls and finish == "stop":
            finish = "tool_calls"
        return Choice("".join(self._texts.get(number, ())), calls, finish)
