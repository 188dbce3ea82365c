"""What the codecs share in reading what an upstream answered."""

from __future__ import annotations

import array
import base64
import sys
from typing import Any

import orjson

from app.errors import UpstreamError
from app.kinds.prompts.dialects.wire import Members, arguments_of, dumps
from app.kinds.prompts.reply import NO_TOKENS, Choice, Chunk, Finish, Reply
from app.kinds.prompts.request import ToolCall


def upstream_object(body: object) -> Members:
    """The members of an upstream's reply, whose faults are UpstreamError."""
    return Members(body, any_case=True, fault=_upstream_fault)


def _upstream_fault(place: str, expected: str) -> UpstreamError:
    return _unreadable(f"{place!r} must be {expected}")


def _unreadable(why: str) -> UpstreamError:
    return UpstreamError(502, f"the upstream's reply cannot be read: {why}")


def cut_off() -> UpstreamError:
    return UpstreamError(502, "the upstream's stream ended before the reply was whole")


def failed(why: object) -> UpstreamError:
    return UpstreamError(502, f"the upstream's stream has an error: {why}"[:500])


def _parsed(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _unreadable(f"not JSON: {error.msg}") from None


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
        """The data of the server-sent events that are complete with these bytes.

        Without [DONE], which ends a stream of OpenAI's.
        """
        found = []
        for line in self.lines(data):
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                found.append(b"\n".join(self._data))
                self._data.clear()
        return [data for data in found if data != b"[DONE]"]


class ObjectReader:
    """Puts a reply together from JSON objects: one, or those of a stream.

    A dialect's reader says what an object adds (`take`). One whose replies do not come as streams
    reads the whole alone.
    """

    def __init__(self) -> None:
        self.model = ""
        self.usage = NO_TOKENS
        self._lines = Lines()
        self._texts: dict[int, list[str]] = {}
        self._calls: dict[tuple[int, int], list[Chunk]] = {}
        self._finish: dict[int, Finish] = {}

    def whole(self, body: Any) -> Reply:
        """Parse a reply that is not a stream. Raises UpstreamError."""
        self.take(upstream_object(body))
        return self.end()

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that are complete with these bytes. Raises UpstreamError."""
        objects = [upstream_object(_parsed(text)) for text in self.cut(data)]
        return [chunk for value in objects for chunk in self.take(value)]

    def cut(self, data: bytes) -> list[bytes]:
        """The texts of the objects that are complete with these bytes."""
        return self._lines.events(data)

    def take(self, value: Members) -> list[Chunk]:
        """The chunks of one object. Raises UpstreamError if it is an error."""
        raise _unreadable("it is of a kind that is not streamed")

    def end(self) -> Reply:
        """The whole reply. Raises UpstreamError if a choice has not ended: the stream was cut."""
        begun = {*self._texts, *(choice for choice, _ in self._calls)}
        if not self._finish or not begun <= set(self._finish):
            raise cut_off()
        choices = tuple(self._choice(number) for number in sorted(self._finish))
        return Reply(choices, self.model, self.usage)

    def add(self, chunk: Chunk) -> Chunk:
        """Add a chunk, which is given back."""
        if chunk.call is None:
            self._texts.setdefault(chunk.choice, []).append(chunk.text)
        else:
            self._calls.setdefault((chunk.choice, chunk.call), []).append(chunk)
        return chunk

    def add_call(self, choice: int, call: ToolCall) -> Chunk:
        """Add a whole tool call, and give its chunk."""
        number = sum(place == choice for place, _ in self._calls)
        return self.add(Chunk(choice, dumps(call.arguments), 0.0, number, call.name, call.id))

    def finish(self, choice: int, reason: Finish) -> None:
        """Note how a choice has ended."""
        self._finish[choice] = reason

    def _choice(self, number: int) -> Choice:
        calls = tuple(
            ToolCall(
                next((chunk.name for chunk in chunks if chunk.name), ""),
                arguments_of("".join(chunk.text for chunk in chunks)),
                next((chunk.id for chunk in chunks if chunk.id), ""),
            )
            for (choice, _), chunks in sorted(self._calls.items())
            if choice == number
        )
        finish = self._finish[number]
        if calls and finish == "stop":
            finish = "tool_calls"
        return Choice("".join(self._texts.get(number, ())), calls, finish)


_LITTLE = sys.byteorder == "little"


def vector(value: Any) -> tuple[float, ...]:
    """An embedding, a list or base64. Raises UpstreamError."""
    try:
        if not isinstance(value, str):
            return tuple(map(float, value))
        numbers = array.array("f", base64.b64decode(value))
    except (TypeError, ValueError, OverflowError):
        raise _unreadable("an embedding must be a list of numbers") from None
    if not _LITTLE:
        numbers.byteswap()
    return tuple(numbers)
