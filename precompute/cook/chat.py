"""`precompute build` for decks of patterns: more lines from a provider, and what was learned.

Lines are cooked for patterns (character × intent × mood × time of day), the plain ones first. They
pass the same gate as everything, and may not be near to a line that the character has. What the
cloud answered at the event is taken in from the ledger, where the gate and, with --review, a person
let it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import xxhash

from app.errors import ProviderRetryError
from app.kinds.chat.deck import ANY, PLAIN, Character, Intent, PatternDeck
from app.kinds.chat.gate import TEXT, ChatGate, likeness
from app.providers.prices import PriceTable
from app.store.entry import Entry, Usage
from app.store.index import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter
from precompute.cook.chat_model import Writer

MAX_ASKS = 3
PER_REQUEST = 10
# Lines of a pattern at most: more than a rotation keeps count of help nobody.
MOST_VARIANTS = 40
_EXAMPLES = 4


@dataclass(frozen=True, slots=True)
class LineJob:
    """One line to cook."""

    query: Query
    variant: int

    @property
    def pattern(self) -> dict[str, str]:
        """Character, intent, mood and time."""
        return dict(self.query.picks)


@dataclass
class ChatReport:
    """What a build did."""

    wanted: int = 0
    already: int = 0
    cooked: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    faults: int = 0
    usd: float = 0.0

    @property
    def unmet(self) -> int:
        """Wanted and not there."""
        return self.wanted - self.already - self.cooked


def plan_lines(deck: PatternDeck) -> Iterator[LineJob]:
    """Lines in the order of their use: plain ones for all, then by time, by mood, by both."""
    shades = [(PLAIN, ANY)]
    shades += [(PLAIN, time.id) for time in deck.times]
    shades += [(mood, ANY) for mood in deck.moods]
    shades += list(itertools.product(deck.moods, [time.id for time in deck.times]))
    # What is about life and death is only ever said in words that a person has vetted.
    intents = [intent.id for intent in deck.intents if not intent.grave]
    for variant in range(MOST_VARIANTS):
        for mood, time in shades:
            for intent, character in itertools.product(intents, deck.characters):
                yield LineJob(deck.line_query(character.id, intent, mood, time), variant)


class LineCook:
    """Cooks lines into a store. Raises ProviderStopError; what is cooked by then is kept."""

    def __init__(
        self,
        deck: PatternDeck,
        writer: Writer,
        log: LogWriter,
        index: IndexWriter,
        now: Callable[[], str],
        prices: PriceTable,
    ) -> None:
        self._deck = deck
        self._gate = ChatGate(deck)
        self._writer = writer
        self._log = log
        self._index = index
        self._now = now
        self._prices = prices
        self._said: dict[tuple[str, str], list[str]] = {}
        self.report = ChatReport()

    def run(self, jobs: Iterable[LineJob]) -> ChatReport:
        """Cook what is not there yet."""
        self._index.catch_up()
        missing = []
        for job in jobs:
            self.report.wanted += 1
            if self._index.has(job.query.key, job.variant):
                self.report.already += 1
            else:
                missing.append(job)
        by_character = sorted(missing, key=lambda job: job.pattern["character"])
        try:
            for _, group in itertools.groupby(by_character, lambda job: job.pattern["character"]):
                waiting = list(group)
                for start in range(0, len(waiting), PER_REQUEST):
                    self._cook(waiting[start : start + PER_REQUEST])
        finally:
            self._index.catch_up()
        return self.report

    def _cook(self, jobs: Sequence[LineJob]) -> None:
        waiting = list(jobs)
        told: dict[tuple[str, int], str] = {}
        for _ in range(MAX_ASKS):
            if not waiting:
                return
            waiting = self._ask(waiting, told)

    def _ask(self, jobs: Sequence[LineJob], told: dict[tuple[str, int], str]) -> list[LineJob]:
        character = self._deck.character_by_id[jobs[0].pattern["character"]]
        try:
            written = self._writer.ask(*line_prompt(self._deck, character, jobs, told))
        except ProviderRetryError:
            self.report.faults += 1
            return list(jobs)
        texts = read_lines(written.text)
        price = self._prices.price(self._writer.name, written.model, self._now())
        usd = price.cost(written.usage) if price else 0.0
        self.report.usd += usd
        left, entries = [], []
        for number, job in enumerate(jobs, 1):
            reason = self._refusal(job, texts.get(number, ""))
            if reason:
                told[job.query.key, job.variant] = reason
                left.append(job)
                continue
            entries.append(
                self._entry(job, texts[number], written.model, written.usage, usd, len(jobs))
            )
        if entries:
            self._log.append(entries)
            self.report.cooked += len(entries)
        return left

    def _refusal(self, job: LineJob, text: str) -> str:
        """Why a line is not taken; it is empty, and the line noted as said, where it is."""
        refusal = self._gate.examine(job.query, {TEXT: text})
        if refusal:
            self.report.refused[refusal.check] += 1
            return str(refusal)
        said = self._said.setdefault((job.pattern["character"], job.pattern["intent"]), [])
        if any(likeness(text, other) >= self._deck.rules.copy for other in said):
            self.report.refused["copy"] += 1
            return "copy: too near to another line of this build"
        said.append(text)
        return ""

    def _entry(
        self, job: LineJob, text: str, model: str, usage: Usage, usd: float, share: int
    ) -> Entry:
        return Entry(
            key=job.query.key,
            variant=job.variant,
            query=job.query,
            response={TEXT: text},
            source=self._writer.name,
            model=model,
            fingerprint=f"lines:{xxhash.xxh3_64_hexdigest(LINES_PROMPT.encode())}",
            created=self._now(),
            usage=Usage(
                usage.prompt / share,
                usage.output / share,
                usage.thoughts / share,
                usage.cached / share,
            ),
            cost_usd=usd / share,
        )


LINES_PROMPT = """You write single lines that one character says in a chat, in the language of the
persona. Each line answers one message of the user. Rules: in the character's voice; one line, {least}
to {most} characters; no explanation, no brackets, no quotation marks, no emoji; it must answer the
intent it is asked for, fit the time of day and the mood, and be unlike the examples. Reply with JSON
only: {{"lines": [{{"id": 1, "text": "..."}}]}}."""


def line_prompt(
    deck: PatternDeck,
    character: Character,
    jobs: Sequence[LineJob],
    told: Mapping[tuple[str, int], str],
) -> tuple[str, str]:
    """System prompt and request for some lines of one character."""
    least, most = deck.rules.characters
    system = f"{LINES_PROMPT.format(least=least, most=most)}\n\n{character.persona}"
    return system, "\n".join(
        _line_request(deck, character, number, job, told.get((job.query.key, job.variant), ""))
        for number, job in enumerate(jobs, 1)
    )


def _line_request(
    deck: PatternDeck, character: Character, number: int, job: LineJob, refused: str
) -> str:
    pattern = job.pattern
    intent: Intent = deck.intent_by_id[pattern["intent"]]
    lines = deck.lines[character.id][intent.id]
    # Another variant is shown other examples: large models take no notice of a temperature.
    turn = job.variant * _EXAMPLES % len(lines)
    shown = [line.text for line in (*lines[turn:], *lines[:turn])][:_EXAMPLES]
    parts = [
        f"id {number}: the user's message: {intent.name} ({intent.id})",
        f"time of day: {pattern['time']}, the user's mood: {pattern['mood']}",
        f"her lines so far: {' / '.join(shown)}",
    ]
    if refused:
        parts.append(f"your last line was refused: {refused}")
    return "; ".join(parts)


def read_lines(text: str) -> dict[int, str]:
    """The lines of a reply by number; what is not ours is left out."""
    start, end = text.find("{"), text.rfind("}")
    try:
        found = orjson.loads(text[start : end + 1])["lines"]
        pairs = [(int(item["id"]), str(item["text"]).strip()) for item in found]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return {}
    return dict(pairs)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the cloud answered at the event, that may become a learned pattern."""

    query: Query
    asked: str
    text: str
    source: str
    model: str
    usd: float
    times: int = 1

    @property
    def name(self) -> str:
        """Stands for this answer to this message, without their words."""
        return xxhash.xxh3_128_hexdigest(f"{self.query.key} {self.text}".encode())


def read_candidates(deck: PatternDeck, lines: Iterable[Mapping[str, Any]]) -> list[Candidate]:
    """The newest answer to each message, the most often asked first."""
    newest: dict[str, Candidate] = {}
    times: Counter[str] = Counter()
    for line in lines:
        candidate = _candidate(deck, line)
        if candidate:
            times[candidate.query.key] += 1
            newest[candidate.query.key] = candidate
    return [
        Candidate(c.query, c.asked, c.text, c.source, c.model, c.usd, times[key])
        for key, c in sorted(newest.items(), key=lambda item: -times[item[0]])
    ]


def _candidate(deck: PatternDeck, line: Mapping[str, Any]) -> Candidate | None:
    """A line's candidate, its message read again by the deck of today; None where it is not one."""
    try:
        told = line["candidate"]
        character = deck.character_by_id[line["pattern"]["character"]]
        asked, text = str(told["asked"]), str(told["text"])
        return Candidate(
            deck.message_query(character, asked),
            asked,
            text,
            str(told["source"]),
            str(told["model"]),
            float(told["cost_usd"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


# Yes, no, another wording, or None: enough for today.
Reviewer = Callable[[Candidate], str | bool | None]


class Rejections:
    """What a person has turned down, by name: it is not asked about again."""

    def __init__(self, folder: Path, deck: str) -> None:
        self._path = folder / f"{deck}.rejected"
        self._names = (
            set(self._path.read_text("ascii", "replace").split()) if self._path.exists() else set()
        )

    def __contains__(self, candidate: object) -> bool:
        return isinstance(candidate, Candidate) and candidate.name in self._names

    def add(self, candidate: Candidate) -> None:
        """Note one."""
        self._names.add(candidate.name)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="ascii") as file:
            file.write(candidate.name + "\n")


def learn(
    deck: PatternDeck,
    candidates: Iterable[Candidate],
    log: LogWriter,
    index: IndexWriter,
    now: Callable[[], str],
    rejections: Rejections,
    review: Reviewer | None = None,
) -> ChatReport:
    """Take candidates in that pass the gate and, where there is a reviewer, a person."""
    gate = ChatGate(deck)
    report = ChatReport()
    index.catch_up()
    for candidate in candidates:
        report.wanted += 1
        if index.has(candidate.query.key):
            report.already += 1
            continue
        text = _accepted(gate, candidate, rejections, review, report)
        if text is None:
            break
        if text:
            log.append([_learned(candidate, text, now())])
            report.cooked += 1
    index.catch_up()
    return report


def _accepted(
    gate: ChatGate,
    candidate: Candidate,
    rejections: Rejections,
    review: Reviewer | None,
    report: ChatReport,
) -> str | None:
    """The text to store, empty where there is none; None where the reviewer has had enough."""
    if candidate in rejections:
        report.rejected += 1
        return ""
    text = candidate.text
    if not _passes(gate, candidate, text, report):
        return ""
    verdict = review(candidate) if review else True
    if verdict is None:
        return None
    if verdict is False:
        rejections.add(candidate)
        report.rejected += 1
        return ""
    if isinstance(verdict, str):
        return verdict if _passes(gate, candidate, verdict, report) else ""
    return text


def _passes(gate: ChatGate, candidate: Candidate, text: str, report: ChatReport) -> bool:
    refusal = gate.examine(candidate.query, {TEXT: text})
    if refusal:
        report.refused[refusal.check] += 1
    return refusal is None


def _learned(candidate: Candidate, text: str, now: str) -> Entry:
    return Entry(
        key=candidate.query.key,
        variant=0,
        query=candidate.query,
        response={TEXT: text, "asked": candidate.asked},
        source=candidate.source,
        model=candidate.model,
        fingerprint="learned",
        created=now,
        cost_usd=candidate.usd,
    )
