"""Figures and checks of decks of characters."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from app.kinds.chat import figures as chat_figures
from app.kinds.chat.by_example import INTENTS_FOLDER, load_by_example
from app.kinds.chat.care import CARE_FILE, STALE_DAYS, Step
from app.kinds.chat.care import POOLS as CARE_POOLS
from app.kinds.chat.characters import Character
from app.kinds.chat.classifier import BY_EXAMPLE_FILE
from app.kinds.chat.deck import SAID_FILE, CharacterDeck
from app.kinds.chat.gate import TEXT, ChatGate
from app.kinds.chat.heard import IT
from app.kinds.chat.lines import ASIDES, FALLBACK, Lines
from app.kinds.chat.retelling import REPEATING, RETOLD
from app.kinds.chat.things import THING
from app.kinds.chat.topics import Topic
from app.kinds.figures import store
from app.kinds.reading import Reader, nearest
from app.ledger.misses import read_ledger
from app.ledger.state import State
from app.ledger.tally import Tally
from app.settings import Settings
from app.store.entry import Entry
from precompute.learn.classifier import checksum
from precompute.learn.lines import learned_entries
from precompute.learn.waiting import ASKED
from precompute.review.check import Finding, stored
from precompute.review.kinds import Shown, entry_rows, with_texts

FEWEST_LINES = 8
# For an answer to a question that is asked once in a conversation.
FEWEST_ANSWERS = 3
# Messages of an intent by example that are tried.
_TRIED = 3
# The pools that answer somebody in danger, and the check that they need not pass.
CAREFUL = frozenset({Step.CRISIS, Step.DOUBT, Step.UNEASY, *CARE_POOLS})
VOICE = "voice"


def stats(
    settings: Settings, deck: CharacterDeck, today: str, most: int, note: Callable[[str], None]
) -> dict[str, Any]:
    """The figures of a deck, over all runs of the server, without misses."""
    rows = list(Tally(State(settings.ledger, time.time), deck.id).rows())
    prices = chat_figures.price_table(settings)
    learned = learned_entries(deck, read_ledger(settings.ledger, deck.id))
    return {
        "deck": deck.id,
        "space": chat_figures.space(deck),
        # A chat needs no store: it has its vetted lines.
        "store": store(stored(settings, deck, note, needed=False)),
        "layers": chat_figures.layers(deck, rows),
        "cost": chat_figures.cost(deck, rows, prices, settings.cloud, today),
        "candidates": len(learned),
    }


def stats_rows(figures: dict[str, Any]) -> Iterator[tuple[str, object]]:
    space, layers, cost = figures["space"], figures["layers"], figures["cost"]
    yield "characters, intents", f"{space['characters']}, {space['intents']}"
    yield "vetted lines", f"{space['lines']:,}, for {space['patterns']:,} patterns"
    yield from entry_rows(figures["store"])
    yield "candidates to learn", f"{figures['candidates']:,}"
    yield "answers", f"{layers['answers']:,} since {layers['since'] or 'never'}"
    for tier, seen in layers["seen"].items():
        yield f"  {tier}", f"{seen['answers']:,} ({seen['share']:.1%})"
    for plan in layers["foreseen"]:
        parts = [_compared(layer) for layer in plan["layers"]]
        yield f"  {plan['plan']}", "; ".join(parts)
    yield "spent at events", f"{cost['spent_usd']:.4f} USD in {cost['days']} days"
    if cost["baseline_usd"] is not None:
        yield "all on the strong model", f"{cost['baseline_usd']:.4f} USD ({cost['baseline']})"
    if cost["month_usd"] is not None:
        yield "a month like this", f"{cost['month_usd']:.4f} USD"
    yield "prices of", cost["prices_of"] or "no table"


def _compared(layer: dict[str, Any]) -> str:
    seen = "–" if layer["seen"] is None else f"{layer['seen']:.0%}"
    return f"{'+'.join(layer['tiers'])} {seen} (foreseen {layer['foreseen']:.0%})"


def check_care(deck: CharacterDeck, today: datetime.date) -> Iterator[Finding]:
    """Missing numbers to call in danger, or numbers that were checked more than a year ago."""
    where = f"{deck.id}: {CARE_FILE}"
    if deck.care is None:
        fault = "is missing: somebody in danger is told of nobody to call, and held for one message"
        yield Finding(where, fault, error=False)
        return
    if not any(country.contacts for country in deck.care.shown):
        yield Finding(where, "names nobody to call for somebody in danger", error=False)
    for country in deck.care.shown:
        days = (today - country.checked).days
        if days > STALE_DAYS:
            fault = (
                f"its numbers were checked on {country.checked}; call them, and write the new day"
            )
            yield Finding(f"{where}: {country.id}", fault, error=False)


def check_pools(deck: CharacterDeck, character: Character) -> Iterator[Finding]:
    """Pools with too few lines, or without one that fits always."""
    for pool, lines in deck.lines[character.id].items():
        where = f"{deck.id}: {character.id} {pool}"
        intent = deck.intent_by_id.get(pool)
        # What is narrow is seldom said twice in a conversation.
        fewest = FEWEST_LINES if intent and not intent.narrow else FEWEST_ANSWERS
        # A thing is seldom asked about twice in the same way.
        fewest = 1 if pool.startswith(THING) else fewest
        if not lines:
            if pool not in ASIDES:
                yield Finding(where, "has no lines")
        elif pool.startswith(REPEATING) and not all(line.slots == [IT] for line in lines):
            yield Finding(where, f"needs the slot {{{IT}}} in each line, and no other")
        elif not pool.startswith(REPEATING) and not any(line.always for line in lines):
            yield Finding(where, "needs a line that fits always, without the user's words")
        elif not pool.startswith(REPEATING) and len(lines) < fewest:
            fault = f"has {len(lines)} lines, {fewest} keep it from repeating itself"
            yield Finding(where, fault, error=False)


def check_talk(deck: CharacterDeck, character: Character) -> Iterator[Finding]:
    """What is missing of a character's conversations, and topics that lead back and forth."""
    talk, pools = deck.talks.get(character.id), deck.lines[character.id]
    if talk is None:
        return
    for pool in talk.hearing.pools:
        if not pools.get(pool):
            yield Finding(f"{deck.id}: {character.id} {pool}", "has no lines")
    yield from _never_said(deck, character, talk.hearing.retelling.pools)
    for topic in talk.topics.values():
        where = f"{deck.id}: {character.id} topic {topic.id}"
        for answer in topic.needed:
            if answer not in topic.answers:
                yield Finding(where, f"has no lines for the answer {answer!r}")
        if topic.opens and not topic.offer:
            yield Finding(where, "has no 'offer', so that she cannot offer it", error=False)
        for other in sorted(_leads_to(pools, topic)):
            if topic.id in _leads_to(pools, talk.topics[other]):
                yield Finding(where, f"and {other!r} lead to each other, and could go on for ever")


def _never_said(
    deck: CharacterDeck, character: Character, known: frozenset[str]
) -> Iterator[Finding]:
    """Pools of words around what is said again of which no end of it has the name."""
    for pool in deck.lines[character.id]:
        if pool.startswith(RETOLD) and pool not in known:
            where = f"{deck.id}: {character.id} {pool}"
            yield Finding(where, "is never said: no such name in 'ends' of 'retell'")


def _leads_to(pools: Mapping[str, Lines], topic: Topic) -> set[str]:
    """The topics to which answers lead; after a bare yes a topic may ask once more."""
    answers = topic.answers - set(topic.further)
    return {line.asks for answer in answers for line in pools[topic.pool(answer)]} - {""}


def check(deck: CharacterDeck) -> Iterator[Finding]:
    """Lines that break the rules, messages that are not recognised, old telephone numbers."""
    yield from check_care(deck, datetime.datetime.now().astimezone().date())
    gate = ChatGate(deck)
    seen: dict[str, str] = {}
    for character, intent, line in deck.all_lines():
        where = f"{deck.id}: {character.id} {intent}"
        if line.text in seen:
            yield Finding(where, f"the same line as {seen[line.text]}: {line.text}")
        seen[line.text] = where
        for refusal in gate.vetted(character, line.text):
            # To somebody in danger she may speak as she never does.
            if refusal.check != VOICE or intent not in CAREFUL:
                yield Finding(where, f"{refusal}: {line.text}")
    for character in deck.characters:
        yield from check_pools(deck, character)
        yield from check_talk(deck, character)
    yield from check_examples(deck)
    yield from _check_said(deck)
    for name, (precision, recall, wrong) in measure(deck).items():
        for text in wrong:
            fault = f"is read wrongly (precision {precision:.2f}, recall {recall:.2f}): {text}"
            yield Finding(f"{deck.id}: intent {name}", fault, error=False)


def check_examples(deck: CharacterDeck) -> Iterator[Finding]:
    """Intents by example that nothing reads as they are, and those that are taken for danger."""
    where = f"{deck.id}: {INTENTS_FOLDER}"
    intents = load_by_example(deck.folder, [time.id for time in deck.times]).values()
    if not intents:
        return
    learned = deck.folder / BY_EXAMPLE_FILE
    if not learned.exists() or Reader(deck.folder, BY_EXAMPLE_FILE).value["examples"] != checksum(
        deck.folder
    ):
        fault = (
            f"its {len(intents)} intents by example are not read as they stand, until you run: "
            f"python -m precompute.learn.classifier {deck.folder}"
        )
        yield Finding(where, fault, error=False)
    for intent in intents:
        for text in intent.said[:_TRIED]:
            if any(hit.intent.careful for hit in deck.recognise(text)):
                yield Finding(f"{where} {intent.id}", f"is taken for danger: {text}", error=False)


def _check_said(deck: CharacterDeck) -> Iterator[Finding]:
    """Messages for an intent that the deck does not have."""
    known = [intent.id for intent in deck.intents]
    for name in _said(deck):
        if name not in known:
            where = f"{deck.id}: {SAID_FILE}"
            yield Finding(where, f"there is no intent {name!r}{nearest(name, known)}", error=False)


def _said(deck: CharacterDeck) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The messages of `said.json` for and against each intent; none without the file. Raises DeckError."""
    if not (deck.folder / SAID_FILE).exists():
        return {}
    reader = Reader(deck.folder, SAID_FILE)
    return {
        name: (
            reader.strings(reader.member(of, "said", list, name), name),
            reader.strings(reader.member(of, "not_said", list, name), name),
        )
        for name, of in reader.member({"": reader.value}, "", dict, "").items()
    }


# The findings and the summary of one `precompute check` tell it.
@lru_cache(maxsize=1)
def measure(deck: CharacterDeck) -> dict[str, tuple[float, float, list[str]]]:
    """Precision, recall and the wrongly recognised messages of `said.json`, by intent.

    An intent by example in its place is narrower, not wrong.
    """
    said = _said(deck)
    narrow = {intent.id for intent in deck.intents if intent.narrow}
    found = {}
    for intent in deck.intents:
        if intent.id not in said:
            continue
        yes, no = said[intent.id]

        def has(text: str, *names: str) -> bool:
            return any(hit.intent.id in names for hit in deck.recognise(text))

        missed = [t for t in yes if not has(t, intent.id, *narrow)]
        taken = [t for t in no if has(t, intent.id)]
        right = len(yes) - len(missed)
        precision = right / (right + len(taken)) if right + len(taken) else 1.0
        recall = right / len(yes) if yes else 1.0
        found[intent.id] = (precision, recall, missed + taken)
    return found


def summary(settings: Settings, deck: CharacterDeck, today: str) -> Iterator[str]:
    """One line with the sizes of a deck."""
    space = chat_figures.space(deck)
    text = (
        f"deck {deck.id}: {space['characters']} characters, {space['intents']} intents, "
        f"{space['lines']} lines ({space['fallback_lines']} of them for {FALLBACK})"
    )
    figures = measure(deck).values()
    if figures:
        least = [min(f[i] for f in figures) for i in (0, 1)]
        text += f"; precision at least {least[0]:.2f}, recall at least {least[1]:.2f}"
    yield text


def shown(deck: CharacterDeck, entry: Entry) -> Shown:
    """The character, and the message or the pattern (intent, mood, time of day); the line."""
    picks = dict(entry.query.picks)
    character = deck.character_by_id[picks.pop("character")].name
    if "intent" in picks:
        picks["intent"] = deck.intent_by_id[picks["intent"]].name
    if ASKED in entry.response:
        picks["message"] = entry.response[ASKED]
    texts = {TEXT: entry.response[TEXT]} if TEXT in entry.response else {}
    asked = (("character", character), *picks.items())
    return Shown(asked, texts, len(texts.get(TEXT, "")))


def choices(deck: CharacterDeck) -> Mapping[str, Sequence[str]]:
    """None: a line may be anything."""
    return {}


edited = with_texts
