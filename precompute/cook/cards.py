"""Cooking decks of cards: whole answers to plays, by the composer or by a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import xxhash

from app.errors import DamagedLineError, PlanError
from app.kinds.cards.composer import ComposerProvider
from app.kinds.cards.deck import Deck
from app.kinds.cards.figures import coverage
from app.kinds.cards.gate import Gate
from app.kinds.cards.prompts import has_prompts
from app.kinds.cards.writer import SmallWriter, WholeWriter
from app.kinds.cards.written import SOURCE as WRITTEN
from app.kinds.cards.written import WRITTEN_FILE, WrittenFirst, WrittenProvider, written_answers
from app.kinds.language import Language
from app.kinds.tasks import Draft, Refusals
from app.ledger.misses import read_ledger
from app.providers import Model, NamedModel
from app.store.decision import DELETED, WITHDRAWN, Decision
from app.store.entry import Entry
from app.store.in_force import rejected_texts
from app.store.index_writer import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter, log_path, read_lines
from app.store.rows import Meta
from precompute.cook.build import build
from precompute.cook.choose import ProviderChoice
from precompute.cook.cost import estimator
from precompute.cook.kinds import COMMON, PIECES, WRITING, Build, Cook, Cooking, Judge, TableRows
from precompute.cook.near_copy import NearCopies, sketch
from precompute.cook.options import BuildContext, BuildOptions
from precompute.cook.progress import Show
from precompute.cook.report import one_in
from precompute.learn.answers import written_entries
from precompute.learn.waiting import is_waiting
from precompute.pieces.cooking import cook_pieces
from precompute.plan.strategies import STRATEGIES, Job, plan_misses, plan_sampled, plan_stock

_WRITTEN_LINE = f'"source":"{WRITTEN}"'.encode()


def _build(options: BuildOptions, context: BuildContext) -> int:
    if not options.pieces:
        if options.take:
            raise PlanError("--take is for --pieces, which it puts in their place; say both")
        return build(options, context)
    assert isinstance(context.deck, Deck)
    return cook_pieces(options, context, context.deck)


_OWN = frozenset({"prompt", "radius", "seed", "take"})
# What is the plan's or a batch job's says nothing of pieces, which are all that the deck lacks.
_PIECES = WRITING - {"refresh", "per_request", "batch", "give_up_hours"}
BUILDS: Mapping[str, Build] = {
    **dict.fromkeys(STRATEGIES, Build("a deck of cards", COMMON | WRITING | _OWN, _build)),
    PIECES: Build("pieces", _PIECES | {"deck_name", "dry_run", "pieces", "take"}, _build),
}


class CardsCooking(Cooking):
    """How a deck of cards is cooked."""

    deck: Deck
    whole_only = False
    quality: Mapping[str, frozenset[str]] = {
        "length kept at the first try": frozenset({"shape", "length"}),
        "title verbatim at the first try": frozenset({"shape", "title"}),
    }
    subject = "a card"
    voted_on = True

    def __init__(self, deck: Deck) -> None:
        super().__init__(deck)
        self.in_the_box = deck.composable or bool(written_answers(deck))

    def plan(
        self, options: BuildOptions, context: BuildContext, choice: ProviderChoice
    ) -> Iterator[Job]:
        """The plan of a strategy; the deck's own answers are their own plan."""
        settings = context.settings
        if self._only_written(choice):
            return self._written(settings.store, WrittenProvider(self.deck).queries)
        if options.strategy == "stock":
            stock = plan_stock(self.deck, options.seed, options.radius_in(settings))
            return self._written_first(settings.store, stock) if choice.written_first else stock
        if options.strategy == "sampled":
            return plan_sampled(self.deck, options.seed)
        return plan_misses(self.deck, read_ledger(settings.ledger, self.deck.id))

    def _only_written(self, choice: ProviderChoice) -> bool:
        """Whether the deck's own answers are asked for, or all that there is without a model."""
        own = choice.written_first and not self.deck.composable
        return choice.name == WRITTEN or (own and bool(written_answers(self.deck)))

    def _written(self, store: Path, queries: Iterable[Query]) -> Iterator[Job]:
        """Plays of the deck's own answers. One that was edited since it was stored is stored again.

        Those that a reviewer rejected as they stand are left out, and what was deleted stays away.
        """
        answers, log = written_answers(self.deck), log_path(store, self.deck.id)
        old = withdrawn_answers(store, self.deck)
        edited = {name for name, entry in old.items() if entry.verdict != DELETED}
        rejected = rejected_texts(log) if store.is_dir() else {}
        for query in queries:
            name = (query.key, 0)
            if answers[query] not in [entry.response for entry in rejected.get(name, ())]:
                yield Job(query, 0, WRITTEN, again=name in edited)

    def _written_first(self, store: Path, others: Iterable[Job]) -> Iterator[Job]:
        """The plays that have a written answer, then the others."""
        written = written_answers(self.deck)
        yield from self._written(store, written)
        yield from (job for job in others if job.variant or job.query not in written)

    def cook(self, choice: ProviderChoice, model: Model | None) -> Cook:
        """What is in the box, or a model with the prompt for large ones or for small ones."""
        deck = self.deck
        if self._only_written(choice):
            return Cook(WrittenProvider(deck), None)
        if model is None:
            composer = ComposerProvider(deck)
            if choice.written_first and written_answers(deck):
                return Cook(WrittenFirst(WrittenProvider(deck), composer), None)
            return Cook(composer, None)
        length = deck.rules.length
        sample = "x" if deck.lang.spaced else "字"
        sample = "words " if deck.rules.words and deck.lang.spaced else sample
        if choice.prompt == "small":
            small = SmallWriter(deck, model)
            return Cook(small, estimator(length, small.prompt, 2, sample))
        writer = WholeWriter(deck, model)
        return Cook(writer, estimator(length, writer.prompt, sample=sample), writer)

    def judge(self, store: Path) -> Judge:
        """The gate, and the search for near copies of entries in the log."""
        lang, withdrawn = self.deck.lang, withdrawn_answers(store, self.deck)
        copies = NearCopies(store, self.deck.id, lang, withdrawn)
        return CardsJudge(Gate.of(self.deck), copies, lang)

    def before(
        self, options: BuildOptions, context: BuildContext, log: LogWriter, index: IndexWriter,
        progress: Show,
    ) -> None:  # fmt: skip
        """Withdraw answers that the deck's own file no longer has.

        With --strategy misses: store the answers that models wrote at the event.
        """
        self._withdraw(context, log, index, progress)
        if options.strategy != "misses":
            return
        index.catch_up()
        rejected = rejected_texts(log.path)
        found = [
            entry
            for entry in self.learned(context.settings.ledger)
            if is_waiting(entry, rejected.get(entry.name, ()), stored=index.has(*entry.name))
        ]
        if found:
            log.append(found)
            index.catch_up()
            progress.note(f"{len(found):,} answers that a model wrote at the event were taken in")

    def learned(self, ledger: Path) -> Iterator[Entry]:
        """The answers that models wrote."""
        return written_entries(self.deck, read_ledger(ledger, self.deck.id))

    def _withdraw(
        self, context: BuildContext, log: LogWriter, index: IndexWriter, progress: Show
    ) -> None:
        found = withdrawn_answers(context.settings.store, self.deck)
        decision = Decision(WITHDRAWN, context.clock.stamp())
        lines = [
            replace(entry, usage=None, cost_usd=0.0, decision=decision)
            for entry in found.values()
            if not entry.gone
        ]
        if lines:
            log.append(lines)
            index.catch_up()
            progress.note(
                f"{len(lines):,} answers that {WRITTEN_FILE} no longer has were withdrawn"
            )

    def fingerprints(self) -> Mapping[str, str]:
        """Those of the composer, written answers and both prompts, as far as there are any."""
        known: dict[str, str] = {}
        if self.deck.composable:
            known["composer"] = ComposerProvider(self.deck).fingerprint
        if written_answers(self.deck):
            known[WRITTEN] = WrittenProvider(self.deck).fingerprint
        planned = NamedModel("gemini", "")
        if not has_prompts(self.deck):
            return known
        for kind in (WholeWriter, SmallWriter):
            fingerprint = kind(self.deck, planned).fingerprint
            known[fingerprint.partition(":")[0]] = fingerprint
        return known

    def subject_fingerprint(self, query: Query) -> str:
        """A hash over the texts of the cards and phrases, which are not part of the key."""
        digest = xxhash.xxh3_64()
        for phrase in self.deck.phrases(query):
            card = self.deck.card_by_id[phrase.card]
            digest.update(f"{card.text}\0{phrase.text}\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:8]

    def plan_rows(self, jobs: Sequence[Job]) -> TableRows:
        """The number of hands."""
        yield "hands", f"{len({job.query.hand_key for job in jobs}):,}"

    def stored_rows(self, meta: Meta) -> TableRows:
        """The coverage of plays and hands."""
        covers = coverage(self.deck, meta)
        within = f"{one_in(covers['stocked_hands'])}, within {covers['radius']} phrase(s)"
        yield "exact plays", one_in(covers["exact"])
        yield "stocked hands", within
        yield "plays of stocked hands", one_in(covers["stocked_plays"])
        yield "plays that composing covers", one_in(covers["composed"])


def withdrawn_answers(store: Path, deck: Deck) -> dict[tuple[str, int], Entry]:
    """The newest lines about the deck's own answers that its file no longer has, as they are.

    By key and variant. The file says which there are. Without this, a text that was moved to another
    play would be refused as a copy of itself, and one that was edited would not be stored.
    """
    newest: dict[tuple[str, int], Entry] = {}
    if not store.is_dir():
        return {}
    for _, line in read_lines(log_path(store, deck.id)):
        # Few lines of a large log are parsed.
        if _WRITTEN_LINE in line and line.endswith(b"\n"):
            with suppress(DamagedLineError):
                entry = Entry.from_line(line)
                if entry.source == WRITTEN:
                    newest[entry.key, entry.variant] = entry
    now = written_answers(deck) if newest else {}
    return {name: e for name, e in newest.items() if now.get(e.query) != e.response}


cooking = CardsCooking


class CardsJudge(Judge):
    """Refuses what the gate refuses, and near copies of accepted poems."""

    def __init__(self, gate: Gate, copies: NearCopies, language: Language) -> None:
        super().__init__(gate)
        self._copies = copies
        self._language = language

    def refusals(self, draft: Draft) -> Refusals:
        """The refusals of the gate; if there are none, of the search for near copies."""
        task = draft.task
        if refused := super().refusals(draft):
            return refused
        packed = sketch(str(draft.response["poem"]), self._language)
        copy = self._copies.examine(packed, task.name)
        if copy:
            return (copy,)
        self._copies.add(packed, task.name)
        return ()
