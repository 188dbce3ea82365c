"""`precompute prompts`: the prompts of a deck and their replies, for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from app.kinds.prompts.deck import PromptDeck
from app.kinds.prompts.gate import REPLY
from app.kinds.prompts.recordings import recordings_folder
from app.settings import Settings
from app.store.key import PROMPT
from app.store.log import Record, log_path, read_log


def listed(settings: Settings, deck: PromptDeck) -> Iterator[dict[str, Any]]:
    """Request, reply and origin of each entry, in the form of `PromptRequest` and `Reply`.

    Those of the store first, then what was recorded and is not taken in yet; each once.
    """
    seen: set[tuple[str, int]] = set()
    for folder in (settings.store, recordings_folder(settings.ledger)):
        for item in read_log(log_path(folder, deck.id)):
            if not isinstance(item, Record) or item.entry.query.kind != PROMPT:
                continue
            entry = item.entry
            if folder != settings.store and (entry.key, entry.variant) in seen:
                continue
            seen.add((entry.key, entry.variant))
            yield {
                "key": entry.key,
                "variant": entry.variant,
                "request": orjson.loads(entry.query.picks[0][1]),
                "reply": orjson.loads(entry.response[REPLY]),
                "source": entry.source,
                "model": entry.model,
                "created": entry.created,
            }
