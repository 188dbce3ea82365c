"""A deck of prompts as a worker serves it: replays what was recorded, or asks upstream and records."""

from __future__ import annotations

import logging
import struct
from collections.abc import Generator, Mapping
from dataclasses import replace
from functools import cached_property
from random import Random
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import orjson

from app.errors import PromptMissError, StoreWriteError, UpstreamError
from app.kinds.figures import store
from app.kinds.kind import Serving
from app.kinds.prompts.deck import PromptDeck
from app.kinds.prompts.gate import REPLY, PromptGate
from app.kinds.prompts.key import for_any_model, query_of, without
from app.kinds.prompts.nearest import Nearest, Neighbour
from app.kinds.prompts.recordings import Recordings, recordings_folder
from app.kinds.prompts.replies import Replies
from app.kinds.prompts.reply import (
    ASKED,
    EXACT,
    NEAR,
    About,
    Asked,
    Chunk,
    PromptAnswer,
    Reply,
    Tier,
)
from app.kinds.prompts.request import PromptRequest
from app.kinds.refusal import Refusal
from app.ledger.counters import answer_summary
from app.ledger.misses import Ledger
from app.ledger.state import KeyedValues
from app.providers.flights import Flights, Work
from app.providers.openai import OPENAI
from app.providers.secret import Secret
from app.providers.transport import is_local, origin
from app.providers.upstream import BAD_GATEWAY, Holding, Received, ServiceAddress, Upstream
from app.settings import Settings
from app.store.entry import Entry, Usage
from app.store.holder import IndexHolder
from app.store.key import Query
from app.store.lock import alone
from app.store.log import log_path

log = logging.getLogger(__name__)

MISSED = "missed"
# Before the check, in the ledger's line of a reply that was not kept.
NOT_KEPT = "not kept: "
# The fingerprint of entries that were recorded, not cooked.
FINGERPRINT = "recorded"
# Conversations whose place in a sequence of answers is remembered, and for how many seconds.
CONVERSATIONS, FORGET_SECONDS = 4096, 3600.0
_MOST_TOKENS = 10**9
# Fields that a miss names.
_MOST_FIELDS = 4
_TURN = struct.Struct("<I")


class _Found(NamedTuple):
    """A recorded reply, how it was found, and whether it is the only one for its key."""

    reply: Reply
    about: About
    only: bool


def addresses(settings: Settings, deck: PromptDeck) -> dict[str, ServiceAddress]:
    """The upstreams of a deck by dialect.

    A key goes to the settings' address only: a deck may come from a stranger.
    """
    gemini = settings.gemini_api_key or settings.google_api_key
    host = settings.ollama_host
    usual = {
        "openai": ServiceAddress(
            settings.openai_base_url or OPENAI,
            settings.openai_api_key,
            ("authorization", "Bearer "),
        ),
        "ollama": ServiceAddress(host if "//" in host else f"http://{host}", Secret(""), ("", "")),
        "gemini": ServiceAddress(settings.gemini_base_url, gemini, ("x-goog-api-key", "")),
    }
    for dialect, url in deck.upstreams.items():
        known = usual[dialect]
        key = known.key if origin(url) == origin(known.url) else Secret("")
        usual[dialect] = ServiceAddress(url, key, known.header)
    return usual


class ServedPrompts:
    """One deck of prompts as it is served."""

    def __init__(self, deck: PromptDeck, serving: Serving) -> None:
        settings = serving.settings
        self.deck = deck
        self.mode = settings.mode or deck.mode
        self.index = IndexHolder(settings.store_options, deck.id, serving.clock)
        self._settings = settings
        self._counters = serving.counters
        self._timer = serving.timer
        self._now = serving.now
        self._sleep = serving.sleep
        self._run = serving.run
        self._gate = PromptGate(deck.checks)
        self._replies = Replies(
            self.index, Recordings(settings.ledger, deck.id), approved=settings.approved
        )
        folder = recordings_folder(settings.ledger)
        self._flights = Flights[Chunk, Reply]()
        self._holding = Holding()
        self._lock_file = folder / f"{deck.id}.flights"
        self._nearest = Nearest(log_path(settings.store, deck.id), log_path(folder, deck.id))
        self._ledger = Ledger(settings.ledger, deck.id)
        self._turns = KeyedValues(
            serving.state, f"prompts {deck.id}", CONVERSATIONS, _TURN.size, FORGET_SECONDS
        )
        self._addresses = addresses(settings, deck)
        self._upstreams: dict[str, Upstream] = {}

    @cached_property
    def body(self) -> bytes:
        """The body of `GET /api/decks/<deck>`."""
        deck = self.deck
        value = {"id": deck.id, "name": deck.name, "mode": self.mode, "models": list(deck.models)}
        return orjson.dumps(value)

    def models(self) -> list[str]:
        """The names of the models that are asked in what is recorded."""
        return self._nearest.models()

    def state(self) -> object | None:
        """Equal for as long as the replies are the same."""
        return self.index.state(), self._replies.recordings.state()

    def health(self) -> dict[str, Any]:
        """For `/healthz`."""
        return {"index": self.index() is not None, "mode": self.mode}

    def figures(self) -> dict[str, Any]:
        """For `/stats`."""
        index = self.index()
        answers = answer_summary(self._counters.by_tier(self.deck.id))
        return {
            "mode": self.mode,
            "store": {
                **store(index.meta() if index else None),
                "problem": self.index.problem or None,
            },
            "answers": {"total": answers["total"], "by_tier": answers["by_tier"]},
            "passed": self._counters.passes(self.deck.id),
        }

    def answer(self, asked: Asked) -> PromptAnswer:
        """The answer to a request. If it comes from upstream, its first chunk is there already.

        Raises PromptMissError, UpstreamError, and RequestError for a request without a key.
        """
        begun = self._timer()
        query = query_of(self.deck.id, asked.request, self.deck.rules)
        if self.mode != "record" and (found := self._found(query, asked)):
            self._counters.answered(self.deck.id, found.about.tier, self._timer() - begun)
            pace = self.deck.pace
            played = self._played(found.reply, asked.stream, pace)
            fixed = found.about.tier == EXACT and found.only
            return PromptAnswer(found.about, played, fixed, ready=not pace)
        if self.mode == "replay":
            self._counters.answered(self.deck.id, MISSED, self._timer() - begun)
            raise self._missed(query)
        # In the mode auto there was none: one that came since answers this request too.
        before = self._replies.count(query.key) if self.mode == "record" else 0
        asked.waits()
        events = _primed(self._recorded(query, asked, before))
        self._counters.answered(self.deck.id, ASKED, self._timer() - begun)
        return PromptAnswer(About(ASKED, query.key), events)

    # Replaying.

    def _found(self, query: Query, asked: Asked) -> _Found | None:
        """What is recorded for the request itself, for any model, or for one much like it."""
        found = self._turn_of(About(EXACT, query.key), asked.conversation)
        if found is not None:
            return found
        request = for_any_model(asked.request)
        found = self._cooked(request, asked, EXACT)
        if found is None and self.deck.near is not None:
            found = self._by_slots(asked) or self._by_wording(query, asked, self.deck.near)
        return found

    def _cooked(self, request: PromptRequest | None, asked: Asked, tier: Tier) -> _Found | None:
        """What is stored for a request of any model."""
        if request is None:
            return None
        key = query_of(self.deck.id, request, self.deck.rules).key
        return self._turn_of(About(tier, key), asked.conversation)

    def _by_slots(self, asked: Asked) -> _Found | None:
        template = self.deck.template
        values = template.read(asked.request) if template else None
        if template is None or values is None:
            return None
        return self._cooked(template.filled(values), asked, NEAR)

    def _by_wording(self, query: Query, asked: Asked, least: float) -> _Found | None:
        like = self._nearest.find(query.picks[0][1])
        if like is None or not like.may_answer or 1 - like.distance < least:
            return None
        return self._turn_of(About(NEAR, like.key, like.distance), asked.conversation)

    def _turn_of(self, about: About, conversation: str) -> _Found | None:
        """The reply whose turn it is in this conversation; None if none is recorded."""
        key = about.key
        first = self._replies.find(key, 0)
        if first is None:
            return None
        if not self._replies.has(key, 1):
            return _Found(first, about, only=True)
        count = self._replies.count(key)
        # Every run of the server begins the sequences anew.
        turn = self._turns.change(f"{self._run} {conversation} {key}", _next_turn)
        if self.deck.answers == "random":
            rng = Random(f"{self.deck.seed} {key} {conversation} {turn}")
            reply = self._replies.find(key, rng.randrange(count))
        else:
            reply = self._replies.find(key, min(turn, count - 1))
        return None if reply is None else _Found(reply, about, only=False)

    def _played(
        self, reply: Reply, stream: bool, pace: float
    ) -> Generator[Chunk, None, Reply]:  # fmt: skip
        begun = self._timer()
        for chunk in reply.chunks() if stream else ():
            wait = chunk.at / 1000 / pace - (self._timer() - begun) if pace else 0.0
            if wait > 0:
                self._sleep(wait)
            yield chunk
        return reply

    def _missed(self, query: Query) -> PromptMissError:
        self._note(query, MISSED)
        nearest = self._nearest.find(query.picks[0][1])
        return miss_error(self.deck.miss.status, self.deck.id, query.key, nearest)

    def _note(self, query: Query, why: str) -> None:
        """Note in the ledger that nothing is kept for a prompt."""
        if self._settings.misses:
            # Without the deck's word, the ledger has the key alone: a prompt may be private.
            keep = self.deck.miss.keep
            noted = query if keep else Query.pattern(self.deck.id, [("key", query.key)])
            self._ledger.miss(noted, 0, why, self._now())

    # Recording.

    def _recorded(
        self, query: Query, asked: Asked, before: int
    ) -> Generator[Chunk, None, Reply]:  # fmt: skip
        """A reply from upstream, which all requests for the same that are in flight share.

        `before` is the number of recordings when the request came.
        """

        def begin() -> Work[Chunk, Reply]:
            # Held until the last who waits has all of it, however slowly a client reads.
            received = Received(self._holding)
            return Work(self._asked_alone(query, asked, before, received), received.drop)

        end, _ = yield from self._flights.share(query.key, begin)
        if isinstance(end, Exception):
            raise end
        # It cannot be None, because the upstream's limit of time is the only one.
        return cast("Reply", end)

    def _asked_alone(
        self, query: Query, asked: Asked, before: int, received: Received
    ) -> Generator[Chunk, None, Reply]:
        with alone(self._lock_file, query.key):
            count = self._replies.count(query.key)
            newest = self._replies.find(query.key, count - 1) if count > before else None
            if newest is not None:
                # Another worker was faster.
                yield from newest.chunks()
                return newest
            try:
                reply = yield from self._from_upstream(asked, received)
            except UpstreamError as error:
                self._counters.passed(self.deck.id, ASKED, "fault", f"upstream {error.status}")
                raise
            return replace(reply, not_kept=self._keep(query, asked, reply))

    def _from_upstream(self, asked: Asked, received: Received) -> Generator[Chunk, None, Reply]:
        upstream = self._upstream(asked.dialect)
        if not asked.stream:
            reply = asked.reader().whole(upstream.ask(asked.path, asked.body, received))
            # For requests for a stream, which may share it.
            yield from reply.chunks()
            return reply
        begun = self._timer()
        reader = asked.reader()
        pace: list[Chunk] = []
        for data in upstream.stream(asked.path, asked.body, received):
            at = round((self._timer() - begun) * 1000, 1)
            for chunk in reader.feed(data):
                pace.append(chunk._replace(at=at))
                yield pace[-1]
        return replace(reader.end(), pace=tuple(pace))

    def _upstream(self, dialect: str) -> Upstream:
        """The upstream for a dialect, made when it is first asked. Raises UpstreamError."""
        if dialect not in self._upstreams:
            address = self._addresses[dialect]
            parts = urlsplit(address.url)
            if is_local(address.url) and parts.port == self._settings.port:
                raise UpstreamError(
                    BAD_GATEWAY, f"the upstream for {dialect} is this server itself: {address.url}"
                )
            self._upstreams[dialect] = Upstream(address, self._settings.timeout)
        return self._upstreams[dialect]

    def _keep(self, query: Query, asked: Asked, reply: Reply) -> str:
        """Record a reply that the gate passes. The others are answered, and noted; returns why."""
        refusal = self._refusal(query, asked, reply)
        if refusal is not None:
            log.warning("deck %s: a reply is not kept: %s", self.deck.id, refusal)
            self._counters.passed(self.deck.id, ASKED, "gate", refusal.check)
            self._note(query, f"{NOT_KEPT}{refusal.check}")
            return refusal.check
        text = redacted(reply, self.deck.rules.redact).to_text()

        def entry(variant: int) -> Entry:
            return Entry(
                key=query.key,
                variant=variant,
                query=query,
                response={REPLY: text},
                source=asked.dialect,
                model=reply.model,
                fingerprint=FINGERPRINT,
                created=self._now(),
                # An upstream may say anything; an entry may not.
                usage=Usage(*(float(min(tokens, _MOST_TOKENS)) for tokens in reply.usage)),
            )

        try:
            self._replies.recordings.keep(entry, lambda n: not self._replies.stored(query.key, n))
        except StoreWriteError as error:
            log.warning("deck %s: a reply is not kept: %s", self.deck.id, error)
            self._counters.passed(self.deck.id, ASKED, "fault", "disk")
            return "disk"
        return ""

    def _refusal(self, query: Query, asked: Asked, reply: Reply) -> Refusal | None:
        wants_json = asked.request.format is not None
        for refusal in self._gate.of_reply(reply, wants_json=wants_json):
            return refusal
        text = query.picks[0][1] + reply.to_text()
        if any(key and key.scrub(text) != text for _, key, _ in self._addresses.values()):
            return Refusal("secret", "the text has one of the server's own keys in it")
        return None


def _next_turn(row: bytearray) -> int:
    """The number of a conversation's turn, which is counted."""
    (turn,) = _TURN.unpack(row)
    _TURN.pack_into(row, 0, min(turn + 1, (1 << 32) - 1))
    return int(turn)


def _primed(events: Generator[Chunk, None, Reply]) -> Generator[Chunk, None, Reply]:
    """The same events, the first of which has come: faults before it are raised here."""
    try:
        first = next(events)
    except StopIteration as stop:
        return _only(stop.value)
    return _after(first, events)


def _only(reply: Reply) -> Generator[Chunk, None, Reply]:
    yield from ()
    return reply


def _after(first: Chunk, events: Generator[Chunk, None, Reply]) -> Generator[Chunk, None, Reply]:
    try:
        yield first
        return (yield from events)
    finally:
        events.close()


def redacted(reply: Reply, patterns: tuple[str, ...]) -> Reply:
    """A reply without what the patterns match; without its chunks if it has any of that in it."""

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return without(value, patterns)
        if isinstance(value, Mapping):
            return {name: clean(one) for name, one in value.items()}
        if isinstance(value, list):
            return [clean(one) for one in value]
        return value

    if not patterns:
        return reply
    choices = tuple(
        replace(
            choice,
            text=clean(choice.text),
            tool_calls=tuple(
                replace(call, arguments=clean(call.arguments)) for call in choice.tool_calls
            ),
        )
        for choice in reply.choices
    )
    same = choices == reply.choices
    return replace(reply, choices=choices, pace=reply.pace if same else ())


def miss_error(status: int, deck: str, key: str, nearest: Neighbour | None) -> PromptMissError:
    """The error for a prompt of which nothing is recorded."""
    # The nearest is the prompt itself if its reply is there, but was rejected.
    if nearest is None or not nearest.differs:
        return PromptMissError(status, f"nothing is recorded in deck {deck!r}", key, "", "")
    said = f"nothing is recorded for this prompt in deck {deck!r} under {key}"
    differs = ", ".join(nearest.differs[:_MOST_FIELDS])
    if nearest.distance < 1:
        like = f"did you mean {nearest.key}? It differs in {differs}"
        said += f"; {like} (distance {nearest.distance:.2f})"
    else:
        said += f"; the nearest, {nearest.key}, has no word in common with it"
    return PromptMissError(status, said, key, nearest.key, nearest.differs[0])
