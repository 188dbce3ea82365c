"""Decks of cards as conversations: a play with title candidates, answered by JSON.

The user's message is that of the game: each card's condition with its rephrasing, and 20 titles of
which the answer has one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from random import Random

import orjson

from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import FIELDS
from app.kinds.cards.prompts import rule_values
from app.kinds.cards.writer import TITLE_CANDIDATES
from app.kinds.cards.written import SOURCE, written_answers
from app.providers.model_json import UnreadableError, read_object
from app.store.key import Query
from precompute.export.material import (
    Material,
    RowOptions,
    StoredAnswers,
    fill,
    licence_of,
    system_text,
    training_texts,
)
from precompute.export.rows import ASSISTANT, SYSTEM, USER, Message, Origin, Row


class CardsMaterial(Material):
    """The plays of a deck and their answers as conversations."""

    _deck: Deck

    def __init__(self, deck: Deck, options: RowOptions) -> None:
        texts = training_texts(deck.folder, {"system": dict[str, str], "user": str, "pair": str})
        super().__init__(deck, options)
        self._system = fill(system_text(deck.folder, texts, options), rule_values(deck))
        self._user: str = texts["user"]
        self._pair: str = texts["pair"]

    def rows(self, stored: StoredAnswers, left_out: Counter[str]) -> Iterator[Row]:
        """Answers in the store, and the deck's written ones that are not in it."""
        known = set()
        for entry in stored.current():
            known.add((entry.query, entry.source))
            if self._deck.has_play(entry.query):
                yield self._row(entry.query, entry.response, stored.origin(entry), entry.variant)
            else:
                left_out["no play of this deck"] += 1
        origin = Origin(SOURCE, self._deck.written_by, licence_of(SOURCE))
        for query, response in written_answers(self._deck).items():
            if (query, SOURCE) not in known:
                yield self._row(query, response, origin, 0)

    def prompt(self, query: Query) -> tuple[Message, ...]:
        """System text, and the play with title candidates."""
        return self._prompt(query, "")

    def group(self, query: Query) -> str:
        """All plays of a hand have the same cards."""
        return "+".join(sorted(card for card, _ in query.picks))

    def text(self, response: Mapping[str, str]) -> str:
        """The JSON object that the game expects."""
        return orjson.dumps({"title": response["title"], "poem": response["poem"]}).decode()

    def read(self, answer: str) -> Mapping[str, str]:
        """What a model wrote, as a response that the gate can judge; empty if it is unreadable."""
        try:
            found = read_object(answer)
        except UnreadableError:
            return {}
        return {name: str(found.get(name, "")) for name in FIELDS}

    def _row(self, query: Query, response: Mapping[str, str], origin: Origin, variant: int) -> Row:
        cards = [card for card, _ in query.picks]
        return Row(
            f"{query.key}#{variant}",
            self.group(query),
            (*self._prompt(query, response["title"]), Message(ASSISTANT, self.text(response))),
            query,
            response,
            origin,
            {"topics": sorted({self._deck.card_by_id[card].category for card in cards})},
        )

    def _prompt(self, query: Query, title: str) -> tuple[Message, ...]:
        pairs = [
            fill(
                self._pair,
                {"condition": self._deck.card_by_id[phrase.card].text, "phrase": phrase.text},
            )
            for phrase in self._deck.phrases(query)
        ]
        titles = self._titles(query, title)
        asked = fill(self._user, {"pairs": "\n".join(pairs), "titles": "\n".join(titles)})
        return Message(SYSTEM, self._system), Message(USER, asked)

    def _titles(self, query: Query, title: str) -> list[str]:
        """Title candidates in random order, the answer's own among them."""
        rng = Random(f"{self._seed} {query.key} {title}")
        others = [known for known in self._deck.titles if known != title]
        rng.shuffle(others)
        chosen = ([title] if title else []) + others
        del chosen[TITLE_CANDIDATES:]
        rng.shuffle(chosen)
        return chosen


material = CardsMaterial
