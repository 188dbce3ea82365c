"""The reviewer's desk: the texts in force of a deck, and decisions about them.

Decisions are lines of the log (see `app.store.decision`). They can be made while a build runs, and by
several reviewers at once: a decision names the text that its reviewer has read, and is not taken if
another text is in force by then.

Answers that models gave at the event stand there too, as waiting: the first decision about one is its
first line.
"""

from __future__ import annotations

import threading
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import xxhash

from app.errors import ChangedTextError, OperatorError, PlanError, RefusedTextError
from app.kinds.decks import kind_of
from app.kinds.kind import AnyDeck
from app.kinds.refusal import Refusal
from app.ledger.votes import UP, read_votes
from app.settings import Settings
from app.store.decision import APPROVED, DELETED, REJECTED, REOPENED, WITHDRAWN, Decision
from app.store.entry import Entry
from app.store.holder import publish
from app.store.in_force import InForce, rejected_of
from app.store.index_writer import IndexWriter
from app.store.log import append_without_lock, log_path, read_records
from app.store.proof import Identity, identity
from app.store.sources import EDITED
from precompute.cook.kinds import GONE, cooking_of, refusal_of
from precompute.learn.waiting import is_waiting
from precompute.review.kinds import Shown, review_of

Name = tuple[str, int]
# What a text is that nobody has decided about.
OPEN = "open"
# The same of a text of the ledger, which no build has taken into the store.
WAITING = "waiting"
_DECIDED = (APPROVED, EDITED, REJECTED, DELETED)
STATUSES = (OPEN, WAITING, *_DECIDED)
_LONGEST_TEXT, _LONGEST_NOTE = 20_000, 1_000


@dataclass(frozen=True, slots=True)
class TextFilter:
    """Which texts are wanted; an empty member wants all.

    `status` "open" also wants those that are waiting. `check` is the name of a check that refuses the text, "passes" or "fails"; `votes` is "up" or
    "down"; `least` and `most` are the length in the unit of the deck.
    """

    search: str = ""
    source: str = ""
    status: str = ""
    check: str = ""
    votes: str = ""
    least: int | None = None
    most: int | None = None


class DecisionRequest(NamedTuple):
    """A reviewer's decision about the text with this `mark`.

    `texts` are the new ones of an edit; `force`: whether the gate is set aside, which needs a note.
    """

    verdict: str
    mark: str
    texts: Mapping[str, str] = {}
    note: str = ""
    force: bool = False


def mark_of(entry: Entry) -> str:
    """What a reviewer has read: changes with the text and with every decision about it."""
    # A letter first: a spreadsheet makes a number of what looks like one.
    return f"t{xxhash.xxh3_64_hexdigest(entry.to_line())}"


class Desk:
    """Reads the log as it grows, and appends decisions. `stamp` gives the time, UTC in ISO 8601.

    May be used from several threads.
    """

    def __init__(self, settings: Settings, deck: AnyDeck, stamp: Callable[[], str]) -> None:
        self.deck = deck
        self._settings = settings
        self._stamp = stamp
        self._review = review_of(deck)
        self._gate = kind_of(deck).gate(deck)
        self._path = log_path(settings.store, deck.id)
        self._learned = {e.name: e for e in cooking_of(deck).learned(settings.ledger)}
        self._lock = threading.RLock()
        self._read_from(None)

    def _read_from(self, seen: Identity | None) -> None:
        self._seen, self._end = seen, 0
        self._force = InForce(self._settings.sources)
        # The lines of the log about learned answers.
        self._lines: defaultdict[Name, list[Entry]] = defaultdict(list)
        self._refusals: dict[Name, tuple[Entry, Refusal | None]] = {}

    def _catch_up(self) -> None:
        """Take in what the log has got; from its beginning if it was rewritten."""
        now = identity(self._path)
        same = now and self._seen and now[:2] == self._seen[:2] and now.size >= self._end
        if not same:
            self._read_from(now)
        for item in read_records(self._path, self._end):
            self._force.take(item.entry)
            self._end = item.end
            if item.entry.name in self._learned:
                self._lines[item.entry.name].append(item.entry)

    def _waits(self, name: Name) -> bool:
        """Whether a learned answer is neither stored nor rejected."""
        if name not in self._learned:
            return False
        old = self._force.entries.get(name)
        stored = old is not None and old.verdict not in (REJECTED, WITHDRAWN)
        rejected = rejected_of(self._lines[name]).get(name, ())
        return is_waiting(self._learned[name], rejected, stored=stored)

    def _standing(self) -> Iterator[Entry]:
        """The texts that can be decided about, or the lines that took them away."""
        waiting = {name: entry for name, entry in self._learned.items() if self._waits(name)}
        yield from waiting.values()
        for name, entry in self._force.entries.items():
            # What the deck's own file has taken back is not for a reviewer to decide.
            if name not in waiting and entry.verdict != WITHDRAWN:
                yield entry

    # Reading.

    def names(self, wanted: TextFilter) -> list[Name]:
        """The texts that are wanted: those that wait, then in the order in which the log had them."""
        with self._lock:
            self._catch_up()
            votes = self.votes() if wanted.votes else {}
            search = _folded(wanted.search)
            return [
                entry.name
                for entry in self._standing()
                if self._is_wanted(entry, wanted, search, votes)
            ]

    def _is_wanted(
        self, entry: Entry, wanted: TextFilter, search: str, votes: Mapping[Any, Counter[str]]
    ) -> bool:
        status = self.status(entry)
        if wanted.status not in ("", status) and (wanted.status, status) != (OPEN, WAITING):
            return False
        if wanted.source and entry.source != wanted.source:
            return False
        if (wanted.least, wanted.most) != (None, None):
            length = self.shown(entry).length
            if (
                not (wanted.least or 0)
                <= length
                <= (length if wanted.most is None else wanted.most)
            ):
                return False
        if wanted.votes:
            counts = votes.get((*entry.name, entry.created), Counter())
            up = counts[UP] - (counts.total() - counts[UP])
            if (up if wanted.votes == UP else -up) <= 0:
                return False
        if search and search not in _folded(self._words(entry)):
            return False
        return not wanted.check or _has_check(self.refusal(entry), wanted.check)

    def _words(self, entry: Entry) -> str:
        shown = self.shown(entry)
        asked = (part for pair in shown.asked for part in pair)
        return "\n".join((entry.key, *asked, *shown.texts.values()))

    def entry(self, name: Name) -> Entry | None:
        """The line that is in force for a name, or the answer that waits."""
        with self._lock:
            self._catch_up()
            return self._entry(name)

    def _entry(self, name: Name) -> Entry | None:
        return self._learned[name] if self._waits(name) else self._force.entries.get(name)

    def status(self, entry: Entry) -> str:
        """What a reviewer has decided about a text that `entry` gave."""
        return WAITING if entry is self._learned.get(entry.name) else status_of(entry)

    def choices(self) -> Mapping[str, Sequence[str]]:
        """By the name of a text, what it may be, if the deck has a list."""
        return self._review.choices(self.deck)

    def shown(self, entry: Entry) -> Shown:
        """What was asked and the texts; the ids alone if the deck no longer has them."""
        try:
            return self._review.shown(self.deck, entry)
        except KeyError:
            longest = max(map(len, entry.response.values()), default=0)
            return Shown(entry.query.picks, dict(entry.response), longest)

    def refusal(self, entry: Entry) -> Refusal | None:
        """The gate's first refusal of a text, None if it passes or there is none."""
        known = self._refusals.get(entry.name)
        if known is None or known[0] is not entry:
            gone = entry.gone
            known = entry, None if gone else refusal_of(self._gate, entry.query, entry.response)
            self._refusals[entry.name] = known
        return known[1]

    def counts(self) -> dict[str, Counter[str]]:
        """How many texts there are by status, and by source."""
        with self._lock:
            self._catch_up()
            entries = list(self._standing())
        return {
            "status": Counter(map(self.status, entries)),
            "source": Counter(entry.source for entry in entries),
        }

    def votes(self) -> dict[tuple[str, int, str], Counter[str]]:
        """Votes by key, variant and time of creation."""
        found: dict[tuple[str, int, str], Counter[str]] = {}
        for name, vote in read_votes(self._settings.ledger, self.deck.id):
            found.setdefault(name, Counter())[vote] += 1
        return found

    # Deciding.

    def decide(self, name: Name, said: DecisionRequest) -> Entry:
        """Append a decision; returns the line that is in force now.

        Raises PlanError for a decision that cannot be made, ChangedTextError if another text is in
        force than the reviewer has read, RefusedTextError if the gate refuses an edit.
        """
        self._check(said)
        with self._lock:
            append_without_lock(
                self._settings.store, self.deck.id, lambda: self._lines_of(name, said)
            )
            self._catch_up()
            entry = self._entry(name)
            assert entry is not None
            return entry

    def _check(self, said: DecisionRequest) -> None:
        if said.verdict not in (*_DECIDED, REOPENED):
            raise PlanError(f"no such decision: {said.verdict!r}")
        if len(said.note) > _LONGEST_NOTE or any(
            len(text) > _LONGEST_TEXT for text in said.texts.values()
        ):
            raise PlanError(
                f"a text has at most {_LONGEST_TEXT:,} characters, a note {_LONGEST_NOTE:,}"
            )
        if said.force and not said.note.strip():
            raise PlanError("to set the gate aside, say why in a note")

    def _lines_of(self, name: Name, said: DecisionRequest) -> list[Entry]:
        """The lines of a decision, by what is in force while nobody else appends."""
        line = self._line(name, said)
        old = self._force.entries.get(name)
        if said.verdict != REOPENED or old is None or old.verdict not in (EDITED, REOPENED):
            return [line]
        before = self._before(old)
        if before is None or line.verdict == WITHDRAWN:
            return [line]
        # An edit that is taken back goes, and the text that it replaced is there again.
        assert line.decision
        gone = replace(line, decision=line.decision._replace(verdict=WITHDRAWN))
        return [gone, replace(before, usage=None, cost_usd=0.0)]

    def _before(self, edit: Entry) -> Entry | None:
        """The text that was cooked, of which another is an edit; None if there is none."""
        written = edit.decision.written if edit.decision else ""
        found = (item.entry for item in read_records(self._path))
        wanted = (edit.name, edit.writer, written, "")
        return next((e for e in found if (e.name, e.source, e.created, e.verdict) == wanted), None)

    def _line(self, name: Name, said: DecisionRequest) -> Entry:
        """The line with a decision."""
        self._catch_up()
        old = self._entry(name)
        if old is None or mark_of(old) != said.mark:
            raise ChangedTextError("the text has changed since it was read; look at it again")
        if old.verdict == DELETED:
            raise PlanError("the text is deleted; a build can store another in its place")
        decision = Decision(said.verdict, self._stamp(), said.note.strip())
        # The first line of an answer has its cost, a further one none.
        line = old if self._waits(name) else replace(old, usage=None, cost_usd=0.0)
        if said.verdict == REOPENED and self._came_in_here(old):
            # It waits again.
            return replace(line, decision=decision._replace(verdict=WITHDRAWN))
        if said.verdict == DELETED:
            return replace(line, response={}, decision=decision)
        if said.verdict == EDITED:
            return self._edited(line, said, decision)
        if old.decision:
            # Whose an edited text was stays with it.
            decision = decision._replace(
                writer=old.decision.writer, written=old.decision.written, forced=old.decision.forced
            )
        return replace(line, decision=decision)

    def _came_in_here(self, entry: Entry) -> bool:
        """Whether a text is in the log by a reviewer's decisions alone. Raises PlanError if by none."""
        if self._waits(entry.name):
            raise PlanError("nobody has decided about this text yet")
        lines = self._lines[entry.name] if entry.name in self._learned else ()
        return bool(lines) and all(line.decision for line in lines)

    def _edited(self, line: Entry, said: DecisionRequest, decision: Decision) -> Entry:
        texts = {name: text.replace("\r\n", "\n").strip() for name, text in said.texts.items()}
        known = self.shown(line).texts
        if not texts or not texts.keys() <= known.keys():
            raise PlanError(f"the texts of this answer are: {', '.join(known)}")
        response = self._review.edited(line.response, texts)
        if response == line.response:
            raise PlanError("the text is the same as before; approve it")
        refusal = refusal_of(self._gate, line.query, response)
        if refusal and refusal.check == GONE:
            raise PlanError("the deck no longer has what this was asked for")
        if refusal and not said.force:
            raise RefusedTextError(refusal)
        before = line.decision
        return replace(
            line,
            response=response,
            source=EDITED,
            fingerprint=EDITED,
            created=decision.at,
            decision=decision._replace(
                writer=line.writer,
                written=(before.written if before else "") or line.created,
                forced=str(refusal) if refusal else "",
            ),
        )

    # The index.

    def publish(self) -> None:
        """Bring the index up to the log, so that a running server follows. Raises StoreError."""
        options = self._settings.store_options
        with IndexWriter.at(options, self.deck) as index:
            index.catch_up()
        publish(options, self.deck.id)


class Publisher:
    """Brings the index up to the log after decisions, beside the reviewer's work.

    A decision is safe once it is in the log; if the index cannot be written, `problem` says so.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._due, self._over = threading.Event(), False
        self.problem = ""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Publisher:
        self._due.set()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over = True
        self._due.set()
        self._thread.join()

    def due(self) -> None:
        """There is something new in the log."""
        self._due.set()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            last = self._over
            try:
                self._desk.publish()
                self.problem = ""
            except OperatorError as error:
                self.problem = str(error)
            if last:
                return


def status_of(entry: Entry) -> str:
    """What a reviewer has decided about the text in force."""
    if entry.verdict in (APPROVED, REJECTED, DELETED, EDITED):
        return entry.verdict
    return OPEN


def _has_check(refusal: Refusal | None, check: str) -> bool:
    if check in ("passes", "fails"):
        return (refusal is None) == (check == "passes")
    return refusal is not None and refusal.check == check


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def row_of(desk: Desk, entry: Entry, votes: Mapping[Any, Counter[str]]) -> dict[str, Any]:
    """A text as the page gets it."""
    shown, refusal = desk.shown(entry), desk.refusal(entry)
    counts = votes.get((*entry.name, entry.created), Counter())
    return {
        "key": entry.key,
        "variant": entry.variant,
        "mark": mark_of(entry),
        "status": desk.status(entry),
        "asked": shown.asked,
        "texts": shown.texts,
        "source": entry.source,
        "writer": entry.writer,
        "model": entry.model,
        "created": entry.created,
        "length": shown.length,
        "check": str(refusal) if refusal else "",
        "votes": [counts[UP], counts.total() - counts[UP]],
        "decision": entry.decision.to_json() if entry.decision else None,
    }


def summary(desk: Desk) -> Iterator[tuple[str, object]]:
    """Rows that say how many texts there are by status."""
    found = desk.counts()["status"]
    for status in STATUSES:
        if found[status]:
            yield status, f"{found[status]:,}"
