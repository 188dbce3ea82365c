"""`precompute why`: which recording answers a request, or why none does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from app.errors import IndexUnusableError, PlanError, RequestError
from app.kinds.decks import load_all
from app.kinds.prompts.deck import RECORDED, PromptDeck
from app.kinds.prompts.key import for_any_model, query_of
from app.kinds.prompts.nearest import Nearest, differing, fields_of
from app.kinds.prompts.recordings import Recordings, recordings_folder
from app.kinds.prompts.replies import Replies
from app.kinds.prompts.request import PromptRequest
from app.kinds.prompts.service import MISSED, NOT_KEPT
from app.kinds.reading import text_of
from app.ledger.misses import read_ledger
from app.settings import Settings
from app.store.index import Index
from app.store.key import Query
from app.store.log import log_path, read_records
from precompute.prompts.bodies import read_line, read_sent

# Characters of a value that are shown.
_SHOWN = 300


def read_request(path: Path, sent_to: str | None) -> PromptRequest:
    """The request in a file, a body as a client sends it. Raises PlanError."""
    try:
        body = orjson.loads(text_of(path))
        return read_sent(sent_to, body).request if sent_to else read_line(body)
    except orjson.JSONDecodeError as error:
        raise PlanError(f"{path}: not JSON: {error.msg}") from None
    except RequestError as error:
        hint = "" if sent_to else "; if it is of another dialect, say --path"
        raise PlanError(f"{path}: {error.detail}{hint}") from None


def deck_of(settings: Settings, model: str) -> str:
    """The id of the deck of prompts that answers for a model. Raises DeckError."""
    decks = load_all(settings.decks).values()
    prompts = [deck for deck in decks if isinstance(deck, PromptDeck)]
    return next((deck.id for deck in prompts if model in (deck.id, *deck.models)), RECORDED)


def explain(settings: Settings, deck: PromptDeck, request: PromptRequest) -> dict[str, Any]:
    """What a deck has for a request, and how it was found or missed."""
    query = query_of(deck.id, request, deck.rules)
    found: dict[str, Any] = {"deck": deck.id, "key": query.key, "hit": False}
    left_out = sorted(request.options.keys() - deck.rules.options)
    found["not in the key"] = [*left_out, *([] if deck.rules.model else ["model"])]
    replies = Replies(_index(settings, deck), Recordings(settings.ledger, deck.id))
    if count := replies.count(query.key):
        return {**found, "hit": True, "by": "the prompt itself", "replies": count}
    bare = for_any_model(request)
    if bare and (count := replies.count(query_of(deck.id, bare, deck.rules).key)):
        return {**found, "hit": True, "by": "a reply for any model", "replies": count}
    values = deck.template.read(request) if deck.template else None
    if deck.template and values is not None:
        filled = query_of(deck.id, deck.template.filled(values), deck.rules).key
        found["slots"] = values
        if count := replies.count(filled):
            near = deck.near is not None
            by = "the template's slots" if near else "only its spelling differs; 'near' is off"
            return {**found, "hit": near, "by": by, "replies": count}
    if not request.model and deck.rules.model:
        found["model"] = "none; a request to Gemini has it in its path: say --path"
    found |= _noted(settings, deck.id, query.key)
    return {**found, **_nearest(settings, deck, query.picks[0][1])}


def _noted(settings: Settings, deck: str, key: str) -> dict[str, Any]:
    """What the ledger says of a prompt without a reply."""
    found: Counter[str] = Counter()
    for line in read_ledger(settings.ledger, deck):
        try:
            query = Query.from_json(line)
        except (KeyError, TypeError, AttributeError):
            continue
        if key in (query.key, dict(query.picks).get("key")):
            found[str(line.get("tier"))] += 1
    kept_none = {
        name.removeprefix(NOT_KEPT): times
        for name, times in found.items()
        if name.startswith(NOT_KEPT)
    }
    return {"missed": found[MISSED], "not kept": kept_none}


def _index(settings: Settings, deck: PromptDeck) -> Any:
    try:
        index: Index | None = Index(settings.store, deck.id)
    except IndexUnusableError:
        index = None
    return lambda: index


def _nearest(settings: Settings, deck: PromptDeck, canonical: str) -> dict[str, Any]:
    logs = [
        log_path(settings.store, deck.id),
        log_path(recordings_folder(settings.ledger), deck.id),
    ]
    like = Nearest(*logs).find(canonical)
    if like is None:
        return {"nearest": None}
    entries = (item.entry for path in logs for item in read_records(path))
    entry = next(entry for entry in entries if entry.key == like.key)
    asked, recorded = fields_of(canonical), fields_of(entry.query.picks[0][1])
    near = deck.near is not None and like.may_answer and 1 - like.distance >= deck.near
    differences = {
        name: {"asked": asked.get(name), "recorded": recorded.get(name)}
        for name in differing(asked, recorded)
    }
    return {
        "hit": near,
        "by": "a near prompt" if near else "",
        "nearest": like.key,
        "distance": round(like.distance, 3),
        "differs in": differences,
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The explanation for a person."""
    if found["hit"]:
        yield f"hit: deck {found['deck']} answers by {found['by']}"
    else:
        yield f"miss: deck {found['deck']} has nothing for this request" + (
            f": {found['by']}" if found.get("by") else ""
        )
    yield f"key: {found['key']}"
    if found["not in the key"]:
        yield f"not in the key: {', '.join(found['not in the key'])}"
    yield from _of_the_miss(found)
    if "replies" in found:
        yield f"replies: {found['replies']}"
    for name, value in found.get("slots", {}).items():
        yield f"slot {name}: {value}"
    if found.get("nearest"):
        yield f"nearest: {found['nearest']} (distance {found['distance']})"
        for name, pair in found["differs in"].items():
            yield f"  {name}"
            yield f"    asked:    {_shown(pair['asked'])}"
            yield f"    recorded: {_shown(pair['recorded'])}"
    elif "nearest" in found:
        yield "nearest: nothing is recorded in this deck"


def _of_the_miss(found: Mapping[str, Any]) -> Iterator[str]:
    if "model" in found:
        yield f"model: {found['model']}"
    if found.get("missed"):
        yield f"missed: {found['missed']} times"
    for check, times in found.get("not kept", {}).items():
        yield f"not kept: a reply came {times} times and was refused: {check}"


def _shown(value: Any) -> str:
    text = "nothing" if value is None else orjson.dumps(value).decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
