"""Cooking decks of characters: further lines, by a model.

Lines are cooked for patterns (character, intent, mood, time of day). They must pass the gate, and
must not be like another line of the character.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import xxhash

from app.errors import PlanError
from app.kinds.chat.characters import Character
from app.kinds.chat.deck import CharacterDeck, LineRules
from app.kinds.chat.gate import TEXT, ChatGate, likeness
from app.kinds.chat.lines import ANY, PLAIN
from app.kinds.refusal import Refusal
from app.kinds.tasks import Draft, Refusals, Task
from app.ledger.misses import read_ledger
from app.providers import Model, NamedModel, Prompt
from app.providers.tokens import estimate_tokens
from app.store.entry import Entry
from app.store.key import Query
from app.store.log import log_path, read_records
from precompute.cook.build import build
from precompute.cook.choose import ProviderChoice
from precompute.cook.cost import estimator
from precompute.cook.kinds import COMMON, WRITING, Build, Cook, Cooking, Judge, TableRows
from precompute.cook.numbered import NumberedWriter
from precompute.cook.options import BuildContext, BuildOptions
from precompute.cook.report import counts
from precompute.learn.lines import build_learned, learned_entries, passing
from precompute.plan.strategies import Job

# Greatest number of lines for a pattern; a rotation cannot keep count of many more.
MOST_VARIANTS = 40
_EXAMPLES = 4
_PROMPT = """You write single lines that one character says in a chat, in the language of the
persona. Each line answers one message of the user. Rules: in the character's voice; one line, {least}
to {most} characters; no explanation, no brackets, no quotation marks, no emoji; it must answer the
intent it is asked for, fit the time of day and the mood, and be unlike the examples. Reply with JSON
only: {{"lines": [{{"id": 1, "text": "..."}}]}}."""


def plan_lines(deck: CharacterDeck) -> Iterator[Job]:
    """Jobs by how often their lines are used: any time and mood, then by time, by mood, by both."""
    shades = [(PLAIN, ANY)]
    shades += [(PLAIN, time.id) for time in deck.times]
    shades += [(mood, ANY) for mood in deck.moods]
    shades += list(itertools.product(deck.moods, [time.id for time in deck.times]))
    # Messages about life and death are answered only by lines that a person has vetted.
    intents = [intent.id for intent in deck.intents if not intent.careful]
    for variant in range(MOST_VARIANTS):
        for mood, time in shades:
            for intent, character in itertools.product(intents, deck.characters):
                yield Job(deck.line_query(character.id, intent, mood, time), variant, intent)


def _learn(options: BuildOptions, context: BuildContext) -> int:
    assert isinstance(context.deck, CharacterDeck)
    return build_learned(options, context, context.deck)


# Lines are cooked; learned answers are taken from what was missed.
BUILDS: Mapping[str, Build] = {
    "stock": Build("a chat deck", COMMON | WRITING, build),
    "misses": Build("learning from misses", COMMON, _learn),
}


class LinesCooking(Cooking):
    """How a deck of characters is cooked."""

    deck: CharacterDeck
    quality: Mapping[str, frozenset[str]] = {
        "voice kept at the first try": frozenset({"shape", "voice"})
    }
    subject = "the character"

    def plan(
        self, options: BuildOptions, context: BuildContext, choice: ProviderChoice
    ) -> Iterator[Job]:
        """The first jobs of the plan, by character, so that a request needs few personas."""
        jobs = itertools.islice(plan_lines(self.deck), options.wanted)
        yield from sorted(jobs, key=lambda job: dict(job.query.picks)["character"])

    def cook(self, choice: ProviderChoice, model: Model | None) -> Cook:
        """A writer with a model. Raises PlanError without one."""
        if model is None:
            raise PlanError(
                "the vetted lines of a chat deck serve as they are and need no build; to cook more, "
                "set GEMINI_API_KEY or choose --provider (nothing in the box can write lines)"
            )
        writer = LinesWriter(self.deck, model)
        return Cook(writer, estimator(self.deck.rules.characters, writer.prompt), writer)

    def judge(self, store: Path) -> Judge:
        """The gate, and the comparison with lines that were cooked before."""
        stored = (item.entry for item in read_records(log_path(store, self.deck.id)))
        return LinesJudge(self.deck, (entry for entry in stored if not entry.gone))

    def learned(self, ledger: Path) -> Iterator[Entry]:
        """The cloud's answers, the most frequent messages first."""
        return passing(
            ChatGate(self.deck), learned_entries(self.deck, read_ledger(ledger, self.deck.id))
        )

    def fingerprints(self) -> Mapping[str, str]:
        """That of the prompt; learned answers have none."""
        return {"lines": LinesWriter(self.deck, NamedModel("gemini", "")).fingerprint}

    def subject_fingerprint(self, query: Query) -> str:
        """A hash over the character's persona and the rules of her voice."""
        told = _told(self.deck.character_by_id[dict(query.picks)["character"]])
        return xxhash.xxh3_64_hexdigest(told.encode("utf-8", "surrogatepass"))[:8]

    def can_ask_for(self, query: Query) -> bool:
        """Whether the query is a pattern with an intent; learned answers are to messages."""
        return "intent" in dict(query.picks)

    def plan_rows(self, jobs: Sequence[Job]) -> TableRows:
        """The number of lines for each intent."""
        yield "by intent", counts(Counter(dict(job.query.picks)["intent"] for job in jobs))


cooking = LinesCooking


class LinesWriter(NumberedWriter):
    """A provider that asks a model for lines, for several patterns in a request."""

    kind = "lines"

    def __init__(self, deck: CharacterDeck, model: Model) -> None:
        super().__init__(model, _PROMPT, "lines")
        self._deck = deck

    def prompt(self, tasks: Sequence[Task]) -> Prompt:
        """The prompt: rules and personas, then one line for each task."""
        least, most = self._deck.rules.characters
        patterns = [dict(task.query.picks) for task in tasks]
        names = dict.fromkeys(pattern["character"] for pattern in patterns)
        personas = [
            _told(self._deck.character_by_id[name]) + (f"\n(she is {name})" * (len(names) > 1))
            for name in names
        ]
        asked = [
            self._line(number, task, pattern, named=len(names) > 1)
            for number, (task, pattern) in enumerate(zip(tasks, patterns, strict=True), 1)
        ]
        # Twice the tokens of the longest line with the JSON around it.
        room = 2 * (estimate_tokens("字" * most) + 30)
        rules = [_PROMPT.format(least=least, most=most), *_forbidden(self._deck.rules)]
        fixed = "\n\n".join([*rules, *personas])
        return Prompt(fixed, "\n".join(asked), self.schema, room * len(tasks))

    def _line(self, number: int, task: Task, pattern: Mapping[str, str], *, named: bool) -> str:
        intent = self._deck.intent_by_id[pattern["intent"]]
        lines = [*self._deck.lines[pattern["character"]][intent.id]]
        # Other examples for each variant, because large models ignore the temperature.
        turn = task.variant * _EXAMPLES % max(1, len(lines))
        shown = [line.text for line in (*lines[turn:], *lines[:turn])][:_EXAMPLES]
        parts = [
            f"id {number}: the user's message: {intent.name} ({intent.id})",
            f"time of day: {pattern['time']}, the user's mood: {pattern['mood']}",
            f"her lines so far: {' / '.join(shown)}",
        ]
        if intent.must:
            parts.append(f"it must contain a match of: {intent.must.pattern}")
        if intent.must_not:
            parts.append(f"it may contain no match of: {intent.must_not.pattern}")
        if named:
            parts.insert(0, f"id {number} is said by {pattern['character']}")
        if task.refusals:
            refused = ", ".join(map(str, task.refusals[-1]))
            parts.append(f"your last line was refused: {refused}")
        return "; ".join(parts)

    def response(self, task: Task, text: object, model: str) -> Mapping[str, object]:
        return {TEXT: text}


def _told(character: Character) -> str:
    """What a model is told of a character: persona, and what the gate refuses."""
    return "\n".join(filter(None, (character.persona, character.voice.told)))


def _forbidden(rules: LineRules) -> Iterator[str]:
    """What no character of a deck may say, as a model is told it."""
    if rules.echo:
        yield f"No line may contain: {', '.join(rules.echo)}"
    if rules.promises:
        yield f"No line may promise what an AI cannot do; refused is: {rules.promises.pattern}"


class LinesJudge(Judge):
    """Refuses what the gate refuses, and lines that are like others of the same intent."""

    def __init__(self, deck: CharacterDeck, stored: Iterable[Entry]) -> None:
        super().__init__(ChatGate(deck))
        self._copy = deck.rules.copy
        # Accepted lines by character and intent, then by task.
        self._said: defaultdict[tuple[str, str], dict[tuple[str, int], str]] = defaultdict(dict)
        for entry in stored:
            self._lines_like(entry.query)[entry.name] = entry.response.get(TEXT, "")

    def refusals(self, draft: Draft) -> Refusals:
        """The refusals of the gate; if there are none, of the comparison with other lines."""
        task = draft.task
        if refused := super().refusals(draft):
            return refused
        text = str(draft.response[TEXT])
        said = self._lines_like(task.query)
        for name, other in said.items():
            # An older line for the same task will be replaced.
            if name != task.name and likeness(text, other) >= self._copy:
                return (Refusal("copy", other[:30], f"less than {self._copy} alike"),)
        said[task.name] = text
        return ()

    def _lines_like(self, query: Query) -> dict[tuple[str, int], str]:
        pattern = dict(query.picks)
        return self._said[pattern.get("character", ""), pattern.get("intent", "")]
