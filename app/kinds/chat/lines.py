"""The vetted lines of a deck's characters.

`lines.json` has, for each character and each pool, a list of lines. A pool is named after the
intent that its lines answer; the pool `fallback` is for "I did not understand". The pools in
`ASIDES` need not be there: they answer no message (see `ServedChat.aside`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from app.kinds.chat.care import POOLS, Care, Step
from app.kinds.chat.files import PatternReader

LINES_FILE = "lines.json"
FALLBACK = "fallback"
# Said while a model writes; for a sticker; for a picture, sound, film, file or place; to a new
# friend; to a group that she has joined.
ASIDES = ("filler", "sticker", "image", "follow", "join")
PLAIN, ANY = "plain", "any"
NAME_SLOT = "{name}"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SEASONS = ("winter", "spring", "summer", "autumn")


class Moment(NamedTuple):
    """The attributes of a time that lines can depend on: time of day (an id), weekday, season."""

    time: str
    weekday: str
    season: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line. `when` has the allowed values of attributes of `Moment`; empty if it always fits."""

    text: str
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def named(self) -> bool:
        """Whether it contains the user's name."""
        return NAME_SLOT in self.text

    def fits(self, moment: Moment, name: str) -> bool:
        """Whether it can be said at this moment to a user of this name (empty if unknown)."""
        if self.named and not name:
            return False
        return all(getattr(moment, what) in allowed for what, allowed in self.when.items())


def load_lines(
    folder: Path,
    characters: Iterable[str],
    intents: set[str],
    times: set[str],
    care: Care | None,
) -> Mapping[str, Mapping[str, tuple[Line, ...]]]:
    """Read and check a deck's `lines.json`. Raises DeckError."""
    reader = PatternReader(folder, LINES_FILE)
    if FALLBACK in intents:
        raise reader.fail("", f"the id {FALLBACK!r} is no intent's")
    known = {"time": times, "weekday": set(WEEKDAYS), "season": set(SEASONS)}
    needed = {FALLBACK, *((*POOLS, Step.CRISIS, Step.DOUBT) if care else ())}
    lines: dict[str, dict[str, tuple[Line, ...]]] = {}
    for character in characters:
        own = reader.member(reader.value, character, dict, "")
        pools = intents | needed | set(ASIDES)
        reader.known(own, pools, character)
        lines[character] = {}
        for pool in sorted(pools):
            place = f"{character} {pool}"
            # An intent without lines is answered as if it were not recognised, and
            # `precompute check` finds it.
            raw = reader.member(own, pool, list, character) if pool in {*own, *needed} else []
            found = tuple(_load_line(reader, r, place, known) for r in raw)
            if raw and not any(not line.when and not line.named for line in found):
                raise reader.fail(place, "needs a line that fits always, without a name")
            lines[character][pool] = found
    return lines


def _load_line(reader: PatternReader, raw: Any, place: str, known: Mapping[str, set[str]]) -> Line:
    when = raw.get("when", {}) if isinstance(raw, dict) else {}
    reader.known(when, known, f"{place} when")
    fits = {
        what: tuple(sorted(reader.known([v] if isinstance(v, str) else v, known[what], place)))
        for what, v in when.items()
    }
    text = unicodedata.normalize("NFC", reader.member(raw, "text", str, place))
    return Line(text, fits)
