"""The interface between the pipeline of cooking and a kind of deck.

The pipeline is the same for all kinds: plan, jobs, runner, judge, entries, log, index. It handles
resuming, budgets, rates, waits, batch jobs, refreshing and bills. A kind defines which queries are
cooked, the prompts, how replies are parsed and which drafts pass.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from app.kinds.decks import kind_of
from app.kinds.kind import AnyDeck, AnyGate
from app.kinds.refusal import Refusal
from app.kinds.tasks import Draft, Drafts, Provider, Refusals, Task
from app.providers import Completion, Model, Prompt
from app.store.entry import Entry
from app.store.index_writer import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter
from app.store.rows import Meta
from precompute.cook.choose import ProviderChoice
from precompute.cook.cost import Estimator
from precompute.cook.progress import Show
from precompute.plan.strategies import Job

if TYPE_CHECKING:
    from precompute.cook.options import BuildContext, BuildOptions

# The check of an answer whose deck no longer has what it was asked for.
GONE = "gone"
TableRows = Iterable[tuple[str, object]]


class BatchWriter(Provider, Protocol):
    """A provider that can make prompts and parse replies separately, as batch jobs need it."""

    def prompt(self, tasks: Sequence[Task]) -> Prompt:
        """The prompt for some tasks, which depends on them only."""

    def read(self, tasks: Sequence[Task], completion: Completion) -> Drafts:
        """Parse a reply to the prompt for the same tasks."""


@dataclass(frozen=True, slots=True)
class Cook:
    """A provider, and an estimator if its requests cost something.

    `writer` is the same provider if it can be asked by batch job.
    """

    provider: Provider
    estimate: Estimator | None
    writer: BatchWriter | None = None


class WholeGate(AnyGate, Protocol):
    """A gate that says everything that is wrong."""

    def refusals(self, query: Query, response: Mapping[str, object]) -> Refusals:
        """All refusals."""


class Judge:
    """Decides which drafts become entries: those that the gate passes.

    A kind's own judge also remembers what it accepted and what is stored, to refuse repetitions.
    """

    def __init__(self, gate: WholeGate) -> None:
        self._gate = gate

    def refusals(self, draft: Draft) -> Refusals:
        """All refusals of a draft; if there are none, it counts as accepted."""
        return self._gate.refusals(draft.task.query, draft.response)


class Cooking(ABC):
    """How the entries of one deck are cooked.

    `in_the_box`: entries can be cooked without a model. `whole_only`: a model is asked for many answers in a request, never for one in two steps.
    `quality` names figures of the report, each with the checks that a draft must pass for it.
    `subject` is what an entry's fingerprint holds besides the prompt, as in "a card has changed".
    `voted_on`: people vote on the answers, so that `--refresh disliked` means something.
    """

    whole_only = True
    quality: Mapping[str, frozenset[str]] = {}
    subject: str
    voted_on = False

    def __init__(self, deck: AnyDeck) -> None:
        self.deck = deck
        self.in_the_box = False

    @abstractmethod
    def plan(
        self, options: BuildOptions, context: BuildContext, choice: ProviderChoice
    ) -> Iterator[Job]:
        """The jobs for the options, in the order in which to cook them. Raises PlanError."""

    @abstractmethod
    def cook(self, choice: ProviderChoice, model: Model | None) -> Cook:
        """The provider; if `model` is None, one that asks none. Raises DeckError, PlanError."""

    @abstractmethod
    def judge(self, store: Path) -> Judge:
        """The judge of a build's drafts. The caller must hold the log's lock."""

    def before(  # noqa: B027  # most kinds have nothing to do
        self, options: BuildOptions, context: BuildContext, log: LogWriter, index: IndexWriter,
        progress: Show,
    ) -> None:  # fmt: skip
        """Do what must be done before a build asks for anything; by default nothing."""

    def learned(self, ledger: Path) -> Iterator[Entry]:
        """Answers that models gave at the event, which the gate passes: one at most for each name.

        Until a build takes them in, or a reviewer decides about them, they are in the ledger alone.
        """
        return iter(())

    @abstractmethod
    def fingerprints(self) -> Mapping[str, str]:
        """Today's fingerprints of prompts and pieces, by the name before their colon."""

    def subject_fingerprint(self, query: Query) -> str:
        """A hash over the texts that a query is about (cards, characters), if they are not in its key."""
        return ""

    def can_ask_for(self, query: Query) -> bool:
        """Whether a model can be asked for an answer to this query."""
        return True

    @abstractmethod
    def plan_rows(self, jobs: Sequence[Job]) -> TableRows:
        """Rows about the plan, for a dry run."""

    def stored_rows(self, meta: Meta) -> TableRows:
        """Rows about what the store covers, for the end of a build."""
        return ()


def refusal_of(gate: AnyGate, query: Query, response: Mapping[str, object]) -> Refusal | None:
    """The gate's first refusal; of the check `gone` if the deck no longer has what was asked for."""
    try:
        return gate.examine(query, response)
    except KeyError:
        return Refusal(GONE)


# The options that every build accepts, and those about models that write, by their names in the command.
COMMON = frozenset({"deck_name", "wanted", "strategy", "dry_run"})
WRITING = frozenset(
    {
        "provider", "model", "refresh", "per_request", "concurrency", "rpm", "tpm", "budget_usd",
        "extra_requests", "batch", "give_up_hours",
    }
)  # fmt: skip


# The name of the build that --pieces asks for, in the place of a strategy.
PIECES = "pieces"


class Build(NamedTuple):
    """What `precompute build` does with a kind of deck for a strategy.

    `what` names it in a message, `accepts` has the names of the options that mean something for it;
    `run` returns the exit status.
    """

    what: str
    accepts: frozenset[str]
    run: Callable[[BuildOptions, BuildContext], int]


def builds_of(deck: AnyDeck) -> Mapping[str, Build]:
    """The builds of a deck's kind by strategy, from the module that is named like the kind."""
    builds: Mapping[str, Build] = _module_of(deck).BUILDS
    return builds


def cooking_of(deck: AnyDeck) -> Cooking:
    """How a deck is cooked, from the module that is named like its kind."""
    made: Cooking = _module_of(deck).cooking(deck)
    return made


def _module_of(deck: AnyDeck) -> Any:
    # Imported here, so that a build imports only what its kind needs.
    return importlib.import_module(f"precompute.cook.{kind_of(deck).room}")
