"""Providers that ask a model for answers: prompts from tasks, drafts from replies.

A large model is asked for many answers in one request, so that the fixed part of the prompt is paid
once. Each answer has a short id and an idea, which the model must repeat: if they do not belong
together, the answer was swapped with another and is not accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import xxhash

from app.kinds.cards.composing import BREAK
from app.kinds.cards.deck import Deck, Phrase
from app.kinds.cards.prompts import (
    Manner,
    load_prompt,
    load_reasons,
    load_variety,
    prompt_fingerprint,
    prompts_folder,
    refusal_notes,
    rule_values,
    rules_fingerprint,
)
from app.kinds.detection import declined
from app.kinds.tasks import Draft, Drafts, Task
from app.providers import Completion, Model, Prompt
from app.providers.model_json import UnreadableError, answers_in, read_object
from app.store.entry import Usage

TITLE_CANDIDATES = 20
# Tokens of JSON and title around a poem, and the factor by which an answer may exceed its length.
_TOKENS_AROUND = 160
_ROOM = 2.0
# Of a long word with its space, to reckon with words as with characters.
LETTERS_A_WORD = 8

_TEXTS = {"type": "array", "items": {"type": "string"}}
WHOLE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "answers": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "idea": {"type": "string"},
                    "title": {"type": "string"},
                    "poem": _TEXTS,
                },
                "required": ["id", "idea", "title", "poem"],
            },
        }
    },
    "required": ["answers"],
}
KEYWORDS_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"keywords": _TEXTS},
    "required": ["keywords"],
}
POEM_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "poem": _TEXTS},
    "required": ["title", "poem"],
}


def seed_of(task: Task) -> int:
    """A seed for a task, which changes when it is asked again."""
    name = f"{task.query.key}#{task.variant}#{len(task.refusals)}"
    return xxhash.xxh3_64_intdigest(name.encode())


def answer_tokens(deck: Deck) -> int:
    """The greatest number of tokens for one answer, generously."""
    most = deck.rules.length[1] * (LETTERS_A_WORD if deck.rules.words else 1)
    return round(_ROOM * (most + _TOKENS_AROUND) / 1.3)


def title_candidates(deck: Deck, seed: int) -> list[str]:
    """The titles that a request offers, chosen by the seed."""
    titles = list(deck.titles)
    Random(seed).shuffle(titles)
    return titles[:TITLE_CANDIDATES]


def _fault(fault: str, reply: str) -> str:
    """A fault of a reply; "declined" if the model says instead that it will not write."""
    return "declined" if fault == "unreadable" and declined(reply) else fault


def quoted_phrases(deck: Deck, phrases: Sequence[Phrase]) -> str:
    """The phrases of a play in quotation marks, as a prompt gives them."""
    return deck.lang.space.join(deck.lang.quoted(phrase.text) for phrase in phrases)


def joined_poem(value: object) -> object:
    """A poem in a reply, as one text; other values are left for the gate to refuse."""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return BREAK.join(part.strip() for part in value)
    return value.strip() if isinstance(value, str) else value


class _PoemWriter:
    """A provider that asks a model by a prompt of the deck, the file `<kind>.txt`."""

    kind = ""

    def __init__(self, deck: Deck, model: Model) -> None:
        self.name = model.name
        self.model = model
        self._deck = deck
        folder = prompts_folder(deck)
        self._file = load_prompt(folder, f"{self.kind}.txt")
        self._variety = load_variety(folder)
        self._reasons = load_reasons(folder)
        self._rules = rule_values(deck)
        digest = prompt_fingerprint(
            self._file.sections, self._variety, rules_fingerprint(self._rules)
        )
        self.fingerprint = f"{self.kind}:{digest}"


class WholeWriter(_PoemWriter):
    """A provider that asks a model for whole poems, many in a request."""

    kind = "poem"

    def write(self, tasks: Sequence[Task]) -> Drafts:
        """Drafts from one request for all tasks. Raises ProviderError."""
        return self.read(tasks, self.model.complete(self.prompt(tasks)))

    def prompt(self, tasks: Sequence[Task]) -> Prompt:
        """The prompt for some tasks, which depends on them only."""
        answers = [
            self._answer(name, task, manner)
            for (name, task), manner in zip(
                named_tasks(tasks).items(), self._manners(tasks), strict=True
            )
        ]
        asked = self._file.fill(
            1,
            {
                **self._rules,
                "count": len(tasks),
                "titles": "\n".join(title_candidates(self._deck, seed_of(tasks[0]))),
                "cards": "\n".join(self._cards(tasks)),
                "answers": "\n".join(answers),
            },
        )
        return Prompt(
            fixed=self._file.fill(0, self._rules),
            asked=asked,
            schema=WHOLE_SCHEMA,
            most_tokens=answer_tokens(self._deck) * len(tasks),
        )

    def _manners(self, tasks: Sequence[Task]) -> list[Manner]:
        return self._variety.manners(map(seed_of, tasks))

    def _cards(self, tasks: Sequence[Task]) -> list[str]:
        """Each card of the request once, to save tokens: answers share cards."""
        ids = dict.fromkeys(card for task in tasks for card, _ in task.query.picks)
        cards = [self._deck.card_by_id[card] for card in ids]
        language = self._deck.lang
        return [
            language.writing.card.format(text=c.text, tells=language.comma.join(c.telling_words))
            for c in cards
        ]

    def _answer(self, name: str, task: Task, manner: Manner) -> str:
        phrases = self._deck.phrases(task.query)
        return self._file.fill(
            2,
            {
                "id": name,
                "idea": manner.idea,
                "build": self._deck.lang.writing.build.format(note=manner.note, build=manner.build),
                "opening": manner.opening,
                "phrases": quoted_phrases(self._deck, phrases),
                "again": refusal_notes(self._reasons, task.refusals, self._deck.lang),
            },
        )

    def read(self, tasks: Sequence[Task], completion: Completion) -> Drafts:
        """Parse a reply to the prompt for the same tasks."""
        answers, fault = answers_in(completion, len(tasks))
        fault = _fault(fault, completion.text)
        drafts, lost, strays = self._matched(tasks, answers)
        if not answers and not fault:
            fault = "empty"
        reply = completion.text if fault else ""
        return Drafts(tuple(drafts), completion.model, completion.usage, fault, lost, strays, reply)

    def _matched(
        self, tasks: Sequence[Task], answers: Sequence[Mapping[str, Any]]
    ) -> tuple[list[Draft], dict[tuple[str, int], str], int]:
        """Match answers to tasks: the first answer of each id, if it has the idea of that id."""
        waiting = named_tasks(tasks)
        ideas = dict(zip(waiting, self._manners(tasks), strict=True))
        lost = {task.name: "missing" for task in tasks}
        drafts: list[Draft] = []
        strays = 0
        # A single answer need not repeat its id.
        only = next(iter(waiting)) if len(tasks) == 1 else ""
        for answer in answers:
            name = str(answer.get("id", only))
            task = waiting.get(name)
            if task is None:
                strays += 1
            elif _idea(answer, ideas[name].idea if only else "") != ideas[name].idea:
                lost[task.name] = "swapped"
            else:
                del waiting[name], lost[task.name]
                response = {k: v for k, v in answer.items() if k not in ("id", "idea")}
                response["poem"] = joined_poem(response.get("poem"))
                drafts.append(Draft(task, response))
        return drafts, lost, strays


def _idea(answer: Mapping[str, Any], default: str) -> str:
    return str(answer.get("idea", default)).strip()


def named_tasks(tasks: Sequence[Task]) -> dict[str, Task]:
    """Tasks by short ids: a number, and a part of the key, so that ids differ between requests."""
    return {f"{n}-{task.query.key[:4]}": task for n, task in enumerate(tasks, 1)}


class SmallWriter(_PoemWriter):
    """A provider that asks a small model for one poem at a time, in two steps.

    First for keywords from the phrases, then for a poem from the keywords; each prompt has about
    300 tokens, which a small model can handle.
    """

    kind = "small"

    def write(self, tasks: Sequence[Task]) -> Drafts:
        """Drafts from two requests for each task. Raises as `WholeWriter.write` does."""
        drafts: list[Draft] = []
        lost: dict[tuple[str, int], str] = {}
        fault = reply = ""
        used = []
        model = self.model.model
        for task in tasks:
            keywords = self.model.complete(self.keywords_prompt(task))
            completion = self.model.complete(self.poem_prompt(task, read_keywords(keywords.text)))
            used += [keywords.usage, completion.usage]
            model = completion.model
            try:
                response = read_poem(completion.text)
            except UnreadableError:
                fault = _fault(completion.fault or "unreadable", completion.text)
                reply = completion.text
                lost[task.name] = "missing"
                continue
            drafts.append(Draft(task, response))
        total = sum((usage for usage in used if usage), start=Usage())
        return Drafts(tuple(drafts), model, total, "" if drafts else fault, lost, reply=reply)

    def keywords_prompt(self, task: Task) -> Prompt:
        return Prompt("", self._file.fill(0, self._values(task)), KEYWORDS_SCHEMA, 200)

    def poem_prompt(self, task: Task, keywords: Sequence[str]) -> Prompt:
        values = {**self._values(task), "keywords": self._deck.lang.comma.join(keywords)}
        return Prompt("", self._file.fill(1, values), POEM_SCHEMA, answer_tokens(self._deck))

    def prompt(self, tasks: Sequence[Task]) -> Prompt:
        """The prompts of both steps as one, to estimate costs."""
        example = self._deck.lang.writing.example
        steps = [
            prompt.asked
            for task in tasks
            for prompt in (self.keywords_prompt(task), self.poem_prompt(task, (example,) * 10))
        ]
        return Prompt(
            "", "\n".join(steps), POEM_SCHEMA, (answer_tokens(self._deck) + 200) * len(tasks)
        )

    def _values(self, task: Task) -> dict[str, object]:
        phrases = self._deck.phrases(task.query)
        manner = self._variety.manners([seed_of(task)])[0]
        language = self._deck.lang
        return {
            **self._rules,
            "phrases": quoted_phrases(self._deck, phrases),
            "tells": language.comma.join(self._telling_words(phrases)),
            # Twenty candidates would be too many for a small model.
            "titles": language.writing.titles.join(title_candidates(self._deck, seed_of(task))[:5]),
            "idea": language.writing.idea.format(idea=manner.idea, note=manner.note),
            "opening": manner.opening,
            "again": refusal_notes(self._reasons, task.refusals[-1:], language),
        }

    def _telling_words(self, phrases: Sequence[Phrase]) -> dict[str, None]:
        cards = [self._deck.card_by_id[phrase.card] for phrase in phrases]
        return dict.fromkeys(word for card in cards for word in card.telling_words)


def read_poem(text: str) -> dict[str, object]:
    """Parse the reply to the second step. Raises UnreadableError."""
    response: dict[str, object] = dict(read_object(text))
    response["poem"] = joined_poem(response.get("poem"))
    return response


def read_keywords(text: str) -> list[str]:
    """Parse the reply to the first step; empty if it has no keywords."""
    try:
        found = read_object(text).get("keywords")
    except UnreadableError:
        return []
    return [word for word in found if isinstance(word, str)][:12] if isinstance(found, list) else []
