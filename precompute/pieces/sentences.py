"""Pieces for composing: sentences that say one phrase, frames of one theme, cooked like answers.

A request covers several cards, so that a deck of 89 becomes composable in about 16 requests. What
passes the gate is kept with its provenance, one line a piece, in `<deck>.pieces.jsonl` beside the
store; a killed build goes on from there. `take` puts it in place of the deck's own files.

A piece is asked for by a query of its own, a pattern: {"phrase": id} or {"theme": id}.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from app.errors import DamagedLineError, DeckError, PlanError, StoreWriteError
from app.kinds.cards.deck import FRAMES_FILE, SENTENCES_FILE, Card, Deck, Phrase
from app.kinds.cards.gate import Gate
from app.kinds.cards.prompts import (
    load_prompt,
    load_reasons,
    prompt_fingerprint,
    prompts_folder,
    read_json,
    rule_values,
    told_reasons,
)
from app.kinds.cards.writer import FAULT_UNREADABLE, named_tasks
from app.kinds.refusal import Refusal
from app.kinds.tasks import Draft, Drafts, Task
from app.providers import Model, Prompt
from app.providers.prices import Price
from app.providers.reply import UnreadableError, cleaned_text, read_answers
from app.providers.tokens import estimate_tokens
from app.store.entry import Usage, seal, unseal
from app.store.key import Query
from precompute.cook.cost import Estimate
from precompute.cook.report import Report
from precompute.plan.strategies import Job

SENTENCES, FRAMES, TURNS, TITLES = 3, 6, 4, 4
CARDS_PER_REQUEST = 8
THEMES_PER_REQUEST = 3
SENTENCE_LENGTH = (8, 60)
FRAME_LENGTH = (20, 80)
TURN_LENGTH = (4, 30)
# Member of a reply → kind of the piece, how many there must be, how long each is.
FRAME_KINDS = {
    "openings": ("opening", FRAMES, FRAME_LENGTH),
    "closings": ("closing", FRAMES, FRAME_LENGTH),
    "threshold": ("threshold", TURNS, TURN_LENGTH),
    "turns": ("turn", TURNS, TURN_LENGTH),
}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_ITEM = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "themes": _TEXTS},
    "required": ["text", "themes"],
}


def _schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    answer = {
        "type": "object",
        "properties": {"id": {"type": "string"}, **properties},
        "required": ["id", *properties],
    }
    return {
        "type": "object",
        "properties": {"answers": {"type": "array", "items": answer}},
        "required": ["answers"],
    }


_SENTENCES_SCHEMA = _schema({"items": {"type": "array", "items": _ITEM}})
_FRAMES_SCHEMA = _schema(
    dict.fromkeys(FRAME_KINDS, _TEXTS) | {"titles": {"type": "array", "items": {"type": "integer"}}}
)


@dataclass(frozen=True, slots=True)
class ThemeName:
    """A theme that pieces are written for."""

    id: str
    name: str
    movement: str


def themes_of(deck: Deck) -> tuple[ThemeName, ...]:
    """The deck's themes; for a deck without any, those that stand beside the prompts."""
    if deck.themes:
        return tuple(
            ThemeName(t.id, t.name, "outward" if t.outward else "inward") for t in deck.themes
        )
    path = prompts_folder(deck) / "themes.json"
    try:
        return tuple(ThemeName(t["id"], t["name"], t["movement"]) for t in read_json(path))
    except (KeyError, TypeError):
        fault = 'expected [{"id": …, "name": …, "movement": "inward" or "outward"}]'
        raise DeckError(str(path), "", fault) from None


def phrase_jobs(deck: Deck) -> list[Job]:
    """A job for every phrase."""
    return [
        Job(Query.pattern(deck.id, [("phrase", phrase.id)]), 0, "sentences")
        for card in deck.cards
        for phrase in card.phrases
    ]


def theme_jobs(deck: Deck, themes: Iterable[ThemeName]) -> list[Job]:
    """A job for every theme."""
    return [Job(Query.pattern(deck.id, [("theme", theme.id)]), 0, "frames") for theme in themes]


def _subject(task: Task) -> tuple[str, str]:
    """("phrase", id) or ("theme", id)."""
    return task.query.picks[0]


class PieceWriter:
    """A provider of pieces made of a model. The tasks of one request are all of one kind."""

    def __init__(self, deck: Deck, model: Model) -> None:
        self.name = model.name
        self._model = model
        self._deck = deck
        folder = prompts_folder(deck)
        self._sentences = load_prompt(folder, "sentences.txt")
        self._frames = load_prompt(folder, "frames.txt")
        self._reasons = load_reasons(folder)
        self._rules = rule_values(deck)
        self._themes = {theme.id: theme for theme in themes_of(deck)}
        self._phrases: dict[str, tuple[Card, Phrase]] = {
            phrase.id: (card, phrase) for card in deck.cards for phrase in card.phrases
        }
        self.fingerprint = "pieces:" + prompt_fingerprint(
            self._sentences.sections, self._frames.sections, sorted(self._rules.items())
        )

    def write(self, tasks: Sequence[Task]) -> Drafts:
        """One request."""
        completion = self._model.complete(self.prompt(tasks))
        fault = completion.fault
        answers: list[dict[str, Any]] = []
        try:
            answers = read_answers(completion.text, len(tasks))
        except UnreadableError:
            fault = fault or FAULT_UNREADABLE
        waiting = named_tasks(tasks)
        drafts = []
        for answer in answers:
            only = next(iter(waiting), "") if len(tasks) == 1 else ""
            task = waiting.pop(str(answer.pop("id", only)), None)
            if task is not None:
                drafts.append(Draft(task, answer))
        strays = len(answers) - len(drafts)
        reply = completion.text if fault else ""
        return Drafts(
            tuple(drafts), completion.model, completion.usage, fault, strays=strays, reply=reply
        )

    def close(self) -> None:
        """Close the model."""
        self._model.close()

    def prompt(self, tasks: Sequence[Task]) -> Prompt:
        """The request for these tasks."""
        if _subject(tasks[0])[0] == "phrase":
            return self._sentences_prompt(tasks)
        return self._frames_prompt(tasks)

    def _sentences_prompt(self, tasks: Sequence[Task]) -> Prompt:
        values = {
            **self._rules,
            "each": SENTENCES,
            "count": len(tasks),
            "themes": "\n".join(f"・{t.id}：{t.name}" for t in self._themes.values()),
            "cards": "\n".join(self._phrase(n, task) for n, task in named_tasks(tasks).items()),
        }
        fixed, asked = (self._sentences.fill(section, values) for section in (0, 1))
        return Prompt(fixed, asked, _SENTENCES_SCHEMA, 2 * self.answer_tokens(tasks))

    def _phrase(self, name: str, task: Task) -> str:
        card, phrase = self._phrases[_subject(task)[1]]
        values = {
            "id": name,
            "phrase": phrase.text,
            "condition": card.text,
            "tells": "、".join(card.tells),
            "again": told_reasons(self._reasons, task.refusals),
        }
        return self._sentences.fill(2, values)

    def _frames_prompt(self, tasks: Sequence[Task]) -> Prompt:
        titles = enumerate(self._deck.titles, 1)
        values = {
            **self._rules,
            "each": FRAMES,
            "turns_each": TURNS,
            "titles_each": TITLES,
            "titles": "\n".join(f"{number}. {title}" for number, title in titles),
            "themes": "\n".join(self._theme(n, task) for n, task in named_tasks(tasks).items()),
        }
        fixed, asked = (self._frames.fill(section, values) for section in (0, 1))
        return Prompt(fixed, asked, _FRAMES_SCHEMA, 2 * self.answer_tokens(tasks))

    def _theme(self, name: str, task: Task) -> str:
        theme = self._themes[_subject(task)[1]]
        movement = "室内から空へ" if theme.movement == "outward" else "街から室内へ"
        again = told_reasons(self._reasons, task.refusals)
        values = {"id": name, "name": theme.name, "movement": movement, "again": again}
        return self._frames.fill(2, values)

    def answer_tokens(self, tasks: Sequence[Task]) -> int:
        """About how long the reply is."""
        if _subject(tasks[0])[0] == "phrase":
            one = SENTENCES * (estimate_tokens("字" * 30) + 20) + 20
        else:
            one = 2 * FRAMES * estimate_tokens("字" * 50) + 2 * TURNS * 15 + 60
        return one * len(tasks)

    def estimate(self, tasks: Sequence[Task]) -> Estimate:
        """What a request will take."""
        prompt = self.prompt(tasks)
        fixed = estimate_tokens(prompt.fixed)
        return Estimate(
            requests=1,
            prompt=fixed + estimate_tokens(prompt.asked),
            fixed=fixed,
            output=self.answer_tokens(tasks),
            most_output=prompt.most_tokens,
        )


def pieces_path(store: Path, deck: str) -> Path:
    """Where the pieces cooked for a deck are."""
    return store / f"{deck}.pieces.jsonl"


class PieceStore:
    """The pieces that were cooked for a deck. Whoever makes one holds the log's lock."""

    def __init__(self, store: Path, deck: Deck, themes: Sequence[ThemeName]) -> None:
        self.path = pieces_path(store, deck.id)
        self.deck = deck
        self.themes = tuple(themes)
        self.damaged = 0
        self.texts: set[str] = set()
        # ("phrase", id) or ("theme", id) → kind → texts; sentences have themes beside them.
        self.kept: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self.serves: dict[str, tuple[str, ...]] = {}
        self._sources: dict[tuple[str, str], str] = {}
        self._by_key = {
            job.query.key: job.query.picks[0]
            for job in (*phrase_jobs(deck), *theme_jobs(deck, themes))
        }
        self._read()

    def _read(self) -> None:
        """What is there; a torn or damaged line is passed over, its piece is cooked again."""
        if not self.path.exists():
            return
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            os.truncate(self.path, len(whole))
        for line in whole.splitlines():
            try:
                self._remember(unseal(line))
            except (DamagedLineError, KeyError, TypeError):
                self.damaged += 1

    def _remember(self, record: Mapping[str, Any]) -> None:
        subject = (record["of"], record["id"])
        self.kept[subject][record["kind"]].append(record["text"])
        self.texts.add(record["text"])
        self._sources[subject] = record["source"]
        if record["kind"] == "sentence":
            self.serves[record["text"]] = tuple(record["themes"])

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Make pieces durable. Raises StoreWriteError."""
        try:
            with self.path.open("ab") as file:
                file.write(b"".join(seal(orjson.dumps(record)) for record in records))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreWriteError(f"{self.path}: cannot be written: {error.strerror}") from None
        for record in records:
            self._remember(record)

    def lacks(self, subject: tuple[str, str]) -> list[str]:
        """What is still wanted of a phrase or a theme."""
        kept = self.kept[subject]
        if subject[0] == "phrase":
            return ["sentence"] if len(kept["sentence"]) < SENTENCES else []
        wanted = [kind for kind, least, _ in FRAME_KINDS.values() if len(kept[kind]) < least]
        return wanted + (["title"] if len(kept["title"]) < TITLES else [])

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """Who wrote a subject's pieces, once it has all that it needs."""
        subject = self._by_key[key]
        return None if self.lacks(subject) else self._sources[subject]

    def catch_up(self) -> None:
        """It is never behind its file."""


class PieceIntake:
    """Takes pieces in: each text through the gate by itself."""

    def __init__(
        self,
        kept: PieceStore,
        source: tuple[str, str],
        stamp: Callable[[], str],
        price: Price | None,
        report: Report,
    ) -> None:
        self._kept = kept
        self._gate = Gate.of(kept.deck)
        self._source, self._fingerprint = source
        self._stamp = stamp
        self._price = price
        self._owed = Usage()
        self._cards = {p.id: (card, p) for card in kept.deck.cards for p in card.phrases}
        self._theme_ids = {theme.id for theme in kept.themes}
        self.report = report

    @property
    def owed_usd(self) -> float:
        """What was billed for pieces that were all refused."""
        return self._price.cost(self._owed) if self._price else 0.0

    def set_reply_aside(self, tasks: Sequence[Task], fault: str, reply: str) -> None:
        """Keep the text of a reply that could not be read beside the pieces."""
        record = {"fault": fault, "reply": cleaned_text(reply)[:20_000]}
        try:
            with self._kept.path.with_suffix(".refused.jsonl").open("ab") as file:
                file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        except OSError as error:
            raise StoreWriteError(
                f"{self._kept.path}: cannot be written: {error.strerror}"
            ) from None

    def take(self, tasks: Sequence[Task], written: Drafts) -> list[Task]:
        """Keep the texts that pass; ask again for what a phrase or theme then lacks."""
        report = self.report
        report.asked += len(tasks)
        if written.usage:
            report.usage += written.usage
            self._owed += written.usage
            report.cost_usd += self._price.cost(written.usage) if self._price else 0.0
        if written.reply:
            self.set_reply_aside(tasks, written.fault, written.reply)
        if written.fault:
            report.faults[written.fault] += 1
        reasons: dict[tuple[str, int], list[Refusal]] = defaultdict(list)
        records: list[dict[str, Any]] = []
        for draft in written.drafts:
            for kind, text, themes in _texts(draft, self._kept.deck):
                reason = self._refusal(_subject(draft.task), kind, text, themes)
                report.first_drafts += not draft.task.refusals
                if reason:
                    report.refused[reason.check] += 1
                    reasons[draft.task.name].append(reason)
                    continue
                report.first_try += not draft.task.refusals
                self._kept.texts.add(text)
                records.append(self._record(draft.task, kind, text, themes, written.model))
        self._keep(records)
        again = []
        for task in tasks:
            lacks = self._kept.lacks(_subject(task))
            if not lacks:
                report.cooked += 1
                continue
            why = reasons[task.name] or [Refusal(written.fault or "missing")]
            again.append(task.refused(tuple(why[:3])))
        return again

    def _keep(self, records: list[dict[str, Any]]) -> None:
        if not records:
            return
        share = self._owed.share(len(records))
        cost = self._price.cost(share) if self._price else 0.0
        self._owed = Usage()
        usage = {"prompt": share.prompt, "output": share.output, "thoughts": share.thoughts}
        self._kept.append([record | {"usage": usage, "cost_usd": cost} for record in records])

    def _record(
        self, task: Task, kind: str, text: str, themes: Sequence[str], model: str
    ) -> dict[str, Any]:
        of, name = _subject(task)
        return {
            "of": of,
            "id": name,
            "kind": kind,
            "text": text,
            "themes": list(themes),
            "source": self._source,
            "model": model,
            "fingerprint": self._fingerprint,
            "created": self._stamp(),
        }

    def _refusal(
        self, subject: tuple[str, str], kind: str, text: str, themes: Sequence[str]
    ) -> Refusal | None:
        """Why a piece is not taken, or None."""
        if kind == "title":
            known = text in self._kept.deck.titles
            return None if known else Refusal("title", text, "in the list")
        if text in self._kept.texts:
            return Refusal("near-copy", "100%", text[:12])
        least, most = _lengths(kind)
        if not least <= len(text) <= most or not text.endswith("。"):
            return Refusal("length", str(len(text)), f"{least}-{most} characters, ending in 。")
        if kind == "sentence" and not set(themes) & self._theme_ids:
            return Refusal("shape", "no theme", "a theme of the list")
        cards: tuple[Card, ...] = ()
        phrases: tuple[str, ...] = ()
        if subject[0] == "phrase":
            card, phrase = self._cards[subject[1]]
            cards, phrases = (card,), (phrase.text,)
        return next(iter(self._gate.examine_text(text, cards, phrases)), None)


def _lengths(kind: str) -> tuple[int, int]:
    known = {name: lengths for name, _, lengths in FRAME_KINDS.values()}
    return known.get(kind, SENTENCE_LENGTH)


def _texts(draft: Draft, deck: Deck) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Kind, text and themes of each piece in a draft; what is not a text is passed over."""
    response: Mapping[str, Any] = draft.response
    for item in _list(response.get("items")):
        if isinstance(item, Mapping) and isinstance(item.get("text"), str):
            themes = tuple(str(theme) for theme in _list(item.get("themes")))
            yield "sentence", item["text"].strip(), themes
    for member, (kind, _, _) in FRAME_KINDS.items():
        for text in _list(response.get(member)):
            if isinstance(text, str):
                yield kind, text.strip(), ()
    for number in _list(response.get("titles")):
        if isinstance(number, int) and 1 <= number <= len(deck.titles):
            yield "title", deck.titles[number - 1], ()


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def take(kept: PieceStore) -> list[Path]:
    """Put cooked pieces in place of a deck's own; returns the files written.

    What was there is kept beside as `….before`. Raises PlanError where something is lacking still.
    """
    deck = kept.deck
    assert deck.folder is not None
    lacking = [s for s in kept_subjects(kept) if kept.lacks(s)]
    if lacking:
        raise PlanError(
            f"{len(lacking)} of the deck's phrases and themes lack pieces, the first is "
            f"{lacking[0][1]!r}; run build --pieces again, then --take"
        )
    files = {SENTENCES_FILE: _sentences_file(kept), FRAMES_FILE: _frames_file(kept)}
    return [_replace(deck.folder / name, value) for name, value in files.items()]


def kept_subjects(kept: PieceStore) -> Iterator[tuple[str, str]]:
    """Every phrase and theme."""
    for card in kept.deck.cards:
        for phrase in card.phrases:
            yield "phrase", phrase.id
    for theme in kept.themes:
        yield "theme", theme.id


def _sentences_file(kept: PieceStore) -> dict[str, list[dict[str, Any]]]:
    known = {theme.id for theme in kept.themes}
    return {
        name: [
            {"text": text, "themes": [t for t in kept.serves[text] if t in known]}
            for text in kept.kept["phrase", name]["sentence"]
        ]
        for of, name in kept_subjects(kept)
        if of == "phrase"
    }


def _frames_file(kept: PieceStore) -> dict[str, list[dict[str, Any]]]:
    themes = []
    for theme in kept.themes:
        pieces = kept.kept["theme", theme.id]
        themes.append(
            {
                "id": theme.id,
                "name": theme.name,
                "movement": theme.movement,
                "titles": list(dict.fromkeys(pieces["title"])),
                "openings": pieces["opening"],
                "closings": pieces["closing"],
                "turns": {"threshold": pieces["threshold"], "any": pieces["turn"]},
            }
        )
    return {"themes": themes}


def _replace(path: Path, value: object) -> Path:
    scratch = path.with_suffix(".new")
    before = path.with_suffix(".json.before")
    try:
        scratch.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2))
        if path.exists() and not before.exists():
            before.write_bytes(path.read_bytes())
        scratch.rename(path)
    except OSError as error:
        raise StoreWriteError(f"{path}: cannot be written: {error.strerror}") from None
    return path
