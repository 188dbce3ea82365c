"""A conversation with a character in the terminal, through the ladder that a server has.

Nothing is sent over a network and nothing is written down: only the tiers without a model answer,
and the conversation's state is in memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from random import Random

from app.errors import PlanError, RequestError
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.service import ServedChat
from app.kinds.chat.turn import Reply, Turn
from app.kinds.kind import Serving
from app.kinds.served_models import ServedModels
from app.ledger.counters import Counters
from app.ledger.state import State
from app.settings import Settings

_WITHOUT_MODEL = ("learned", "rules", "fallback")


def replies(
    settings: Settings,
    deck: CharacterDeck,
    character: str | None,
    conversation: str,
    said: Iterable[str],
) -> Iterator[Reply]:
    """The replies to the messages `said`, one by one. Raises PlanError if there is no such character."""
    served = ServedChat(deck, _serving(settings))
    try:
        who = deck.known_character(character)
    except RequestError as error:
        raise PlanError(f"--character: {error}") from None
    messages: list[Mapping[str, str]] = []
    for text in filter(None, map(str.strip, said)):
        messages.append({"role": "user", "content": text})
        turn = Turn(deck, who, tuple(messages), conversation, "", served.local())
        *_, reply = served.answer(served.with_care(turn))
        assert isinstance(reply, Reply)
        messages.append({"role": "assistant", "content": reply.text})
        yield reply


def _serving(settings: Settings) -> Serving:
    tiers = tuple(tier for tier in settings.chat_tiers if tier in _WITHOUT_MODEL)
    settings = replace(settings, chat_tiers=tiers, chat_vary=False, misses=False)
    state = State(None, time.time)
    models = ServedModels(settings, settings.ledger, time.monotonic)
    counters = Counters(state, "")
    return Serving(
        settings, state, counters, models, time.monotonic, time.perf_counter, str, Random()
    )
