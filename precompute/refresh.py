"""What became stale, what that would cost, and plans to cook it again.

An entry is

- valid: made from the cards, the prompt (or pieces) and the model of today;
- servable: one of them has changed since, and the gate lets it pass all the same;
- refused: the gate of today does not let it pass; it must be cooked again;
- gone: the deck has one of its phrases no longer; nobody can ask for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console

from app.core.deck import Deck
from app.core.entry import Entry
from app.core.gate import Gate
from app.core.index import Index
from app.core.log import Record, log_path, read_log
from app.core.prices import Price, load_prices
from app.errors import IndexUnusableError, PlanError
from app.providers import Task
from app.settings import Settings
from precompute.choose import Choice, Planned, choose, fingerprints, group, make_cook, pace_of
from precompute.cost import NOTHING, Estimate
from precompute.intake import entry_fingerprint
from precompute.plan import Job

VALID, SERVABLE, REFUSED, GONE = "valid", "servable", "refused", "gone"
REFRESH = ("stale", "disliked")


@dataclass(frozen=True, slots=True)
class Aged:
    """An entry in force, which of the four it is, and why."""

    entry: Entry
    state: str
    why: str = ""

    @property
    def job(self) -> Job:
        """Cooking it again."""
        return Job(self.entry.query, self.entry.variant, f"{self.state}: {self.why}", again=True)


class Ageing:
    """Judges the entries of a deck against what is there today."""

    def __init__(self, settings: Settings, deck: Deck) -> None:
        self._settings = settings
        self._deck = deck
        self._gate = Gate.of(deck)
        self._fingerprints = fingerprints(deck)
        self._models = {
            name: choose(settings, name).model for name in settings.sources if name in _NAMES
        }

    def judge(self, entry: Entry) -> Aged:
        """Which of the four an entry is."""
        try:
            refusal = self._gate.examine(entry.query, entry.response)
        except KeyError:
            return Aged(entry, GONE, "the deck no longer has one of its phrases")
        if refusal:
            return Aged(entry, REFUSED, str(refusal))
        why = self._change(entry)
        return Aged(entry, SERVABLE if why else VALID, why)

    def _change(self, entry: Entry) -> str:
        made, _, cards = entry.fingerprint.partition("+")
        today = self._fingerprints.get(made.partition(":")[0])
        if today is None:
            return ""
        if cards != entry_fingerprint("", self._deck, entry.query)[1:]:
            return "a card has changed"
        if made != today:
            return "the prompt has changed" if entry.source != "composer" else "a piece has changed"
        model = self._models.get(entry.source, "")
        if model and not entry.model.startswith(model):
            return f"the model was {entry.model}, it is {model}"
        return ""


_NAMES = frozenset({"composer", "gemini", "gemini-legacy", "ollama", "openai"})


def in_force(settings: Settings, deck: Deck) -> Iterator[Entry]:
    """The entries that are served, in the order of the log. Raises IndexUnusableError."""
    index = Index(settings.store, deck.id)
    try:
        start = 0
        for item in read_log(log_path(settings.store, deck.id)):
            if isinstance(item, Record):
                if index.offset(item.entry.key, item.entry.variant) == start:
                    yield item.entry
                start = item.end
            else:
                start = -1
    finally:
        index.close()


def ages(settings: Settings, deck: Deck) -> Iterator[Aged]:
    """Every entry in force, judged. Raises IndexUnusableError."""
    ageing = Ageing(settings, deck)
    return map(ageing.judge, in_force(settings, deck))


@dataclass(frozen=True, slots=True)
class Survey:
    """How many entries are of each kind, why the stale ones are, and what cooking those would cost."""

    states: Counter[str]
    reasons: Counter[str]
    choice: Choice
    estimate: Estimate
    price: Price | None
    dated: str

    @property
    def to_cook(self) -> int:
        """How many would be cooked again."""
        return self.states[SERVABLE] + self.states[REFUSED]

    def __str__(self) -> str:
        told = (
            f"{self.states[VALID]:,} entries still valid, {self.states[SERVABLE]:,} stale but "
            f"servable, {self.states[REFUSED]:,} to be cooked again, {self.states[GONE]:,} gone"
        )
        if not self.to_cook:
            return told
        return f"{told}; build --refresh stale --provider {self.choice.name} costs {self.bill}"

    @property
    def bill(self) -> str:
        """The price of cooking the stale ones again, in words."""
        if self.price is None:
            return f"what nobody knows: no price for {self.choice.model!r} in the table"
        cost = self.estimate.cost(self.price)
        return f"about {cost:.4f} USD by the prices of {self.dated}"


def survey(settings: Settings, deck: Deck, today: str) -> Survey:
    """Judge all entries, and price the stale ones with the provider that a build would take.

    Raises IndexUnusableError.
    """
    choice = choose(settings, None)
    states: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    tasks: list[Task] = []
    for aged in ages(settings, deck):
        states[aged.state] += 1
        if aged.why:
            reasons[aged.why] += 1
        if aged.state in (SERVABLE, REFUSED) and may_replace(settings, choice, aged.entry.source):
            tasks.append(Task(aged.entry.query, aged.entry.variant))
    prices = load_prices(settings.prices)
    price = prices.price(choice.name, choice.model, today)
    return Survey(
        states, reasons, choice, estimate_all(settings, deck, choice, tasks), price, prices.dated
    )


def told_ages(settings: Settings, deck: Deck, today: str) -> str:
    """The survey as a sentence for `check`; empty where there is no store."""
    try:
        return f"deck {deck.id}: {survey(settings, deck, today)}"
    except IndexUnusableError:
        return ""


def estimate_all(
    settings: Settings,
    deck: Deck,
    choice: Choice,
    tasks: Sequence[Task],
    per_request: int | None = None,
) -> Estimate:
    """What so many tasks would take, request by request."""
    if choice.local:
        return NOTHING
    cook = make_cook(choice, deck, Planned(choice))
    assert cook.estimate is not None
    pace = pace_of(choice, settings, per_request, None)
    return sum(map(cook.estimate, group(tasks, pace.per_request)), start=NOTHING)


def may_replace(settings: Settings, choice: Choice, source: str) -> bool:
    """Whether what this provider writes would be served in place of a source's."""
    return _rank(settings, choice.name) <= _rank(settings, source)


def _rank(settings: Settings, source: str) -> int:
    known = settings.sources
    return known.index(source) if source in known else len(known)


def plan_stale(settings: Settings, deck: Deck, choice: Choice, err: Console) -> Iterator[Job]:
    """What the gate refuses today first, then what is only older than prompt, cards or model."""
    aged = [a for a in ages(settings, deck) if a.state in (SERVABLE, REFUSED)]
    better = [a for a in aged if not may_replace(settings, choice, a.entry.source)]
    if better:
        err.print(
            f"{len(better):,} stale entries are left: {choice.name} would not be served in their place",
            highlight=False,
        )
    kept = [a for a in aged if may_replace(settings, choice, a.entry.source)]
    for a in sorted(kept, key=lambda a: a.state != REFUSED):
        yield a.job


def plan_disliked(settings: Settings, deck: Deck, choice: Choice, err: Console) -> Iterator[Job]:
    """What players rated down. Nothing is rated yet."""
    raise PlanError("--refresh disliked: there are no ratings of this deck's answers")


PLANS: dict[str, Callable[[Settings, Deck, Choice, Console], Iterable[Job]]] = {
    "stale": plan_stale,
    "disliked": plan_disliked,
}


def plan_refresh(
    name: str, settings: Settings, deck: Deck, choice: Choice, err: Console
) -> Iterator[Job]:
    """The jobs of a refresh. Raises PlanError."""
    try:
        yield from PLANS[name](settings, deck, choice, err)
    except IndexUnusableError as error:
        raise PlanError(f"--refresh {name}: {error}") from None
