"""What decides the answer to a prompt, and the key made of it.

The canonical form of a request is JSON by RFC 8785 (https://www.rfc-editor.org/rfc/rfc8785): sorted
names, ECMAScript's numbers, no blanks. It has the form of `PromptRequest.to_json`, so that it can be
read back, and is what the store keeps of a request.

All fields of PromptRequest are in it, of media the SHA-256 of their bytes, of options those of
`KEY_OPTIONS`. Codecs leave out what decides nothing: how the answer is sent (stream, encoding), what is
new for each request or names who asks (ids, times, user, metadata, headers), and what is for the service
itself (store, keep_alive). The ids of tool calls are made up anew for each reply: their order is kept.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import re2
import rfc8785

from app.errors import RequestError
from app.kinds.prompts.request import Message, Part, PromptRequest, Text, ToolCall
from app.normal_form import nfc, nfkc
from app.store.key import Query

# Levels of JSON in a request: tools' schemas have some ten.
MOST_DEPTH = 64
# The integers that a JSON number holds exactly, as RFC 8785 wants them.
_EXACT = 2**53 - 1
# What stands in the key, and in the store, for what a pattern of the deck takes out.
# (RE2 for Python replaces with ASCII only.)
MARK = "***"


# Options by their canonical names that are in the key, unless a deck says otherwise.
KEY_OPTIONS = frozenset(
    {
        # How the text is drawn, which text, and where it ends.
        "temperature", "top_p", "top_k", "min_p", "seed", "max_tokens", "stop", "presence_penalty",
        "frequency_penalty", "repeat_penalty", "logit_bias", "suffix", "raw",
        # How many answers and calls, how long a model thinks and writes.
        "n", "parallel_tool_calls", "reasoning", "verbosity",
        # The length of an embedding, and its purpose.
        "dimensions", "task",
    }
)  # fmt: skip
# All that a deck may take into its key. Of the others, logprobs come beside the same text and are not
# kept; the rest decide how fast the same model answers, and with how much memory.
OPTIONS = (
    *sorted(KEY_OPTIONS), "logprobs", "service_tier", "num_ctx", "num_thread", "num_gpu",
)  # fmt: skip

_LINE_END = re.compile(r"\r\n?|\u2028|\u2029")
_BLANKS = re.compile(r"\s+")
# Further steps of normalisation that a deck may name.
STEPS: Mapping[str, Callable[[str], str]] = {
    "width": nfkc,
    "case": str.casefold,
    "space": lambda text: _BLANKS.sub(" ", text).strip(),
}


@dataclass(frozen=True)
class KeyRules:
    """What a deck says about its key.

    `model`: whether it is in the key. `options` are those in the key. `steps` are names of `STEPS`.
    `vary` are patterns that are taken out of prompts, because they differ from call to call (a date);
    `redact` are taken out of prompts and replies, because nobody may read them.
    """

    model: bool = True
    options: frozenset[str] = KEY_OPTIONS
    steps: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()
    redact: tuple[str, ...] = ()

    def text(self, text: str) -> str:
        """A text of a prompt, normalised."""
        lines = _LINE_END.sub("\n", nfc(text)).split("\n")
        # As an expression, `[ \t]+(?=\n)`, it would take hours for a megabyte of spaces.
        text = "\n".join(line.rstrip(" \t") for line in lines).rstrip("\n")
        text = without(text, (*self.redact, *self.vary))
        for name in self.steps:
            text = STEPS[name](text)
        return text


DEFAULT_RULES = KeyRules()


def without(text: str, patterns: Iterable[str]) -> str:
    """A text with `MARK` in place of what RE2 patterns match."""
    for pattern in patterns:
        # re2 keeps compiled patterns itself.
        text = re2.sub(pattern, MARK, text)  # type: ignore[no-untyped-call]
    return text


def canonical(request: PromptRequest, rules: KeyRules) -> str:
    """The canonical form of a request. Raises RequestError (400) if it is nested too deeply."""
    value = normalised(request, rules).to_json()
    if not rules.model:
        value.pop("model", None)
    return canonical_json(value)


def query_of(deck: str, request: PromptRequest, rules: KeyRules) -> Query:
    """The query of a request, which has its key. Raises RequestError (400)."""
    return Query.prompt(deck, canonical(request, rules))


def for_any_model(request: PromptRequest) -> PromptRequest | None:
    """The request without model and options, as entries that are for any model have it.

    None if it asks for several choices, which such an entry does not have.
    """
    if request.options.get("n", 1) != 1:
        return None
    return replace(request, model="", options={})


def normalised(request: PromptRequest, rules: KeyRules) -> PromptRequest:
    """The request as it stands in the key."""
    options = {name: value for name, value in request.options.items() if name in rules.options}
    return replace(
        request,
        model=request.model.removeprefix("models/").removesuffix(":latest"),
        messages=tuple(_messages(request.messages, rules)),
        tool_choice=None if request.tool_choice == "auto" else request.tool_choice,
        options=options,
        inputs=tuple(map(rules.text, request.inputs)),
    )


def _messages(messages: Sequence[Message], rules: KeyRules) -> Iterator[Message]:
    """The messages with normalised texts, and with the numbers of tool calls as their ids."""
    open_calls = _OpenCalls()
    count = 0
    for message in messages:
        calls = []
        for call in message.tool_calls:
            open_calls.add(str(count), call)
            calls.append(ToolCall(call.name, call.arguments, str(count)))
            count += 1
        answers = open_calls.answered(message) if message.role == "tool" else ""
        parts: list[Part] = []
        for part in message.parts:
            if not isinstance(part, Text):
                parts.append(part)
            elif text := rules.text(part.text):
                parts.append(Text(text))
        yield Message(message.role, tuple(parts), tuple(calls), answers)


class _OpenCalls:
    """The calls of tools that no message has answered so far, first come first."""

    def __init__(self) -> None:
        # By the names that a message may call them, with the empty one for all of them.
        self._named: dict[str, deque[str]] = {}
        self._open: set[str] = set()

    def add(self, number: str, call: ToolCall) -> None:
        """Add a call."""
        self._open.add(number)
        for name in {call.id, call.name, ""}:
            self._named.setdefault(name, deque()).append(number)

    def answered(self, message: Message) -> str:
        """The number of the call that a tool's message answers, which may name its id, its tool, or none."""
        named = self._named.get(message.answers, deque())
        while named:
            number = named.popleft()
            if number in self._open:
                self._open.remove(number)
                return number
        return message.answers


def canonical_json(value: Any) -> str:
    """A JSON value by RFC 8785. Raises RequestError (400) if it is nested too deeply, or is no Unicode.

    rfc8785 is written in Python and takes a quarter of the time of finding a reply; so orjson writes
    what is prepared, which escapes in the same way, and rfc8785 only the floats.
    """
    try:
        return orjson.dumps(_prepared(value, MOST_DEPTH)).decode()
    except TypeError:
        raise RequestError(400, "Bad request", "a text has half a surrogate pair in it") from None


def _prepared(value: Any, depth: int) -> Any:
    """A JSON value with its members in order and the numbers that RFC 8785 allows."""
    if depth < 0:
        detail = f"the request is nested more than {MOST_DEPTH} levels deep"
        raise RequestError(400, "Bad request", detail)
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {name: _prepared(value[name], depth - 1) for name in sorted(value, key=_utf16)}
    if isinstance(value, (list, tuple)):
        return [_prepared(one, depth - 1) for one in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
        value = float(value) if value.bit_length() < 1024 else math.inf
    if isinstance(value, float):
        finite = math.isfinite(value)
        return orjson.Fragment(rfc8785.dumps(value)) if finite else str(value)
    return value


def _utf16(name: str) -> bytes:
    """By what RFC 8785 sorts the names of members."""
    return name.encode("utf-16-be", "surrogatepass")
