"""Finding stale and disliked entries, and plans to cook them again.

An entry is

- valid: made from the present cards, prompt (or pieces) and model;
- servable: one of these has changed, but the gate still passes it;
- refused: the gate no longer passes it, and it must be cooked again;
- gone: the deck no longer has its cards or characters, so that nobody can ask for it;
- disliked: players voted against it;
- rejected: a reviewer rejected it, and no other has come in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from app.errors import IndexUnusableError, PlanError
from app.kinds.decks import kind_of
from app.kinds.kind import AnyDeck
from app.kinds.refusal import REVIEWER, Refusal
from app.kinds.tasks import Task
from app.ledger.votes import disliked
from app.providers import NamedModel
from app.providers.prices import Price, load_prices
from app.settings import Settings
from app.store.entry import Entry
from app.store.in_force import rejected_texts
from app.store.index import Index
from app.store.log import log_path, read_records
from app.store.sources import EDITED, is_as_good
from precompute.cook.choose import ProviderChoice, choose, group, pace_of
from precompute.cook.cost import NOTHING, Estimate
from precompute.cook.kinds import GONE, cooking_of, refusal_of
from precompute.cook.options import BuildContext
from precompute.plan.strategies import Job

# The states of an entry, by which `--refresh` chooses what to cook again.
VALID, SERVABLE, REFUSED = "valid", "servable", "refused"
STALE, DISLIKED, REJECTED = "stale", "disliked", "rejected"
REFRESH = (STALE, DISLIKED, REJECTED)


@dataclass(frozen=True, slots=True)
class Aged:
    """An entry that is served, which of these it is, and why."""

    entry: Entry
    state: str
    why: str = ""

    @property
    def job(self) -> Job:
        return Job(self.entry.query, self.entry.variant, f"{self.state}: {self.why}", again=True)


class Ageing:
    """Judges entries by the present deck, prompts and models."""

    def __init__(self, settings: Settings, deck: AnyDeck) -> None:
        self._cooking = cooking_of(deck)
        self._gate = kind_of(deck).gate(deck)
        self._fingerprints = self._cooking.fingerprints()
        self._models = {
            name: choose(settings, name).model for name in settings.sources if name in _NAMES
        }

    def judge(self, entry: Entry) -> Aged:
        """Whether an entry is valid, servable, refused or gone, and why."""
        if entry.decision and entry.decision.forced:
            return Aged(entry, VALID, "a reviewer set the gate aside")
        refusal = refusal_of(self._gate, entry.query, entry.response)
        if refusal and refusal.check == GONE:
            return Aged(entry, GONE, "the deck no longer has what it was asked for")
        if refusal and not self._cooking.can_ask_for(entry.query):
            return Aged(entry, GONE, "the gate refuses what was learned at an event")
        if refusal:
            return Aged(entry, REFUSED, str(refusal))
        why = self._change(entry)
        return Aged(entry, SERVABLE if why else VALID, why)

    def _change(self, entry: Entry) -> str:
        made, _, subject = entry.fingerprint.partition("+")
        today = self._fingerprints.get(made.partition(":")[0])
        if today is None:
            return ""
        if subject != self._cooking.subject_fingerprint(entry.query):
            return f"{self._cooking.subject} has changed"
        if made != today:
            return _CHANGED.get(entry.source, "the prompt has changed")
        model = self._models.get(entry.source, "")
        if model and not entry.model.startswith(model):
            return f"the model was {entry.model}, it is {model}"
        return ""


# The reason for entries that were not made from a prompt.
_CHANGED = {"composer": "a piece has changed", "written": "the written answers have changed"}
_NAMES = frozenset({"composer", "written", "gemini", "gemini-legacy", "ollama", "openai"})


def served_entries(settings: Settings, deck: AnyDeck) -> Iterator[Entry]:
    """The entries that are served, in the order of the log. Raises IndexUnusableError."""
    index = Index(settings.store, deck.id)
    try:
        for item in read_records(log_path(settings.store, deck.id)):
            if index.offset(*item.entry.name) == item.start:
                yield item.entry
    finally:
        index.close()


def ages(settings: Settings, deck: AnyDeck) -> Iterator[Aged]:
    """All served entries, judged. Raises IndexUnusableError."""
    ageing = Ageing(settings, deck)
    return map(ageing.judge, served_entries(settings, deck))


@dataclass(frozen=True, slots=True)
class Survey:
    """The number of entries by state, and the cost of cooking stale ones again."""

    states: Counter[str]
    choice: ProviderChoice
    estimate: Estimate
    price: Price | None
    dated: str

    def __str__(self) -> str:
        states = (
            f"{self.states[VALID]:,} entries still valid, {self.states[SERVABLE]:,} stale but "
            f"servable, {self.states[REFUSED]:,} to be cooked again, {self.states[GONE]:,} gone"
        )
        if not self.states[SERVABLE] + self.states[REFUSED]:
            return states
        named = repr(self.choice.model) if self.choice.model else "the model of your server"
        bill = f"what nobody knows: no price for {named} in the table"
        if self.price:
            bill = f"about {self.estimate.cost(self.price):.4f} USD by the prices of {self.dated}"
        return f"{states}; build --refresh stale --provider {self.choice.name} costs {bill}"


def survey(settings: Settings, deck: AnyDeck, today: str) -> Survey:
    """Judge all entries, and estimate stale ones with the provider that a build would choose.

    Raises IndexUnusableError.
    """
    states: Counter[str] = Counter()
    stale: list[Entry] = []
    for aged in ages(settings, deck):
        states[aged.state] += 1
        if aged.state in (SERVABLE, REFUSED):
            stale.append(aged.entry)
    choice = _usual(settings, deck, stale)
    tasks = [
        Task(entry.query, entry.variant)
        for entry in stale
        if is_as_good(settings.sources, choice.name, entry.standing)
    ]
    prices = load_prices(settings.prices)
    price = prices.price(choice.name, choice.model, today)
    return Survey(states, choice, estimate_all(settings, deck, choice, tasks), price, prices.dated)


def _usual(settings: Settings, deck: AnyDeck, stale: Sequence[Entry]) -> ProviderChoice:
    """What a build would choose; of a deck for which nothing is in the box, what wrote most of it."""
    choice = choose(settings, None)
    if not choice.local or cooking_of(deck).in_the_box:
        return choice
    wrote = Counter(e.writer for e in stale if e.writer in _NAMES - {"composer", "written"})
    return choose(settings, wrote.most_common(1)[0][0] if wrote else "gemini")


def age_summary(settings: Settings, deck: AnyDeck, today: str) -> str:
    """The survey as a sentence for `check`; empty if there is no index."""
    try:
        return f"deck {deck.id}: {survey(settings, deck, today)}"
    except IndexUnusableError:
        return ""


def estimate_all(
    settings: Settings,
    deck: AnyDeck,
    choice: ProviderChoice,
    tasks: Sequence[Task],
    per_request: int | None = None,
) -> Estimate:
    if choice.local:
        return NOTHING
    cook = cooking_of(deck).cook(choice, NamedModel(choice.name, choice.model))
    assert cook.estimate is not None
    pace = pace_of(choice, settings, per_request, None)
    return sum(map(cook.estimate, group(tasks, pace.per_request)), start=NOTHING)


def plan_stale(context: BuildContext, choice: ProviderChoice) -> Iterator[Job]:
    """Jobs for refused entries, then for servable ones."""
    found = ages(context.settings, context.deck)
    aged = [a for a in found if a.state in (SERVABLE, REFUSED)]
    kept = _replaceable(aged, STALE, context, choice)
    for a in sorted(kept, key=lambda a: a.state != REFUSED):
        yield a.job


def plan_disliked(context: BuildContext, choice: ProviderChoice) -> Iterator[Job]:
    """Jobs for disliked answers, those with most down votes first. Old texts stay in the log."""
    settings, deck = context.settings, context.deck
    downs = disliked(settings.ledger, deck.id)
    found = [
        Aged(entry, DISLIKED, f"{down} down")
        for entry in served_entries(settings, deck)
        if (down := downs.get((entry.key, entry.variant, entry.created)))
    ]
    kept = _replaceable(found, DISLIKED, context, choice)
    kept.sort(key=lambda a: -downs[a.entry.key, a.entry.variant, a.entry.created])
    tried = _texts_tried(settings, deck, {(a.entry.key, a.entry.variant) for a in kept})
    for a in kept:
        # The composer makes another text for each number of refusals.
        times = tried[a.entry.key, a.entry.variant] if choice.local else 1
        yield replace(a.job, refusals=((Refusal(DISLIKED),),) * times)


def _texts_tried(
    settings: Settings, deck: AnyDeck, names: Collection[tuple[str, int]]
) -> Counter[tuple[str, int]]:
    """The number of texts in the log for each of some answers."""
    records = read_records(log_path(settings.store, deck.id)) if names else ()
    entries = (item.entry for item in records)
    # A line that decides about a text is not another text.
    return Counter(e.name for e in entries if e.name in names and e.verdict in ("", EDITED))


def plan_rejected(context: BuildContext, choice: ProviderChoice) -> Iterator[Job]:
    """Jobs for the answers that a reviewer rejected and that have no other text yet."""
    settings, deck = context.settings, context.deck
    cooking = cooking_of(deck)
    index = Index(settings.store, deck.id)
    try:
        for name, texts in rejected_texts(log_path(settings.store, deck.id)).items():
            if texts and index.source_of(*name) is None and cooking.can_ask_for(texts[-1].query):
                yield Job(texts[-1].query, name[1], REJECTED)
    finally:
        index.close()


def with_rejections(settings: Settings, deck: AnyDeck, jobs: Iterable[Job]) -> Iterator[Job]:
    """Jobs that know which texts a reviewer rejected, and the reviewer's notes."""
    rejected = rejected_texts(log_path(settings.store, deck.id))
    for job in jobs:
        texts = rejected.get((job.query.key, job.variant)) if rejected else None
        notes = [text.decision.note for text in texts or () if text.decision]
        refusals = tuple((Refusal(REVIEWER, note),) for note in notes)
        yield replace(job, refusals=(*job.refusals, *refusals)) if refusals else job


def _replaceable(
    aged: Sequence[Aged], kind: str, context: BuildContext, choice: ProviderChoice
) -> list[Aged]:
    """Entries that an answer of this provider would replace; the number of others is printed."""
    order = context.settings.sources
    kept = [a for a in aged if is_as_good(order, choice.name, a.entry.standing)]
    approved = sum(a.entry.approved for a in aged)
    if approved:
        context.note(
            f"{approved:,} {kind} entries are left: a reviewer approved or edited them (precompute "
            "review takes that back)"
        )
    if left := len(aged) - len(kept) - approved:
        context.note(
            f"{left:,} {kind} entries are left: {choice.name} would not be served in their place, by "
            "TSUKURIOKI_SOURCES; choose a --provider that is as good"
        )
    return kept


def plan_refresh(name: str, context: BuildContext, choice: ProviderChoice) -> Iterator[Job]:
    """The jobs of a refresh. Raises PlanError."""
    if name == DISLIKED and not cooking_of(context.deck).voted_on:
        raise PlanError("--refresh disliked: nobody votes on the answers of this kind of deck")
    plans = {STALE: plan_stale, DISLIKED: plan_disliked, REJECTED: plan_rejected}
    try:
        yield from plans[name](context, choice)
    except IndexUnusableError as error:
        raise PlanError(f"--refresh {name}: {error}") from None
