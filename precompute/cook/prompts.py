"""Cooking decks of prompts: the matrix of a template, prompts from a file, what was missed.

What the server has recorded is taken into the store before anything is cooked.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import orjson

from app.errors import PlanError
from app.kinds.prompts.deck import PromptDeck
from app.kinds.prompts.gate import REPLY, PromptGate
from app.kinds.prompts.key import query_of
from app.kinds.prompts.reply import Choice, Reply, Tokens
from app.kinds.prompts.request import PromptRequest, Text
from app.kinds.prompts.template import TEMPLATE_FILE, PromptTemplate
from app.kinds.tasks import Task
from app.ledger.misses import read_ledger
from app.providers import Model, NamedModel, Prompt
from app.providers.tokens import estimate_tokens
from app.store.index_writer import IndexWriter
from app.store.key import PROMPT, Query
from app.store.log import LogWriter
from app.store.rows import Meta
from precompute.cook.build import build
from precompute.cook.choose import ProviderChoice
from precompute.cook.cost import estimator
from precompute.cook.kinds import COMMON, WRITING, Build, Cook, Cooking, Judge, TableRows
from precompute.cook.numbered import NumberedWriter
from precompute.cook.options import BuildContext, BuildOptions
from precompute.cook.progress import Show
from precompute.learn.recordings import take_deck_in, take_in
from precompute.plan.pairwise import pairwise
from precompute.plan.strategies import Job
from precompute.prompts.bodies import PROMPTS_FILE, read_prompts

# Characters of a reply, where the deck does not say how many.
_CHARACTERS = (1, 1000)
_PROMPT = """An application sends requests to a language model. Below are some of them, each with an id.
Answer each as if it were the only one: in the language and the form that it asks for, without a
preamble, and without a word about the other requests.{rules} Reply with JSON only:
{{"answers": [{{"id": 1, "text": "the whole answer"}}]}}."""


def _stock(options: BuildOptions, context: BuildContext) -> int:
    """Cook; without a number of entries, only take in what was recorded."""
    if options.wanted or options.refresh:
        return build(options, context)
    assert isinstance(context.deck, PromptDeck)
    taken = take_deck_in(context.settings, context.deck)
    context.say(f"deck {context.deck.id}: {taken:,} recordings taken in; --n cooks")
    return 0


_ACCEPTED = COMMON | WRITING | {"seed"}
BUILDS: Mapping[str, Build] = {
    "stock": Build("a deck of prompts", _ACCEPTED, _stock),
    "misses": Build("a deck of prompts", _ACCEPTED, build),
}


def request_of(query: Query) -> PromptRequest | None:
    """The request whose canonical form a query has; None if it is no prompt."""
    if query.kind != PROMPT:
        return None
    return PromptRequest.from_json(orjson.loads(query.picks[0][1]))


def can_cook(request: PromptRequest | None) -> bool:
    """Whether a model can be asked for the reply as a text: no embedding, no image, no call."""
    return (
        request is not None
        and request.operation != "embed"
        and not request.tools
        and all(isinstance(part, Text) for one in request.messages for part in one.parts)
    )


def matrix(deck: PromptDeck, template: PromptTemplate, seed: int) -> Iterator[Query]:
    """The queries of a template's prompts, first those that show every pair of values."""
    names, options = list(template.slots), list(template.slots.values())
    for row in pairwise([len(values) for values in options], seed):
        filled = {name: values[at] for name, values, at in zip(names, options, row, strict=True)}
        yield query_of(deck.id, template.filled(filled), deck.rules)


def missed(deck: PromptDeck, ledger: Path) -> Counter[Query]:
    """The prompts of the ledger by how often they were missed; a template's as it is spelled."""
    wanted: Counter[Query] = Counter()
    for line in read_ledger(ledger, deck.id):
        try:
            request = PromptRequest.from_json(orjson.loads(line["prompt"]))
        except (KeyError, TypeError, AttributeError, ValueError):
            # Also a miss of which the ledger has the key alone.
            continue
        values = deck.template.read(request) if deck.template else None
        if deck.template and values is not None:
            request = deck.template.filled(values)
        if can_cook(request):
            wanted[query_of(deck.id, request, deck.rules)] += 1
    return wanted


def plan_prompts(deck: PromptDeck, strategy: str, ledger: Path, seed: int) -> Iterator[Job]:
    """Each prompt once: the most wanted, those of the deck's file, then the matrix."""
    wanted = missed(deck, ledger)
    jobs: Iterator[Job] = (
        Job(query, 0, f"wanted {times} ×") for query, times in wanted.most_common()
    )
    if strategy != "misses":
        given = (
            query_of(deck.id, request, deck.rules)
            for request in read_prompts(deck.folder)
            if can_cook(request)
        )
        rest = matrix(deck, deck.template, seed) if deck.template else iter(())
        named = ((PROMPTS_FILE, given), (TEMPLATE_FILE, rest))
        jobs = itertools.chain(jobs, (Job(q, 0, name) for name, part in named for q in part))
    seen: set[str] = set()
    for job in jobs:
        if job.query.key not in seen:
            seen.add(job.query.key)
            yield job


class PromptsCooking(Cooking):
    """How a deck of prompts is cooked. An entry's key has the whole prompt."""

    deck: PromptDeck
    subject = "the prompt"

    def plan(
        self, options: BuildOptions, context: BuildContext, choice: ProviderChoice
    ) -> Iterator[Job]:
        """The jobs: the prompts of the deck, or those that were missed."""
        return plan_prompts(self.deck, options.strategy, context.settings.ledger, options.seed)

    def cook(self, choice: ProviderChoice, model: Model | None) -> Cook:
        """A writer with a model. Raises PlanError without one."""
        if model is None:
            raise PlanError(
                "nothing in the box can answer prompts; set GEMINI_API_KEY or choose --provider"
            )
        writer = PromptWriter(self.deck, model)
        most = self.deck.checks.characters or _CHARACTERS
        return Cook(writer, estimator(most, writer.prompt), writer)

    def judge(self, store: Path) -> Judge:
        """The gate: replies may be alike."""
        return Judge(PromptGate(self.deck.checks))

    def before(
        self, options: BuildOptions, context: BuildContext, log: LogWriter, index: IndexWriter,
        progress: Show,
    ) -> None:  # fmt: skip
        """Take in what the server has recorded."""
        taken = take_in(context.settings.ledger, self.deck.id, PromptGate(self.deck.checks), log)
        index.catch_up()
        if taken:
            progress.note(f"{taken:,} recordings were taken in")

    def fingerprints(self) -> Mapping[str, str]:
        """That of our prompt around the application's; recordings have none."""
        return {"prompts": PromptWriter(self.deck, NamedModel("gemini", "")).fingerprint}

    def can_ask_for(self, query: Query) -> bool:
        """Whether a model can be asked for the reply as a text."""
        return can_cook(request_of(query))

    def plan_rows(self, jobs: Sequence[Job]) -> TableRows:
        """The number of prompts by where they are from, and the size of the matrix."""
        wanted = Counter("the ledger" if j.origin.startswith("wanted") else j.origin for j in jobs)
        for origin, count in wanted.items():
            yield f"from {origin}", f"{count:,}"
        if self.deck.template:
            yield "the whole matrix", f"{self.deck.template.size:,}"

    def stored_rows(self, meta: Meta) -> TableRows:
        """The size of the matrix, of which `precompute stats` gives the coverage."""
        if self.deck.template:
            yield "the whole matrix", f"{self.deck.template.size:,}"


cooking = PromptsCooking


class PromptWriter(NumberedWriter):
    """A provider that asks a model for replies to prompts, several in a request."""

    kind = "prompts"

    def __init__(self, deck: PromptDeck, model: Model) -> None:
        self._checks = deck.checks
        self._fixed = _PROMPT.format(rules="".join(self._rules()))
        super().__init__(model, self._fixed, "answers")

    def _rules(self) -> Iterator[str]:
        checks = self._checks
        if checks.characters:
            yield " An answer has {} to {} characters.".format(*checks.characters)
        if checks.script:
            yield f" It is written in {', '.join(checks.script)} letters only."
        if checks.schema:
            yield f" It is JSON by this schema: {orjson.dumps(checks.schema).decode()}."

    def prompt(self, tasks: Sequence[Task]) -> Prompt:
        """The prompt: what is asked of the model, then each request with its id."""
        _, most = self._checks.characters or _CHARACTERS
        asked = "\n\n".join(_block(number, task) for number, task in enumerate(tasks, 1))
        room = round(1.5 * estimate_tokens("字" * most)) + 60
        return Prompt(self._fixed, asked, self.schema, room * len(tasks))

    def response(self, task: Task, text: object, model: str) -> Mapping[str, object]:
        """The reply as the store keeps it. A model that was to write JSON may have given it as it is."""
        said = text if isinstance(text, str) else orjson.dumps(text).decode()
        request = request_of(task.query)
        asked = sum(estimate_tokens(one.text) for one in request.messages) if request else 0
        tokens = Tokens(round(asked), round(estimate_tokens(said)))
        return {REPLY: Reply((Choice(said),), model, tokens).to_text()}


def _block(number: int, task: Task) -> str:
    request = request_of(task.query)
    assert request is not None
    lines = [f"id {number}:"]
    lines += [f"[{message.role}] {message.text}" for message in request.messages]
    if isinstance(request.format, Mapping):
        lines.append(
            f"(the answer is JSON by this schema: {orjson.dumps(request.format).decode()})"
        )
    elif request.format:
        lines.append("(the answer is JSON)")
    if task.refusals:
        lines.append(f"(your last answer was refused: {', '.join(map(str, task.refusals[-1]))})")
    return "\n".join(lines)
