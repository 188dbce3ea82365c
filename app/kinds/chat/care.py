"""Answers to users who may be in danger, and what a conversation remembers for that.

A deck's `care.json` says who can be called, by country, and how long answers stay careful.
`docs/chat.md` gives the reasons and the sources of `step`.
"""

from __future__ import annotations

import datetime
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from app.kinds.chat.files import ExpressionReader
from app.kinds.chat.message import normalise
from app.kinds.expressions import Expression

CARE_FILE = "care.json"
# The members of `care.json`, with what they mean.
MEMBERS: Mapping[str, str] = {
    "countries": "countries → `name`, `checked` (the day on which somebody called the numbers), "
    "`emergency`, and `contacts` with `name`, `number`, `hours`, `url`",
    "shown": "the countries whose numbers are shown; all if it is missing",
    "low": "intents of a low mood",
    "signs": "expressions for `low`, `context`, `relief`, `denial` and `yes`",
    "plan": "how many messages are answered with care, see [chat.md](chat.md)",
}
# Days after which `precompute check` warns that the numbers to call must be checked again.
STALE_DAYS = 365
# The user's newest messages in a client's history that are searched for signs.
HISTORY = 24


class Sign(StrEnum):
    """Signs of danger in a message, which can have several.

    The deck's intents give the first two; `UNEASY` is a doubt that only the classifier has; a low mood
    is an intent or an expression; the others are signs only after certain earlier messages. `DENIAL` is
    that she misunderstood, `RELIEF` that the user is better, `ELSE` that the message is plainly about something else.
    """

    GRAVE = "grave"
    DOUBT = "doubt"
    UNEASY = "uneasy"
    LOW = "low"
    CONTEXT = "context"
    RELIEF = "relief"
    DENIAL = "denial"
    ELSE = "else"
    YES = "yes"


class Step(StrEnum):
    """The kinds of careful answers; the value names the pool of lines that open the answer."""

    CRISIS = "in_crisis"
    DOUBT = "in_doubt"
    UNEASY = "uneasy"
    STAY = "staying"
    RELIEF = "relief"
    EASE = "easing"


# The pools of the lines that follow the opening one: a question whether somebody is near; that the
# character is an AI, and who can be called. `IF_SO` is the same in case the doubt is right.
NEAR, CALL, IF_SO = "near", "call", "if_so"
FOLLOWING: Mapping[Step, tuple[str, ...]] = {
    Step.CRISIS: (NEAR, CALL),
    Step.STAY: (NEAR, CALL),
    Step.DOUBT: (IF_SO,),
    Step.UNEASY: (),
    Step.RELIEF: (CALL,),
    Step.EASE: (CALL,),
}
# The pools that a deck needs beside those of its intents. `uneasy` is not among them: where a deck has it,
# its lines ask first about what only the classifier finds, without a word of death and without numbers,
# because in everyday talk that is wrong more often than right.
POOLS = (Step.STAY, Step.RELIEF, Step.EASE, NEAR, CALL, IF_SO)


class Plan(NamedTuple):
    """How many of the user's messages are answered with care.

    `turns` after a grave one, at most `relieved` more after the user says that she is better. After a
    doubtful one she asks once, and a yes among the next `asked` messages confirms it. After a low mood,
    words like さようなら count as signs for `low` messages. A conversation forgets all of it after `hours`
    without a message.
    """

    turns: int = 8
    asked: int = 2
    relieved: int = 3
    low: int = 4
    hours: float = 24.0


class CareMemory(NamedTuple):
    """What a conversation remembers: numbers, no text.

    `left` is the number of messages that will still be answered with care after a grave one, `asked`
    that of those in which a yes still answers the question after a doubtful one, `gently` the same after
    an uneasy one; `low` is the number for which a low mood still counts. `watch` is whether there was a
    grave message. `known` distinguishes a memory that was reset from one that was never written.
    """

    known: bool = False
    watch: bool = False
    left: int = 0
    asked: int = 0
    low: int = 0
    gently: int = 0

    @property
    def blank(self) -> bool:
        """Whether there is nothing to remember."""
        return not any(self)

    def packed(self) -> bytes:
        """The bytes of the memory in the shared state."""
        return _ROW.pack(*self._replace(known=True))


_ROW = struct.Struct("<??BBBB")
SIZE = _ROW.size


def unpacked(row: bytes) -> CareMemory:
    """Parse the bytes in the shared state."""
    return CareMemory(*_ROW.unpack(row))


def step(memory: CareMemory, signs: frozenset[Sign], plan: Plan) -> tuple[CareMemory, Step | None]:
    """The memory after a message with these signs, and how to answer it (None: as usual).

    A doubtful message after a grave one is grave, and so is a yes to the question about it. After a
    doubtful one alone she asks once and goes on. After an uneasy one she asks without a word of death; a
    yes, a low mood or another sign is then doubtful. A denial ends a doubt at once and leaves one careful
    answer after something grave; a second one ends that. Otherwise only messages without signs end
    the careful answers, and the last of these asks once more.
    """
    low_before = memory.low
    gently = 0 if signs & {Sign.RELIEF, Sign.DENIAL} else memory.gently
    memory = memory._replace(
        low=plan.low if Sign.LOW in signs else max(0, memory.low - 1), gently=max(0, gently - 1)
    )
    careful = bool(memory.left or memory.asked)
    doubtful = (
        Sign.DOUBT in signs
        or (Sign.CONTEXT in signs and bool(memory.watch or low_before or gently))
        or (Sign.UNEASY in signs and bool(memory.watch or memory.asked or gently))
        or (bool(gently) and bool(signs & {Sign.YES, Sign.LOW}))
    )
    if Sign.GRAVE in signs or (careful and _confirms(memory, signs)):
        return memory._replace(watch=True, left=plan.turns, asked=0, gently=0), Step.CRISIS
    if careful and signs & {Sign.RELIEF, Sign.DENIAL}:
        return _eased(memory, signs, plan)
    if doubtful:
        return memory._replace(asked=plan.asked, gently=0), Step.DOUBT
    if Sign.UNEASY in signs and not memory.left:
        return memory._replace(gently=plan.asked), Step.UNEASY
    if memory.left:
        left = memory.left - 1
        return memory._replace(left=left), Step.STAY if left else Step.EASE
    # Who was asked is not left alone, but what is plainly about something else is answered.
    stays = bool(memory.asked) and (Sign.LOW in signs or Sign.ELSE not in signs)
    return memory._replace(asked=max(0, memory.asked - 1)), Step.STAY if stays else None


def _eased(
    memory: CareMemory, signs: frozenset[Sign], plan: Plan
) -> tuple[CareMemory, Step | None]:
    if Sign.DENIAL in signs:
        # She misunderstood: to insist would say that she does not listen.
        if memory.left <= 1:
            return memory._replace(watch=False, left=0, asked=0), None
        return memory._replace(left=1, asked=0), Step.RELIEF
    left = min(max(0, memory.left - 1), plan.relieved)
    # Who says so again and again is asked at the end, too.
    ends = bool(memory.left) and not left
    return memory._replace(left=left, asked=0), Step.EASE if ends else Step.RELIEF


def _confirms(memory: CareMemory, signs: frozenset[Sign]) -> bool:
    if signs & {Sign.RELIEF, Sign.DENIAL}:
        return False
    if memory.left and Sign.UNEASY in signs:
        return True
    return bool(signs & {Sign.DOUBT, Sign.CONTEXT}) or (bool(memory.asked) and Sign.YES in signs)


class Contact(NamedTuple):
    """Somebody who can be called. `hours` is a text in the deck's language."""

    name: str
    number: str
    hours: str
    url: str


@dataclass(frozen=True, slots=True)
class Country:
    """Who can be called in a country; `checked` is the day of the last check of the numbers."""

    id: str
    name: str
    checked: datetime.date
    emergency: str
    contacts: tuple[Contact, ...]


@dataclass(frozen=True, slots=True)
class Care:
    """A deck's `care.json`. `low` are the intents of a low mood, `shown` the countries to name."""

    plan: Plan
    low: frozenset[str]
    shown: tuple[Country, ...]
    expressions: tuple[tuple[Sign, Expression], ...]
    japanese: bool

    def signs(self, message: str) -> Iterable[Sign]:
        """The signs that expressions of `care.json` find."""
        text = normalise(message)
        return (sign for sign, expression in self.expressions if expression.search(text))

    def to_json(self) -> dict[str, Any]:
        """Who can be called, for a client to show."""
        return {
            "countries": [
                {
                    "id": country.id,
                    "name": country.name,
                    "checked": country.checked.isoformat(),
                    "emergency": country.emergency,
                    "contacts": [contact._asdict() for contact in country.contacts],
                }
                for country in self.shown
            ]
        }

    def spelled(self, *, whole: bool) -> str:
        """Who can be called, as a text; if not `whole`, only the first in each country."""
        return "\n".join(filter(None, (self._country(country, whole) for country in self.shown)))

    def _country(self, country: Country, whole: bool) -> str:
        contacts = country.contacts if whole else country.contacts[:1]
        said = [self._contact(contact) for contact in contacts]
        said += [country.emergency] if country.emergency else []
        if not said:
            return ""
        label = f"{country.name}: " if len(self.shown) > 1 else ""
        # A line for each: a number that is broken over two lines is hard to dial.
        return label + "\n".join(said)

    def _contact(self, contact: Contact) -> str:
        hours = f"（{contact.hours}）" if self.japanese else f" ({contact.hours})"
        return f"{contact.name} {contact.number}{hours if contact.hours else ''}"


def load_care(folder: Path, intents: frozenset[str], *, japanese: bool) -> Care | None:
    """Read and check a deck's `care.json`; None if there is none. Raises DeckError."""
    if not (folder / CARE_FILE).exists():
        return None
    reader = ExpressionReader(folder, CARE_FILE)
    root = reader.value
    reader.only(root, "", MEMBERS)
    for needed in (Step.CRISIS, Step.DOUBT):
        if needed not in intents:
            raise reader.fail("", f"needs an intent {needed.value!r} in intents.json")
    low = frozenset(reader.strings(root.get("low", []), "low"))
    if strange := low - intents:
        raise reader.fail("low", f"there is no intent {min(strange)!r}")
    countries = reader.member(root, "countries", dict, "")
    shown = reader.strings(root.get("shown", list(countries)), "shown")
    for country in shown:
        if country not in countries:
            raise reader.fail("shown", f"there is no country {country!r}")
    return Care(
        plan=_plan(reader, reader.part(root, "plan")),
        low=low,
        shown=tuple(_country(reader, country, countries[country]) for country in shown),
        expressions=tuple(_expressions(reader, reader.member(root, "signs", dict, ""))),
        japanese=japanese,
    )


def _plan(reader: ExpressionReader, raw: Mapping[str, Any]) -> Plan:
    reader.only(raw, "plan", Plan._fields)
    for name, value in raw.items():
        (reader.number if name == "hours" else reader.whole)(value, f"plan {name}")
    plan = Plan(**raw)
    if not all(1 <= value <= 255 for value in plan):
        raise reader.fail("plan", "expected numbers from 1 to 255")
    return plan


_COUNTRY = ("name", "checked", "emergency", "contacts")


def _country(reader: ExpressionReader, country: str, raw: Any) -> Country:
    place = f"countries {country}"
    reader.only(raw, place, _COUNTRY)
    try:
        checked = datetime.date.fromisoformat(reader.member(raw, "checked", str, place))
    except ValueError:
        raise reader.fail(place, "'checked' must be a day, as 2026-11-27") from None
    return Country(
        country,
        reader.member(raw, "name", str, place),
        checked,
        str(raw.get("emergency", "")),
        tuple(
            Contact(
                reader.member(contact, "name", str, place),
                reader.member(contact, "number", str, place),
                str(contact.get("hours", "")),
                str(contact.get("url", "")),
            )
            for contact in reader.items(raw.get("contacts", []), f"{place} contacts")
        ),
    )


def _expressions(
    reader: ExpressionReader, raw: Mapping[str, Any]
) -> Iterable[tuple[Sign, Expression]]:
    allowed = (Sign.LOW, Sign.CONTEXT, Sign.RELIEF, Sign.DENIAL, Sign.YES)
    for name, value in raw.items():
        if name not in allowed:
            raise reader.fail("signs", f"unknown {name!r}; known: {[str(a) for a in allowed]}")
        place = f"signs {name}"
        if expression := reader.any(reader.strings(value, place), place):
            yield Sign(name), expression
