"""A deck's own answers under other circumstances: an emotion, a relationship or a memory is added to
the system text, and a line that carries it answers in place of the one before.

`training.json` lists them under `scenarios`, each as its sentence, or as an object:

    text    the sentence
    lines   pools whose lines carry it, all of them if it is missing; one that begins with `recall_`
            follows the answer to a message that says little
    says    an expression that the lines must match
    it      the noun for their slot

One that is only a sentence is for written conversations (`precompute.export.scenarios`).
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, NamedTuple

from app.errors import DeckError, PlanError
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.heard import IT
from app.kinds.chat.lines import RECALL, Line, filled
from app.kinds.chat.vetted import one_after_another
from app.kinds.expressions import Expression, ExpressionError, compiled
from app.kinds.kind import AnyDeck
from precompute.export.material import TRAINING_FILE, training_texts
from precompute.export.rows import ASSISTANT, SYSTEM, Message, Row

# The lists, and the member of a row's metadata that names what of a list is added to it.
CIRCUMSTANCES: Mapping[str, str] = {
    "emotions": "emotions",
    "relationships": "affection_level",
    "memories": "memories",
}
_MEMBERS = ("text", "lines", "says", IT)


class Circumstance(NamedTuple):
    """One of a list of circumstances. Without `pools` all carry it whose lines `says` finds."""

    kind: str
    id: str
    text: str
    pools: tuple[str, ...] = ()
    says: Expression | None = None
    it: str = ""

    def carried_by(self, line: Line) -> bool:
        """Whether a line of one of the pools carries it, whatever the time and the user's name."""
        fits = set(line.slots) <= ({IT} if self.it else set()) and not line.when
        return fits and (self.says is None or bool(self.says.search(line.text)))

    def about(self) -> dict[str, Any]:
        """For a row's metadata."""
        named = self.id if self.kind == "relationships" else [self.id]
        return {CIRCUMSTANCES[self.kind]: named, "augmented": "template"}


def circumstances(deck: CharacterDeck) -> list[Circumstance]:
    """The circumstances of a deck's `training.json`. Raises DeckError."""
    lists = training_texts(deck.folder, {"scenarios": dict})["scenarios"]
    found = []
    for kind in CIRCUMSTANCES:
        if not isinstance(lists.get(kind), dict) or not lists[kind]:
            raise _fault(deck, f"{kind} is missing")
        found += [_circumstance(deck, kind, name, raw) for name, raw in lists[kind].items()]
    return found


def _circumstance(deck: CharacterDeck, kind: str, name: str, raw: Any) -> Circumstance:
    raw = {"text": raw} if isinstance(raw, str) else raw
    place = f"{kind}: {name}"
    if not isinstance(raw, dict) or not isinstance(raw.get("text"), str):
        raise _fault(deck, f"{place}: expected a text, or an object with a text")
    unknown = [member for member in raw if member not in _MEMBERS]
    if unknown:
        raise _fault(deck, f"{place}: the member {unknown[0]!r} is none of {', '.join(_MEMBERS)}")
    pools, says = raw.get("lines", []), raw.get("says", "")
    known = [*itertools.chain.from_iterable(deck.lines.values())]
    # A list, because what stands in the file may be unhashable.
    if not isinstance(pools, list) or not all(pool in known for pool in pools):
        raise _fault(deck, f"{place}: lines: expected names of pools of the deck")
    if not isinstance(says, str):
        raise _fault(deck, f"{place}: says: expected an expression")
    try:
        expression = compiled(says) if says else None
    except ExpressionError as error:
        raise _fault(deck, f"{place}: says: {error}") from None
    return Circumstance(kind, name, raw["text"], tuple(pools), expression, str(raw.get(IT, "")))


def _fault(deck: CharacterDeck, fault: str) -> DeckError:
    return DeckError(str(deck.folder), TRAINING_FILE, f"scenarios: {fault}")


def augmented(
    deck: AnyDeck, rows: Sequence[Row], times: int, seed: int, side_of: Callable[[str], str]
) -> Iterator[Row]:
    """For each row up to `times` others: the same messages under another circumstance.

    The answer is another line of the deck that carries the circumstance and is on the side of the
    row's group (`side_of`); where no line fits, no row is made. Of the circumstances that fit, those
    that came least often are taken. Raises PlanError for a deck without characters, DeckError.
    """
    if not isinstance(deck, CharacterDeck):
        raise PlanError(f"--augment: deck {deck.id!r} has no characters")
    rng = Random(seed)
    answers = _Answers(deck, rows, side_of)
    used: Counter[str] = Counter()
    for row in rows:
        possible = [(one, found) for one in answers.known if (found := answers.under(one, row))]
        rng.shuffle(possible)
        possible.sort(key=lambda pair: used[pair[0].text])
        taken = {row.answer}
        for number, (one, found) in enumerate(possible[:times], 1):
            new = [text for text in found if text not in taken]
            if new:
                answer = rng.choice(new)
                taken.add(answer)
                used[one.text] += 1
                yield _under(row, number, one, answer)


class _Answers:
    """The lines of a deck's characters that carry a circumstance."""

    def __init__(
        self, deck: CharacterDeck, rows: Sequence[Row], side_of: Callable[[str], str]
    ) -> None:
        self._deck, self._side_of = deck, side_of
        self.known = [one for one in circumstances(deck) if one.pools or one.says]
        # The sides on which lines are learned or held out.
        self._sides: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._found: dict[tuple[str, ...], list[tuple[str, set[str]]]] = {}
        for row in rows:
            character, pool = _last(row)
            for line in deck.lines[character].get(pool, ()) if pool else ():
                if row.answer.endswith(line.text.rpartition("}")[2]):
                    self._sides[character, line.text].add(side_of(row.group))

    def under(self, one: Circumstance, row: Row) -> list[str]:
        """Answers to a row's last message under a circumstance."""
        character, pool = _last(row)
        lines, talk = self._deck.lines[character], self._deck.talks.get(character)
        back = [name for name in one.pools if name.startswith(RECALL)]
        if back:
            goes_on = talk and pool in talk.hearing.opens and not talk.hearing.asks(row.answer)
            found = [filled(text, {IT: one.it}) for text in self._texts(one, row, back)]
            both = ([row.answer, text] for text in found if goes_on)
            return [one_after_another(two, self._deck.rules.script) for two in both]
        fits = pool in (one.pools or lines)
        return self._texts(one, row, [pool]) if fits else []

    def _texts(self, one: Circumstance, row: Row, pools: Sequence[str]) -> list[str]:
        character, here = _last(row)[0], self._side_of(row.group)
        return [
            text
            for pool in pools
            for text, sides in self._carriers(one, character, pool)
            if sides == {here}
        ]

    def _carriers(self, one: Circumstance, character: str, pool: str) -> list[tuple[str, set[str]]]:
        """The lines of a pool that carry a circumstance, with the sides on which they are."""
        place = one.kind, one.id, character, pool
        if place not in self._found:
            self._found[place] = [
                (line.text, self._sides[character, line.text])
                for line in self._deck.lines[character].get(pool, ())
                if one.carried_by(line)
            ]
        return self._found[place]


def _last(row: Row) -> tuple[str, str]:
    """The character of a row, and the pool of its answer (empty for what was learned)."""
    topics = row.about["topics"]
    return row.about["character"], topics[-1] if topics else ""


def _under(row: Row, number: int, one: Circumstance, answer: str) -> Row:
    system, *said = row.turns[:-1]
    turns = (Message(SYSTEM, system.content + one.text), *said, Message(ASSISTANT, answer))
    return replace(
        row,
        id=f"{row.id}/augmented/{number}",
        turns=turns,
        response={"text": answer},
        about={**row.about, **one.about()},
    )
