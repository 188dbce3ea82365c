"""What the codecs share: checked members of a body, media by hash, arguments of tool calls."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from app.errors import BadFieldError, TsukuriokiError
from app.kinds.prompts.reply import Chunk, Reply
from app.kinds.prompts.request import Media, Message, Role, Text, ToolCall

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


def events_of(events: Generator[Chunk, None, Reply]) -> Iterator[Chunk | Reply]:
    """The chunks of a reply, then the reply itself, which the generator returns."""
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

    def options(self, *same: str, **renamed: str) -> dict[str, Any]:
        """The options that are here by their canonical names: `same` are the dialect's names too,
        `renamed` has the dialect's name for each canonical one.
        """
        names = {name: name for name in same} | renamed
        found = {ours: self.get(theirs) for ours, theirs in names.items()}
        return {ours: value for ours, value in found.items() if value is not None}

    def stops(self, name: str) -> dict[str, list[str]]:
        """The option `stop`, texts at which a reply stops: one, or a list of them."""
        found = self.get(name)
        texts = [found] if isinstance(found, str) else self.items(name)
        if not all(isinstance(text, str) for text in texts):
            raise self._fault(self.at(name), "a text or a list of texts")
        return {"stop": [clean(text) for text in texts]} if texts else {}

    def texts(self, name: str) -> tuple[str, ...]:
        """The texts to embed: one or a list of them, or tokens as their JSON."""
        given = self.get(name)
        inputs = [given] if isinstance(given, str) else self.items(name)
        if is_token_row(inputs):
            return (dumps(inputs),)
        if not inputs or not all(isinstance(i, str) or is_token_row(i) for i in inputs):
            raise self._fault(self.at(name), "a text or a list of texts")
        return tuple(clean(i) if isinstance(i, str) else dumps(i) for i in inputs)

    def role(self, roles: Mapping[str, Role], default: str | None = None) -> tuple[str, Role]:
        """Who speaks, in the dialect's word and in ours; `roles` has ours by the dialect's."""
        found = self.text("role", default)
        if found not in roles:
            raise self._fault(self.at("role"), f"one of {', '.join(roles)}")
        return found, roles[found]


def is_token_row(value: object) -> bool:
    """Whether a value is a list of tokens, which stand for a text."""
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


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


def tool_call(function: Members, id_: str = "", arguments: str = "arguments") -> ToolCall:
    """A call of a tool; `arguments` is the name of the member that has its arguments."""
    return ToolCall(function.text("name"), arguments_of(function.get(arguments)), id_)


def arguments_object(call: ToolCall) -> Mapping[str, Any]:
    """The arguments of a tool call as an object, which some clients require."""
    return call.arguments if isinstance(call.arguments, dict) else {"input": call.arguments}
