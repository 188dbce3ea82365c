"""Figures and checks of decks of prompts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import orjson

from app.errors import DeckError
from app.kinds.figures import store
from app.kinds.prompts.deck import PromptDeck
from app.kinds.prompts.gate import REPLY
from app.kinds.prompts.recordings import recordings_folder
from app.kinds.prompts.reply import Reply
from app.kinds.prompts.request import PromptRequest
from app.kinds.prompts.template import PromptTemplate
from app.kinds.reading import shorten
from app.ledger.misses import read_ledger
from app.settings import Settings
from app.store.entry import Entry
from app.store.in_force import in_force
from app.store.log import log_path, read_records
from precompute.cook.prompts import can_cook, request_of
from precompute.prompts.bodies import PROMPTS_FILE, read_prompts
from precompute.review.check import Finding, stored
from precompute.review.kinds import Shown, entry_rows


def stats(
    settings: Settings, deck: PromptDeck, today: str, most: int, note: Callable[[str], None]
) -> dict[str, Any]:
    """The figures of a deck, with the `most` frequent misses."""
    recorded = read_records(log_path(recordings_folder(settings.ledger), deck.id))
    return {
        "deck": deck.id,
        "mode": settings.mode or deck.mode,
        "store": store(stored(settings, deck, note, needed=False)),
        "recordings": sum(1 for _ in recorded),
        "matrix": _matrix(settings, deck, deck.template) if deck.template else None,
        "misses": _misses(settings, deck, most),
    }


def _matrix(settings: Settings, deck: PromptDeck, template: PromptTemplate) -> dict[str, Any]:
    """How many prompts of the template have a reply, and how many pairs of values are among them."""
    names = list(template.slots)
    cells: set[tuple[str, ...]] = set()
    for entry in in_force(log_path(settings.store, deck.id), settings.sources).values():
        request = None if entry.gone else request_of(entry.query)
        values = template.read(request) if request else None
        if values is not None:
            cells.add(tuple(values[name] for name in names))
    pairs = {
        (a, cell[a], b, cell[b]) for cell in cells for a, b in combinations(range(len(names)), 2)
    }
    sizes = [len(values) for values in template.slots.values()]
    return {
        "count": len(cells),
        "of": template.size,
        "share": len(cells) / template.size,
        "pairs": len(pairs),
        "of_pairs": sum(a * b for a, b in combinations(sizes, 2)),
    }


def _misses(settings: Settings, deck: PromptDeck, most: int) -> dict[str, Any]:
    """Missed prompts by how often; one of which the ledger has the key alone is that key."""
    wanted: Counter[str] = Counter()
    for line in read_ledger(settings.ledger, deck.id):
        pattern = line.get("pattern")
        prompt = line.get("prompt") or (pattern.get("key") if isinstance(pattern, dict) else None)
        if isinstance(prompt, str):
            wanted[prompt] += 1
    rows = [
        {"phrases": [_last_text(prompt)], "times": times}
        for prompt, times in wanted.most_common(most)
    ]
    return {"total": wanted.total(), "distinct": len(wanted), "most_wanted": rows}


def _last_text(prompt: str) -> str:
    """The last text of a prompt, on one line; a key as it is."""
    try:
        request = PromptRequest.from_json(orjson.loads(prompt))
    except (KeyError, TypeError, AttributeError, ValueError):
        return prompt
    texts = [*request.inputs, *(message.text for message in request.messages)]
    return shorten(" ".join((texts or [""])[-1].split()), 200)


def stats_rows(figures: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """The figures as rows of a table."""
    yield "mode", figures["mode"]
    yield from entry_rows(figures["store"])
    yield "recorded by the server", f"{figures['recordings']:,}"
    if matrix := figures["matrix"]:
        yield "prompts of the template", f"{matrix['count']:,} of {matrix['of']:,}"
        yield "pairs of values", f"{matrix['pairs']:,} of {matrix['of_pairs']:,}"
    misses = figures["misses"]
    yield "misses", f"{misses['total']:,}, {misses['distinct']:,} different ones"


def check(deck: PromptDeck) -> Iterator[Finding]:
    """Lines of the file of prompts that cannot be read, and prompts that cannot be cooked."""
    try:
        for number, request in enumerate(read_prompts(deck.folder), 1):
            if not can_cook(request):
                fault = (
                    f"prompt {number} has tools, media or texts to embed: it can only be recorded"
                )
                yield Finding(f"{deck.id}: {PROMPTS_FILE}", fault, error=False)
    except DeckError as error:
        yield Finding(f"{deck.id}: {PROMPTS_FILE}", f"{error.place}: {error.fault}")


def summary(settings: Settings, deck: PromptDeck, today: str) -> Iterator[str]:
    """One line about a deck."""
    if deck.folder is None and not log_path(settings.store, deck.id).exists():
        return
    figures = stats(settings, deck, today or time.strftime("%Y-%m-%d"), 0, lambda _: None)
    yield f"deck {deck.id}: {figures['store']['entries']} entries, mode {figures['mode']}"


def shown(deck: PromptDeck, entry: Entry) -> Shown:
    """The messages of a request, and the texts of the reply's choices."""
    request = request_of(entry.query)
    assert request is not None
    asked: list[tuple[str, str]] = [(message.role, message.text) for message in request.messages]
    asked += [("input", text) for text in request.inputs]
    reply = Reply.from_text(entry.response[REPLY]) if REPLY in entry.response else Reply()
    texts = [choice.text for choice in reply.choices]
    length = max(map(len, texts), default=0)
    return Shown(tuple(asked), dict(zip(_names(reply), texts, strict=True)), length)


def choices(deck: PromptDeck) -> Mapping[str, Sequence[str]]:
    """None: a reply may be anything."""
    return {}


def edited(response: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, str]:
    """The response with other texts; the chunks in which the old ones came are left out."""
    reply = Reply.from_text(response[REPLY])
    choices = tuple(
        replace(choice, text=texts.get(name, choice.text))
        for name, choice in zip(_names(reply), reply.choices, strict=True)
    )
    return {**response, REPLY: replace(reply, choices=choices, pace=()).to_text()}


def _names(reply: Reply) -> list[str]:
    """The names of a reply's texts: `text`, `text 2`, …"""
    return [f"text {n}" if n > 1 else "text" for n in range(1, len(reply.choices) + 1)]
