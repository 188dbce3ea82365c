"""The tiers of a deck of cards that ask a model: `local` and `cloud`.

A small model is asked in two steps (keywords, then a poem from them), a large one for the poem at
once. Its answer must pass the deck's gate. If it does not, or if the model is late or busy, the
reason is noted and the next tier answers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple

from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.plays import Play
from app.kinds.cards.writer import SmallWriter, WholeWriter, read_keywords, read_poem
from app.kinds.engine import Engine, Written, hidden
from app.kinds.tasks import Task
from app.providers import Completion, NamedModel, Prompt
from app.providers.model_json import UnreadableError
from app.providers.relay import Ask
from app.recent import Recent
from app.store.answer import Answer, made_body
from app.store.key import Query

# Answers that a worker keeps, and the seconds for which it gives them again.
_KEPT, _FRESH = 256, 3600.0

# Keeps an answer for the next build: query, variant, response, source and model.
Keeper = Callable[[Query, int, Mapping[str, Any], str, str], None]
Steps = Generator[str, None, Mapping[str, Any] | None]


class ModelSetup(NamedTuple):
    """How a tier asks a model.

    `whole` is whether in one step, else in two. `seconds` is the deadline for all steps together.
    `keep` is called with each answer that passes the gate.
    """

    engine: Engine
    model: str
    whole: bool
    seconds: float
    keep: Keeper | None = None


class ModelTier:
    """Poems that a model writes for a play when it is requested."""

    slow = True

    def __init__(self, name: str, deck: Deck, setup: ModelSetup) -> None:
        self.name = name
        self._deck = deck
        self._gate = Gate.of(deck)
        self._setup = setup
        # So that a repeated play does not ask the model again.
        self._fresh = Recent[tuple[str, int], bytes](_KEPT, _FRESH, setup.engine.clock)
        model = NamedModel(setup.engine.model.name, setup.model)
        self._whole = WholeWriter(deck, model) if setup.whole else None
        self._small = None if setup.whole else SmallWriter(deck, model)

    def reply(self, request: Play) -> Generator[str, None, Answer | None]:
        """Yields empty chunks only, because an incomplete poem cannot be judged."""
        key = request.query.key, request.variant
        body = self._fresh.get(key)
        if body is None:
            body = yield from self._written(request)
        return None if body is None else Answer(self.name, body)

    def _written(self, request: Play) -> Generator[str, None, bytes | None]:
        setup = self._setup
        play = self._deck.id, request.query.key, request.variant
        if setup.engine.refused_before(self.name, play):
            return None
        response = yield from self._response(Task(request.query, request.variant))
        if response is None:
            return None
        refusal = self._gate.examine(request.query, response)
        if refusal:
            setup.engine.refuse(self.name, play, refusal.check)
            return None
        source = setup.engine.model.name
        texts = {name: str(value) for name, value in response.items()}
        body = made_body(texts, *request, source=source, model=setup.model, tier=self.name)
        # Of requests that share a reply, one keeps it.
        if self._fresh.put((request.query.key, request.variant), body) and setup.keep:
            setup.keep(request.query, request.variant, response, source, setup.model)
        return body

    def _response(self, task: Task) -> Steps:
        end = self._setup.engine.clock() + self._setup.seconds
        try:
            if self._whole:
                return (yield from self._one_step(self._whole, task, end))
            assert self._small
            return (yield from self._two_steps(self._small, task, end))
        except UnreadableError:
            self._setup.engine.note(self.name, "fault", "unreadable")
            return None

    def _one_step(self, writer: WholeWriter, task: Task, end: float) -> Steps:
        written = yield from self._asked(writer.prompt([task]), end)
        if written is None:
            return None
        read = writer.read([task], Completion(written.text, self._setup.model))
        if not read.drafts:
            raise UnreadableError(read.fault or "no answer")
        return read.drafts[0].response

    def _two_steps(self, writer: SmallWriter, task: Task, end: float) -> Steps:
        keywords = yield from self._asked(writer.keywords_prompt(task), end)
        if keywords is None:
            return None
        prompt = writer.poem_prompt(task, read_keywords(keywords.text))
        poem = yield from self._asked(prompt, end)
        return None if poem is None else read_poem(poem.text)

    def _asked(self, prompt: Prompt, end: float) -> Generator[str, None, Written | None]:
        engine = self._setup.engine
        ask = Ask(
            self._setup.model,
            prompt.fixed,
            ({"role": "user", "content": prompt.asked},),
            prompt.most_tokens,
            max(0.0, end - engine.clock()),
            prompt.schema,
        )
        key = ask.model, prompt.fixed, prompt.asked
        return (yield from hidden(engine.write(self.name, ask, key)))
