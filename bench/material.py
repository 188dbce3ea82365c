"""What the bench asks for and of: stores of any size, and plays that hit each tier."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import orjson

from app.kinds.cards.composer import ComposerProvider
from app.kinds.cards.composing import Composer
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.loading import load_deck
from app.kinds.cards.plays import GAME
from app.kinds.prompts.deck import RECORDED, PromptDeck
from app.kinds.prompts.dialects.openai.chat import read as read_chat
from app.kinds.prompts.gate import REPLY
from app.kinds.prompts.key import query_of
from app.kinds.prompts.reply import Choice, Reply, Tokens
from app.kinds.tasks import Task
from app.settings import Settings
from app.store.entry import Entry
from app.store.index import Index
from app.store.index_writer import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter, log_path
from bench.load import Request
from precompute.plan.strategies import plan_stock
from precompute.publish.edition import publish
from precompute.publish.folder import EDITION, FILES

DECKS = Path(__file__).parents[1] / "data" / "decks"
NOW = "2026-01-01T00:00:00Z"
_CHUNK = 20_000


def poem_deck() -> Deck:
    """The deck in the box."""
    return load_deck(DECKS / "poem")


@dataclass(frozen=True)
class Menu:
    """Requests that hit each tier, and what stands behind the stored ones."""

    by_key: list[Request]
    exact: list[Request]
    same_hand: list[Request]
    other: list[Request]
    answers: dict[str, object]


def stock(store: Path, deck: Deck, count: int) -> None:
    """A store as `precompute build --n` makes it."""
    with LogWriter(store, deck.id) as log, IndexWriter(store, deck) as index:
        jobs = itertools.islice(plan_stock(deck, 0, 1), count)
        log.append(cooked(deck, [job.query for job in jobs]))
        index.catch_up()


def replies(store: Path, count: int) -> list[Request]:
    """Chat completions whose replies are recorded in a store, as a client sends them."""
    deck = PromptDeck(RECORDED)
    bodies = [orjson.dumps({"model": "m", "messages": _messages(n)}) for n in range(count)]
    with LogWriter(store, deck.id) as log, IndexWriter(store, deck) as index:
        log.append([_recorded(deck, body, n) for n, body in enumerate(bodies)])
        index.catch_up()
    return [Request("POST", "/v1/chat/completions", body, "application/json") for body in bodies]


def question(number: int) -> str:
    """What the user of a recorded chat says."""
    return f"Describe dish number {number} for a guest who likes fish."


def reply_text(number: int) -> str:
    """The text of its recorded reply."""
    return f"Dish {number} is grilled over charcoal and served with lemon. " * 8


def _messages(number: int) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "You are the waiter of a small restaurant. Be brief."},
        {"role": "user", "content": question(number)},
    ]


def _recorded(deck: PromptDeck, body: bytes, number: int) -> Entry:
    query = query_of(deck.id, read_chat(orjson.loads(body))[0], deck.rules)
    reply = Reply((Choice(reply_text(number)),), "m", Tokens(40, 120)).to_text()
    return Entry(query.key, 0, query, {REPLY: reply}, "openai", "m", "bench", NOW)


def cooked(deck: Deck, queries: Iterable[Query]) -> list[Entry]:
    """Entries as the composer cooks them."""
    batch = ComposerProvider(deck).write([Task(query) for query in queries])
    return [
        Entry(
            key=draft.task.query.key,
            variant=0,
            query=draft.task.query,
            response={name: str(text) for name, text in draft.response.items()},
            source=ComposerProvider.name,
            model=batch.model,
            fingerprint="bench",
            created=NOW,
        )
        for draft in batch.drafts
    ]


def menu(store: Path, deck: Deck, count: int, others: int) -> Menu:
    """Requests for a store that `stock` made. Plays of no stored hand for the tiers that compose."""
    queries = [job.query for job in itertools.islice(plan_stock(deck, 0, 1), count)]
    index = Index(store, deck.id)
    near = [other for query in queries for other in _neighbours(deck, query)]
    answers: dict[str, object] = {}
    for query in queries:
        answers[query.key] = answers[_dict_key(query)] = orjson.loads(
            index.get(query.raw_key) or b"{}"
        )
    rng = Random(1)
    made = Menu(
        [Request("GET", f"/api/answers/{query.key}") for query in queries],
        [_game(deck, query) for query in queries],
        [_game(deck, query) for query in near if index.get(query.raw_key) is None],
        [_game(deck, random_play(deck, rng)) for _ in range(others)],
        answers,
    )
    index.close()
    return made


def edition(store: Path, deck: Deck, root: Path) -> None:
    """A static edition of a store."""
    publish(
        Settings.read({"TSUKURIOKI_STORE": str(store), "TSUKURIOKI_DECKS": str(DECKS)}), deck, root
    )


def of_edition(root: Path, deck: Deck, plays: Iterable[Request]) -> list[Request]:
    """What a browser fetches for these plays: the bundle of each hand, whose list it has already."""
    stored = orjson.loads((root / EDITION).read_bytes())["stored"]
    names = [
        name
        for one in stored["lists"]
        for name in orjson.loads((root / FILES / f"{one}.json").read_bytes())
    ]
    queries = (GAME.read(deck, orjson.loads(play.body)).query for play in plays)
    places = (int(query.hand_key[:8], 16) >> (32 - stored["bits"]) for query in queries)
    return [Request("GET", f"/{FILES}/{names[place]}.json") for place in places]


def _neighbours(deck: Deck, query: Query) -> Iterator[Query]:
    card = deck.card_by_id[query.picks[0][0]]
    for phrase in card.phrases:
        yield Query.play(deck.id, [(card.id, phrase.id), *query.picks[1:]])


def _dict_key(query: Query) -> str:
    """The key that the rival with a dict makes."""
    picks = orjson.dumps(query.picks).replace(b",", b", ")
    return hashlib.sha256(picks).hexdigest()


def _game(deck: Deck, query: Query) -> Request:
    """A play as the game posts it: whole card objects."""
    pairs = []
    for card_id, phrase_id in query.picks:
        raw = deck.card_by_id[card_id].raw
        chosen = next(p for p in raw["poems"] if p["id"] == phrase_id)
        pairs.append({"conditionCard": raw, "selectedPoem": chosen})
    return Request("POST", "/api/generate-poem", orjson.dumps({"selectedPairs": pairs}))


def many(deck: Deck, count: int, seed: int = 0) -> Iterator[Entry]:
    """Entries of random plays, whose poems come from a small pool: composing is not what is timed."""
    rng = Random(seed)
    composer = Composer(deck)
    pool: list[dict[str, str]] = []
    while len(pool) < 500:
        made = composer.compose(random_play(deck, rng))
        if made:
            pool.append(made.response)
    for number in range(count):
        query = random_play(deck, rng)
        response = pool[number % len(pool)]
        yield Entry(query.key, 0, query, response, "composer", "composer-1", "bench", NOW)


def write_log(store: Path, deck: Deck, count: int, seed: int = 0) -> Path:
    """Append so many entries to the log; the index is left behind."""
    entries = many(deck, count, seed)
    with LogWriter(store, deck.id) as log:
        while batch := list(itertools.islice(entries, _CHUNK)):
            log.append(batch)
    return log_path(store, deck.id)
