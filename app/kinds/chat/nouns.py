"""The nouns of messages, found by the member `nouns` of a deck's `conversation.json`.

    head, tail  what is taken away again and again from a short answer
    shape       what may be left of it
    within      finds a noun inside a story (in a group)
    apart       words that separate others there
    reject      what no noun may contain
    rude        what nothing of the user's that is said again may contain: rude and grave words

A line that fits many messages shows nothing of the one it answers. Before such a line the character says the
message's noun again (「席替え！」). The member `echo` says where, and how:

    before      the pools of such lines; all that begin so, if a name ends in an underscore
    called      nouns → what is said for them: 妹 → 妹さん
    not         what a message has of which nothing is said again: sad news

The words for a noun are lines with the slot `it` in the pool `echo`; a character without such lines does not
do it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.kinds.chat.files import ExpressionReader
from app.kinds.chat.memory import NOUN_BYTES
from app.kinds.expressions import Expression

# The pool of what is said before a line.
ECHO = "echo"
# An answer that is longer tells a story, of which one word may not be the point.
SHORT = 24
_ROUNDS = 4
_MEMBERS = ("head", "tail", "shape", "within", "apart", "reject", "rude")
_ECHO = ("before", "called", "not")
# Characters of a message beyond which its noun may not be the point.
_TELLING = 30


class Nouns:
    """Finds nouns in messages as `Hearing.text` gives them."""

    def __init__(self, reader: ExpressionReader, nouns: Mapping[str, Any], echo: Any) -> None:
        reader.known(nouns, _MEMBERS, "nouns")
        found = ((name, reader.any_of(value, f"nouns {name}")) for name, value in nouns.items())
        self._known = {name: expression for name, expression in found if expression}
        reader.known(echo, _ECHO, ECHO)
        self._sad = reader.any_of(echo.get("not", []), f"{ECHO} not")
        self.before = tuple(reader.strings(echo.get("before", []), f"{ECHO} before"))
        self._called = {noun: str(called) for noun, called in reader.part(echo, "called").items()}

    def short(self, text: str) -> str:
        """The noun that is all of a short answer, empty if that is not sure."""
        if len(text) > SHORT:
            return ""
        text = bare(text, self._known)
        return self.sure(text) if self._is("shape", text) else ""

    def within(self, text: str) -> str:
        """The noun that a story is about, empty if none is sure."""
        within, apart = self._known.get("within"), self._known.get("apart")
        text = apart.sub(" ", text) if apart else text
        nouns = (captured(found) for found in within.finditer(text)) if within else iter(())
        return next((noun for noun in nouns if self.sure(noun)), "")

    def sure(self, noun: str) -> str:
        """A noun, empty if it is too long or none."""
        return (
            "" if len(noun.encode()) > NOUN_BYTES or self._is("reject", noun) else self.decent(noun)
        )

    def decent(self, words: str) -> str:
        """Words of the user's, empty if they are rude or grave."""
        return "" if self._is("rude", words) else words

    def told(self, text: str) -> str:
        """The noun of a message that is said again, empty if it is sad or too long for that to be the point."""
        return "" if len(text) > _TELLING or self.sad(text) else self.within(text)

    def sad(self, text: str) -> bool:
        """Whether a message has news of which nothing is said again."""
        return bool(self._sad and self._sad.search(text))

    def echoes(self, pool: str) -> bool:
        """Whether the noun of a message is said again before a line of a pool."""
        return any(pool == one or (one[-1:] == "_" and pool.startswith(one)) for one in self.before)

    def called(self, noun: str) -> str:
        """What is said for a noun of the user's."""
        return self._called.get(noun, noun)

    def _is(self, name: str, text: str) -> bool:
        return name in self._known and bool(self._known[name].search(text))


def bare(text: str, parts: Mapping[str, Expression | None]) -> str:
    """A text without the heads and tails of `parts`, taken away again and again."""
    for _ in range(_ROUNDS):
        before = text
        for name in ("head", "tail"):
            part = parts.get(name)
            text = part.sub("", text) if part else text
        if text == before:
            break
    return text


def captured(found: Any) -> str:
    """The last group of a match, empty if it has none."""
    return found.group(found.lastindex) or "" if found.lastindex else ""
