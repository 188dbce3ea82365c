"""A provider that asks a model for the pieces of several cards in one request.

The query for a card's pieces is a pattern: {"card": id}. The guides, lengths and numbers of pieces
are those of the deck's ideas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from app.kinds.cards.deck import Card, Deck
from app.kinds.cards.pieces import Idea
from app.kinds.cards.prompts import (
    load_prompt,
    load_reasons,
    prompt_fingerprint,
    prompts_folder,
    refusal_notes,
    rule_values,
    rules_fingerprint,
)
from app.kinds.cards.writer import named_tasks
from app.kinds.tasks import Drafts, Task
from app.providers import Model, Prompt
from app.providers.tokens import estimate_tokens
from app.store.key import Query
from precompute.cook.cost import Estimate
from precompute.cook.numbered import drafts_in
from precompute.plan.strategies import Job

CARDS_PER_REQUEST = 6
_TEXT = {"type": "string"}


def _items(required: Sequence[str], **properties: Any) -> dict[str, Any]:
    item = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "array", "items": item}


_SCHEMA = {
    "type": "object",
    "properties": {
        "answers": _items(
            ["id", "sentences"],
            id=_TEXT,
            sentences=_items(["phrase", "idea", "text"], phrase=_TEXT, idea=_TEXT, text=_TEXT),
        )
    },
    "required": ["answers"],
}


def card_jobs(deck: Deck) -> list[Job]:
    return [Job(Query.pattern(deck.id, [("card", card.id)]), 0, "pieces") for card in deck.cards]


def card_of(task: Task) -> str:
    """The id of the card whose pieces a task asks for."""
    return task.query.picks[0][1]


class PieceWriter:
    """A provider that asks a model for pieces."""

    def __init__(self, deck: Deck, model: Model) -> None:
        self.name = model.name
        self._model = model
        self._deck = deck
        folder = prompts_folder(deck)
        self._prompt = load_prompt(folder, "pieces.txt")
        self._reasons = load_reasons(folder)
        self._values = {
            **rule_values(deck),
            "ideas": "\n".join(_asked(deck, idea) for idea in deck.pieces.ideas),
        }
        self.fingerprint = "pieces:" + prompt_fingerprint(
            self._prompt.sections, rules_fingerprint(self._values)
        )

    def write(self, tasks: Sequence[Task]) -> Drafts:
        """Drafts from one request. Raises ProviderRetryError and ProviderStopError."""
        completion = self._model.complete(self.prompt(tasks))
        return drafts_in(completion, named_tasks(tasks), "answers", lambda _, answer: answer)

    def prompt(self, tasks: Sequence[Task]) -> Prompt:
        cards = "\n".join(self._card(name, task) for name, task in named_tasks(tasks).items())
        values = {**self._values, "count": len(tasks), "cards": cards}
        fixed, asked = (self._prompt.fill(section, values) for section in (0, 1))
        return Prompt(fixed, asked, _SCHEMA, 2 * self.answer_tokens(tasks))

    def _card(self, name: str, task: Task) -> str:
        card = self._deck.card_by_id[card_of(task)]
        values = {
            "id": name,
            "category": card.category,
            "condition": card.text,
            "tells": self._deck.lang.comma.join(card.telling_words),
            "phrases": "\n".join(f"　{n} {phrase.text}" for n, phrase in phrase_names(card)),
            "again": refusal_notes(self._reasons, task.refusals, self._deck.lang),
        }
        return self._prompt.fill(2, values)

    def answer_tokens(self, tasks: Sequence[Task]) -> int:
        """The approximate number of tokens of the reply."""
        phrase = sum(map(_tokens, self._deck.pieces.ideas))
        phrases = sum(len(self._deck.card_by_id[card_of(task)].phrases) for task in tasks)
        return phrase * phrases + 10 * len(tasks)

    def estimate(self, tasks: Sequence[Task]) -> Estimate:
        prompt = self.prompt(tasks)
        return Estimate(
            requests=1,
            prompt=estimate_tokens(prompt.fixed) + estimate_tokens(prompt.asked),
            output=self.answer_tokens(tasks),
            most_output=prompt.most_tokens,
        )


def phrase_names(card: Card) -> Iterator[tuple[str, Any]]:
    """A card's phrases with their short names in requests."""
    return ((f"p{number}", phrase) for number, phrase in enumerate(card.phrases, 1))


def _asked(deck: Deck, idea: Idea) -> str:
    writing, wanted = deck.lang.writing, idea.wanted
    least, most = wanted.length
    return writing.wanted.format(
        named=writing.idea.format(idea=idea.id, note=idea.name),
        each=wanted.each,
        least=least,
        most=most,
        guide=wanted.guide,
    )


def _tokens(idea: Idea) -> int:
    return idea.wanted.each * (estimate_tokens("字" * idea.wanted.length[1]) + 25)
