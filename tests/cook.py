"""Reads our real prompts as a model would, and writes answers that the gate lets pass.

It knows nothing of tasks: everything it answers with comes out of the prompt's text, so that a
prompt that leaves something out cannot be answered.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from app.kinds.cards.composing import Composer
from app.kinds.cards.deck import Deck, Phrase
from app.kinds.cards.gate import Gate
from precompute.cook.near_copy import LIMIT, likeness, sketch

_ANSWER = re.compile(
    r"^［(?P<id>[^］]+)］\n　考え：(?P<idea>.+)\n.*\n.*\n　句：(?P<phrases>.+)(?P<again>(?:\n　前回.*)?)",
    re.MULTILINE,
)
_PHRASE = re.compile(r"「([^」]*)」")
_TITLES = re.compile(r"■ 題の候補\n(.*?)\n\n", re.DOTALL)
_SMALL = re.compile(r"^句（.*?）：(.*)\n題の候補：(.*?)／", re.MULTILINE)
_CARD = re.compile(r"^［([^］]+)］ 分類：.*?　裏の事情：(.*?)　禁句：", re.MULTILINE)

Answer = dict[str, Any]
# Takes the answers of one reply and gives back what is sent instead.
Spoil = Callable[[int, list[Answer]], list[Answer]]


class Cook:
    """A model that follows instructions. `written` counts the answers to each play."""

    def __init__(self, deck: Deck, spoil: Spoil | None = None) -> None:
        self.deck = deck
        self.spoil = spoil
        self.written: Counter[str] = Counter()
        self.replies = 0
        self.prompts: list[str] = []
        # Poems for one hand share sentences; this model does not write the same poem twice.
        self._sketches: defaultdict[str, list[bytes]] = defaultdict(list)
        self._composer = Composer(deck)
        self._gate = Gate.of(deck)
        self._lock = threading.Lock()
        self._by_text: dict[str, Phrase] = {p.text: p for c in deck.cards for p in c.phrases}

    def reply(self, prompt: str) -> str:
        """The text of a model's reply."""
        with self._lock:
            self.replies += 1
            self.prompts.append(prompt)
            number = self.replies
            value = self._value(prompt)
            if self.spoil and "answers" in value:
                value = {"answers": self.spoil(number, value["answers"])}
        return json.dumps(value, ensure_ascii=False)

    def _value(self, prompt: str) -> Answer:
        if '"keywords"' in prompt:
            return {"keywords": ["朝の光", "石の手ざわり", "風", "水音"]}
        if _ANSWER.search(prompt):
            return {"answers": list(self._answers(prompt))}
        if _CARD.search(prompt):
            return {"answers": [self._pieces(*found) for found in _CARD.findall(prompt)]}
        asked = _SMALL.search(prompt)
        assert asked, "the prompt asks for nothing that is known"
        tries = 1 if "前回の不合格" in prompt else 0
        return self._poem(_PHRASE.findall(asked[1]), asked[2], tries)

    def _answers(self, prompt: str) -> Iterator[Answer]:
        found = _TITLES.search(prompt)
        assert found, "the prompt offers no titles"
        titles = found[1].splitlines()
        for number, answer in enumerate(_ANSWER.finditer(prompt)):
            phrases = _PHRASE.findall(answer["phrases"])
            title = titles[number % len(titles)]
            tries = 1 if answer["again"] else 0
            yield {
                "id": answer["id"],
                "idea": answer["idea"],
                **self._poem(phrases, title, tries),
            }

    def _poem(self, texts: Sequence[str], title: str, tries: int) -> Answer:
        query = self.deck.query([self._by_text[text] for text in texts])
        first = 100 * self.written[query.key] + 50 * tries
        self.written[query.key] += 1
        alike = self._sketches[query.hand_key]
        best: tuple[float, str, bytes] | None = None
        for variant in range(first, first + 50):
            made = self._composer.compose(query, variant)
            if not made or self._gate.examine(query, made.response):
                continue
            packed = sketch(made.poem)
            nearest = max((likeness(packed, other) for other in alike), default=0.0)
            if best is None or nearest < best[0]:
                best = nearest, made.poem, packed
            if nearest <= LIMIT - 0.1:
                break
        assert best, f"nothing can be composed for {query.picks}"
        alike.append(best[2])
        return {"title": title, "poem": best[1].split("\n\n")}

    def _pieces(self, name: str, text: str) -> Answer:
        card = next(card for card in self.deck.cards if card.text == text)
        return {
            "id": name,
            "sentences": [
                {"phrase": f"p{n}", "idea": idea, "text": one}
                for n, phrase in enumerate(card.phrases, 1)
                for idea, sentences in self.deck.pieces.phrases[phrase.id].items()
                for one in sentences
            ],
        }
