"""The tiers of a deck of cards that ask a model: `local` and `cloud`.

A small model is asked in two steps (keywords, then a poem of them), a large one for the whole poem.
What it writes must pass the deck's gate like everything else; what is refused, late or busy is noted
by its reason, and the next tier answers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping
from threading import Lock
from typing import Any, NamedTuple

from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.tiers import Asked
from app.kinds.cards.writer import SmallWriter, Writer, read_keywords, read_poem
from app.kinds.engine import Engine, Written, hidden
from app.kinds.tasks import Task
from app.providers import Completion, Prompt
from app.providers.relay import Ask
from app.providers.reply import UnreadableError
from app.store.answer import Answer, made_body
from app.store.key import Query

# Plays whose written answers a worker keeps, and for how many seconds they are given again.
_KEPT, _FRESH = 256, 3600.0

# Keeps what was written for the next build: the query, the variant, the response and who wrote it.
Keeper = Callable[[Query, int, Mapping[str, Any], str, str], None]
Steps = Generator[str, None, Mapping[str, Any] | None]


class ModelSetup(NamedTuple):
    """A model as a tier asks it.

    `whole`: for the whole poem in one step, else in two. `seconds` is the deadline for all of it,
    `keep` is told of what passed the gate.
    """

    engine: Engine
    model: str
    whole: bool
    seconds: float
    keep: Keeper | None = None


class FreshAnswers:
    """What was written lately, by play and variant: the same play is not asked for again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: OrderedDict[tuple[str, int], tuple[float, bytes]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[str, int]) -> bytes | None:
        """The body, if it is fresh."""
        written, body = self._answers.get(key, (0.0, None))
        return body if body is not None and self._clock() - written < _FRESH else None

    def put(self, key: tuple[str, int], body: bytes) -> None:
        """Keep a body; of too many the oldest goes."""
        with self._lock:
            self._answers[key] = self._clock(), body
            self._answers.move_to_end(key)
            if len(self._answers) > _KEPT:
                self._answers.popitem(last=False)


class ModelTier:
    """A poem that a model writes for just this play."""

    slow = True

    def __init__(self, name: str, deck: Deck, setup: ModelSetup) -> None:
        self.name = name
        self._deck = deck
        self._gate = Gate.of(deck)
        self._setup = setup
        self._fresh = FreshAnswers(setup.engine.clock)
        model = _Planned(setup.engine.model.name, setup.model)
        self._whole = Writer(deck, model) if setup.whole else None
        self._small = None if setup.whole else SmallWriter(deck, model)

    def reply(self, request: Asked) -> Generator[str, None, Answer | None]:
        """Empty pieces while it is written, for it can be judged only when it is whole."""
        key = request.query.key, request.variant
        body = self._fresh.get(key)
        if body is None:
            body = yield from self._written(request)
        if body is None:
            return None
        self._fresh.put(key, body)
        return Answer(self.name, body)

    def _written(self, request: Asked) -> Generator[str, None, bytes | None]:
        setup = self._setup
        response = yield from self._response(Task(request.query, request.variant))
        if response is None:
            return None
        refusal = self._gate.examine(request.query, response)
        if refusal:
            setup.engine.note(self.name, "gate", refusal.check)
            return None
        source = setup.engine.model.name
        if setup.keep:
            setup.keep(request.query, request.variant, response, source, setup.model)
        return made_body(
            {name: str(value) for name, value in response.items()},
            deck=self._deck.id,
            key=request.query.key,
            variant=request.variant,
            source=source,
            model=setup.model,
            tier=self.name,
        )

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

    def _one_step(self, writer: Writer, task: Task, end: float) -> Steps:
        written = yield from self._asked(writer.prompt([task]), end)
        if written is None:
            return None
        batch = writer.read([task], Completion(written.text, self._setup.model))
        if not batch.drafts:
            raise UnreadableError(batch.fault or "no answer")
        return batch.drafts[0].response

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
        return (yield from hidden(engine.write(self.name, ask)))


class _Planned:
    """A model that prompts are made for; the engine asks it."""

    def __init__(self, name: str, model: str) -> None:
        self.name = name
        self.model = model

    def complete(self, prompt: Prompt) -> Completion:
        """Never: an answer at the event is streamed, so that it can be stopped."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to let go of."""
