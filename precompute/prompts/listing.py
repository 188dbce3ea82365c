"""`precompute prompts`: the prompts of a deck and their replies, for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from app.kinds.prompts.deck import PromptDeck
from app.kinds.prompts.gate import REPLY
from app.kinds.prompts.recordings import recordings_folder
from app.settings import Settings
from app.store.in_force import in_force
from app.store.key import PROMPT
from app.store.log import log_path


def listed(settings: Settings, deck: PromptDeck) -> Iterator[dict[str, Any]]:
    """Request, reply and origin of each entry, in the form of `PromptRequest` and `Reply`.

    Those of the store first, then what was recorded and is not taken in yet; each once.
    """
    order = settings.sources
    stored = in_force(log_path(settings.store, deck.id), order)
    recorded = in_force(log_path(recordings_folder(settings.ledger), deck.id), order)
    for entry in {**stored, **{n: e for n, e in recorded.items() if n not in stored}}.values():
        if entry.gone or entry.query.kind != PROMPT:
            continue
        yield {
            "key": entry.key,
            "variant": entry.variant,
            "request": orjson.loads(entry.query.picks[0][1]),
            "reply": orjson.loads(entry.response[REPLY]),
            "source": entry.source,
            "model": entry.model,
            "created": entry.created,
        }
