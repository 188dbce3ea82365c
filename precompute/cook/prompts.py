"""Cooking decks of prompts: what the server recorded is taken in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.errors import PlanError
from app.kinds.prompts.deck import PromptDeck
from app.kinds.prompts.gate import PromptGate
from app.kinds.refusal import Refusal
from app.kinds.tasks import Draft, Refusals
from app.providers import Model
from app.store.entry import Entry
from app.store.index import IndexWriter, Meta
from app.store.key import Query
from app.store.log import LogWriter
from precompute.cook.choose import Choice
from precompute.cook.kinds import Cook, Cooking, TableRows
from precompute.cook.options import BuildContext, BuildOptions
from precompute.cook.progress import Show
from precompute.learn.recordings import take_in
from precompute.plan.strategies import Job


def cooking(deck: PromptDeck) -> Cooking:
    return PromptsCooking(deck)


class PromptsCooking:
    """How a deck of prompts is cooked; see `Cooking` for the members."""

    whole_only = True
    quality: Mapping[str, frozenset[str]] = {}
    subject = "the deck"
    voted_on = False

    def __init__(self, deck: PromptDeck) -> None:
        self.deck = deck
        self._gate = PromptGate(deck.checks)

    def plan(self, options: BuildOptions, context: BuildContext, choice: Choice) -> Iterator[Job]:
        return iter(())

    def cook(self, choice: Choice, model: Model | None) -> Cook:
        raise PlanError(f"deck {self.deck.id!r} has nothing to cook")

    @contextmanager
    def judge(self, store: Path) -> Iterator[PromptsJudge]:
        yield PromptsJudge(self._gate)

    def before(
        self, options: BuildOptions, context: BuildContext, log: LogWriter, index: IndexWriter,
        progress: Show,
    ) -> None:  # fmt: skip
        """Take in what the server has recorded."""
        taken = take_in(context.settings.ledger, self.deck.id, self._gate, log)
        index.catch_up()
        if taken:
            progress.note(f"{taken:,} recordings were taken in")

    def examine(self, query: Query, response: Mapping[str, object]) -> Refusal | None:
        """The gate's first refusal."""
        return self._gate.examine(query, response)

    def fingerprints(self) -> Mapping[str, str]:
        return {}

    def subject_fingerprint(self, query: Query) -> str:
        return ""

    def can_ask_for(self, query: Query) -> bool:
        return False

    def plan_rows(self, jobs: Sequence[Job]) -> TableRows:
        return ()

    def stored_rows(self, meta: Meta) -> TableRows:
        return ()


class PromptsJudge:
    """Refuses what the gate refuses."""

    def __init__(self, gate: PromptGate) -> None:
        self._gate = gate

    def refusals(self, draft: Draft) -> Refusals:
        """All refusals of the gate."""
        return self._gate.refusals(draft.task.query, draft.response)

    def kept(self, entries: Sequence[Entry], end: int) -> None:
        """Do nothing: replies may be alike."""
