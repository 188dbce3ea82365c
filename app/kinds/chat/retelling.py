"""What a message says, said again: 「同僚に見せたら会議止まりました」 「会議止まったんだ！」.

A line that fits many messages shows nothing of the one it answers. Who listens repeats the point of what
was said, and so does the character in place of such a line: the last clause of the last sentence, in the form
that her words for it need. The member `retell` of `conversation.json` says where, and how:

    instead_of  the pools of such lines
    head, tail  what is taken away from both ends, again and again
    forms       expressions with one group → what takes the place of the group: 止まりました → 止まった.
                The one whose match begins first counts, so that a longer end wins
    plain       expressions of sentences that need no other form
    joint       after it a clause begins; only the last clause is said again
    opening     before a clause that is too long; its group is said
    shape       what may be said again, and `reject` what may not
    not         sentences of which nothing is said again: requests

    ends        names → an expression of what is said again: which words go with it

A sentence that has neither a form nor a plain end is not said again, nor is a message that asks. The words
around it are lines with the slot `it` in the pool `retold_<name>` of the first of `ends` that matches, else in
`retold`; a character without such lines does not do it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.kinds.chat.files import ExpressionReader
from app.kinds.chat.nouns import ECHO, bare, captured

RETELL = "retell"
# Begins the pools of lines that say the point of a message again; all lines of `REPEATING` have words of it.
RETOLD = "retold"
REPEATING = (ECHO, RETOLD)
_LISTS = ("head", "tail", "joint", "opening", "shape", "reject", "not")
_MEMBERS = (*_LISTS, "instead_of", "forms", "plain", "ends")
# Characters of the shortest clause of which another is left out.
_CLAUSE = 4


class Retelling:
    """Finds what of a message can be said again, by the member `retell`."""

    def __init__(
        self, reader: ExpressionReader, raw: Mapping[str, Any], pools: Iterable[str]
    ) -> None:
        """`pools` are those of kinds of messages. Raises DeckError."""
        reader.known(raw, _MEMBERS, RETELL)
        found = {name: reader.any_of(raw.get(name, []), f"{RETELL} {name}") for name in _LISTS}
        self._parts = {name: expression for name, expression in found.items() if expression}
        self.instead_of = reader.known(raw.get("instead_of", []), pools, f"{RETELL} instead_of")
        forms, ends = (_texts(reader, raw, name) for name in ("forms", "ends"))
        plain = reader.strings(raw.get("plain", []), f"{RETELL} plain")
        opening = reader.strings(raw.get("opening", []), f"{RETELL} opening")
        for name, texts, groups in (
            ("forms", forms, 1),
            ("opening", opening, 1),
            ("plain", plain, 0),
        ):
            _grouped(reader, texts, groups, f"{RETELL} {name}")
        self._ends = {name: reader.expression(end, f"{RETELL} ends") for name, end in ends.items()}
        self._said = tuple(forms.values())
        self._form = reader.any_of([*forms, *plain], f"{RETELL} plain")

    @property
    def pools(self) -> frozenset[str]:
        """The pools of the words around what is said again."""
        return frozenset((RETOLD, *(f"{RETOLD}_{name}" for name in self._ends)))

    def retold(self, sentence: str) -> str:
        """What is said again of a sentence as `Hearing.text` gives it; empty if nothing is."""
        if self._is("not", sentence):
            return ""
        text = self._last_clause(self._in_form(bare(sentence, {"tail": self._parts.get("tail")})))
        return "" if self._is("reject", text) or not self._is("shape", text) else text

    def pool(self, retold: str) -> str:
        """The pool of the words around what is said again."""
        name = next((name for name, end in self._ends.items() if end.search(retold)), "")
        return f"{RETOLD}_{name}" if name else RETOLD

    def _in_form(self, sentence: str) -> str:
        """A sentence with the end that a form gives it; empty if it has none."""
        found: Any = self._form.search(sentence) if self._form else None
        if not found:
            return ""
        if not found.lastindex:
            return sentence
        begin, end = found.span(found.lastindex)
        said: str = self._said[found.lastindex - 1]
        return f"{sentence[:begin]}{said}{sentence[end:]}"

    def _last_clause(self, text: str) -> str:
        """The last clause of a sentence, without what leads to it."""
        head = {"head": self._parts.get("head")}
        text = bare(text, head)
        joint = self._parts.get("joint")
        ends = [found.span()[1] for found in joint.finditer(text)] if joint else []
        begins = [end for end in ends if len(text) - end >= _CLAUSE]
        text = bare(text[begins[-1] if begins else 0 :], head)
        opening = None if self._is("shape", text) else self._parts.get("opening")
        found = opening.search(text) if opening else None
        return bare(captured(found), head) if found else text

    def _is(self, name: str, text: str) -> bool:
        part = self._parts.get(name)
        return bool(part and part.search(text))


def _texts(reader: ExpressionReader, raw: Mapping[str, Any], name: str) -> dict[str, str]:
    """A member of texts by texts. Raises DeckError."""
    place = f"{RETELL} {name}"
    found = reader.object(raw.get(name, {}), place)
    for key, text in found.items():
        if not isinstance(text, str):
            raise reader.fail(place, f"{key[:100]}: expected a text, not {text!r}")
    return found


def _grouped(reader: ExpressionReader, texts: Iterable[str], groups: int, place: str) -> None:
    """Raises DeckError unless each of the expressions has so many groups."""
    for text in texts:
        if (found := reader.expression(text, place).groups) != groups:
            raise reader.fail(place, f"needs {groups} group(s), not {found}: {text[:100]}")
