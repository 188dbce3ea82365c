"""The gate for replies to prompts, cooked and recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from app.kinds.expressions import compiled
from app.kinds.prompts.reply import Reply
from app.kinds.prompts.request import PromptRequest
from app.kinds.refusal import Refusal
from app.store.key import PROMPT, Query

# The member of an entry's response that has the reply.
REPLY = "reply"


@dataclass(frozen=True)
class Checks:
    """What a deck demands of the texts of replies. Those of calls of tools are not examined.

    `characters` are the least and greatest length; `schema` a JSON schema of the text; `must` and
    `must_not` are RE2 expressions that are found in it, or not; `script` are the names of the scripts
    to which all its letters belong.
    """

    characters: tuple[int, int] | None = None
    schema: Any = None
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    script: tuple[str, ...] = ()


NO_CHECKS = Checks()


class PromptGate:
    """Examines replies by the deck's checks; a reply must be whole and not empty in any case."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._schema = validator(checks.schema)
        self._must = [compiled(text) for text in checks.must]
        self._must_not = [compiled(text) for text in checks.must_not]
        scripts = "".join(rf"\p{{{name}}}" for name in checks.script)
        self._native = compiled(f"[{scripts}]") if scripts else None
        self._letter = compiled(r"\p{L}")

    def examine(self, query: Query, response: Mapping[str, object]) -> Refusal | None:
        """The first refusal of a stored reply."""
        return next(iter(self.refusals(query, response)), None)

    def refusals(self, query: Query, response: Mapping[str, object]) -> tuple[Refusal, ...]:
        """All refusals of a stored reply."""
        try:
            reply = Reply.from_text(str(response[REPLY]))
        except (ValueError, KeyError, TypeError):
            return (Refusal("shape"),)
        wants_json = False
        if query.kind == PROMPT:
            request = PromptRequest.from_json(orjson.loads(query.picks[0][1]))
            wants_json = request.format is not None
        return tuple(self.of_reply(reply, wants_json=wants_json))

    def of_reply(self, reply: Reply, *, wants_json: bool) -> Iterator[Refusal]:
        """All refusals of a reply; `wants_json`: the request asked for JSON."""
        if not reply.choices and not reply.embeddings:
            yield Refusal("empty")
        for choice in reply.choices:
            if choice.finish == "length":
                yield Refusal("cut off", choice.finish, "stop")
            elif choice.finish == "refused":
                yield Refusal("blocked", choice.finish, "stop")
            elif choice.tool_calls:
                continue
            elif not choice.text.strip():
                yield Refusal("empty")
            else:
                yield from self._of_text(choice.text, wants_json=wants_json)

    def _of_text(self, text: str, *, wants_json: bool) -> Iterator[Refusal]:
        checks = self._checks
        least, most = checks.characters or (0, len(text))
        if not least <= len(text) <= most:
            yield Refusal("length", f"{len(text)} characters", f"{least} to {most}")
        for expression in self._must:
            if not expression.search(text):
                yield Refusal("must", "missing", expression.pattern)
        for expression in self._must_not:
            if found := expression.search(text):
                yield Refusal("must not", found.group(), expression.pattern)
        if self._native and (strange := self._letter.search(self._native.sub("", text))):
            yield Refusal("script", strange.group(), ", ".join(checks.script))
        if wants_json or self._schema:
            yield from self._of_json(text)

    def _of_json(self, text: str) -> Iterator[Refusal]:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            yield Refusal("json", error.msg, "JSON")
            return
        wrong = next(self._schema.iter_errors(value), None) if self._schema else None
        if wrong is not None:
            yield Refusal("schema", str(wrong.message)[:200], "the deck's JSON schema")


def validator(schema: Any) -> Any:
    """A validator of a JSON schema, None for none. Raises ValueError if it is no schema.

    Raises ModuleNotFoundError if the library is missing, which only decks with a schema need.
    """
    if schema is None:
        return None
    import jsonschema_rs

    return jsonschema_rs.validator_for(schema)
