"""What cooking asks of a kind of deck.

The pipeline is the same for all: plan, jobs, runner, gate, entries, log, index. Resuming, budget,
rates, waits, batch jobs, refreshing and the bill are the pipeline's; what is asked for, how a model
is asked, what its reply means and what passes are the kind's.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from app.kinds.decks import kind_of
from app.kinds.kind import AnyDeck
from app.kinds.refusal import Refusal
from app.kinds.tasks import Draft, Drafts, Provider, Refusals, Task
from app.providers import Completion, Model, Prompt
from app.store.entry import Entry
from app.store.index import IndexedDeck, IndexWriter, Meta
from app.store.key import Query
from app.store.log import LogWriter
from precompute.cook.choose import Choice
from precompute.cook.cost import Estimator
from precompute.cook.progress import Show
from precompute.plan.strategies import Job

if TYPE_CHECKING:
    from precompute.cook.options import BuildContext, BuildOptions

Rows = Iterable[tuple[str, object]]


class BatchWriter(Provider, Protocol):
    """A provider whose request and reply can be parted, so that a batch job can carry them."""

    def prompt(self, tasks: Sequence[Task]) -> Prompt:
        """The request for these tasks. The same tasks always make the same."""

    def read(self, tasks: Sequence[Task], completion: Completion) -> Drafts:
        """A reply to that request, as drafts, with what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Cook:
    """A provider ready to write, and how its requests are estimated if they cost something.

    `writer` is the same provider, if it can be asked by batch job.
    """

    provider: Provider
    estimate: Estimator | None
    writer: BatchWriter | None = None


class Judge(Protocol):
    """Decides which drafts become entries. Knows what it has accepted, so that nothing comes twice."""

    def refusals(self, draft: Draft) -> Refusals:
        """Everything that speaks against a draft; if nothing does, it counts as accepted."""

    def kept(self, entries: Sequence[Entry], end: int) -> None:
        """These accepted drafts stand in the log, which now ends at byte `end`."""


class Cooking(Protocol):
    """How the entries of one deck are cooked.

    `whole_only`: a model is asked for many answers in a request, never for one in two steps.
    `quality` names figures of the report, each with the checks that a draft must pass for it.
    `subject` is what an entry's fingerprint holds beside the prompt, as in "a card has changed".
    `voted_on`: people vote on the answers, so that `--refresh disliked` means something.
    """

    whole_only: bool
    quality: Mapping[str, frozenset[str]]
    subject: str
    voted_on: bool

    @property
    def deck(self) -> IndexedDeck:
        """The deck, as the index knows it."""

    def plan(self, options: BuildOptions, context: BuildContext, choice: Choice) -> Iterator[Job]:
        """The jobs that were asked for, best first. Raises PlanError."""

    def cook(self, choice: Choice, model: Model | None) -> Cook:
        """The provider; with no model, the one that needs none. Raises DeckError, PlanError."""

    def judge(self, store: Path) -> AbstractContextManager[Judge]:
        """The judge of this build's drafts. The caller holds the log's lock."""

    def before(
        self, options: BuildOptions, context: BuildContext, log: LogWriter, index: IndexWriter,
        progress: Show,
    ) -> None:  # fmt: skip
        """What a build does before anything is asked for."""

    def examine(self, query: Query, response: Mapping[str, object]) -> Refusal | None:
        """The gate's first refusal of an entry. Raises KeyError if the deck has no such query."""

    def fingerprints(self) -> Mapping[str, str]:
        """What entries would come from today, by the name before the colon of a fingerprint."""

    def subject_fingerprint(self, query: Query) -> str:
        """Changes if what a query is about (cards, characters) changes."""

    def can_ask_for(self, query: Query) -> bool:
        """Whether a model can be asked for an entry of this query."""

    def plan_rows(self, jobs: Sequence[Job]) -> Rows:
        """What a dry run says of the plan."""

    def stored_rows(self, meta: Meta) -> Rows:
        """What a build says at its end of what the store covers."""


def cooking_of(deck: AnyDeck) -> Cooking:
    """How a deck is cooked: by what the module of its kind's name makes of it."""
    # Each kind is imported when it is cooked: a build of one needs nothing of the others.
    kind = importlib.import_module(f"precompute.cook.{kind_of(deck).room}")
    made: Cooking = kind.cooking(deck)
    return made
