"""The fast path: answers the most frequent requests (stored answers by key, plays, replayed replies to
prompts) before Flask.

Unusual and wrong requests are passed on to Flask unchanged. What the fast path answers goes through
the same `Service` as Flask's routes and has the same headers; tests compare the two.

Parsing the body of a play costs more than answering it. The bodies that the game's own client sends
are known byte for byte, and a whole request that comes again is answered from `app.edge.repeats`;
any other body is read by `app.kinds.cards.plays`, as Flask's routes do.
"""

from __future__ import annotations

from binascii import hexlify, unhexlify
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple, Protocol

import orjson
import xxhash

from app.edge.repeats import Kept, Repeats
from app.errors import RequestError
from app.kinds.cards.deck import Deck, KnownPick
from app.kinds.cards.plays import GAME, HAND, Play
from app.kinds.cards.service import ServedCards
from app.store.answer import WHOLE_TIERS
from app.web.app import BALLOT, EXPOSED
from app.web.dialects import is_prompt_path
from app.web.service import MAX_BODY, ReplayedResponse, Service, stored_answer

# Pairs of a name in lower case and a value.
Headers = list[tuple[str, str]]

_ANSWERS = "/api/answers/"
_GAME = "/api/generate-poem"
_BALLOT = BALLOT.lower()
_TYPE = ("content-type", "application/json")
_NO_CACHE = ("cache-control", "no-cache")
_FIRST, _NEXT = b'{"selectedPairs":[{"conditionCard":', b'},{"conditionCard":'
_BETWEEN, _LAST = b',"selectedPoem":', b"}]}"
# Conditional headers other than If-None-Match; Flask answers requests that have them.
_CONDITIONS = ("if-match", "if-modified-since", "if-unmodified-since", "if-range", "range")


class RequestHeaders(Protocol):
    """A request's headers, with names in lower case."""

    def get(self, key: str) -> str | None:
        """The first value of a header, None if the request lacks it."""

    def get_all(self, key: str) -> list[str]:
        """All values of a header."""


class RsgiResponse(NamedTuple):
    """A response."""

    status: int
    headers: Headers
    body: bytes


class FastPath:
    """Answers frequent requests. `headers` are added to every response."""

    def __init__(self, service: Service, headers: Iterable[tuple[str, str]]) -> None:
        self._service = service
        self._timer = service.timer
        self._repeats = Repeats()
        self._plays: dict[str, tuple[ServedCards, GameBodies | None]] = {
            f"/api/decks/{deck}/answer": (served, None) for deck, served in service.cards.items()
        }
        # There is none if the server has decks of characters only.
        if game := service.cards.get(service.settings.deck):
            self._plays[_GAME] = (game, GameBodies(game.deck))
        # If a token is needed, Flask asks for it.
        self._prompts = not service.settings.token
        if self._prompts:
            service.keep_replay = self._keep_replay
        self._origins = service.settings.cors_origins
        self._common = [(name.lower(), value) for name, value in headers]
        if self._origins:
            self._common.append(("vary", "Origin"))
        # Cached, because nearly all requests have the same few values.
        self._refusal = lru_cache(maxsize=1024)(service.access.refusal)

    def get(self, path: str, headers: RequestHeaders) -> RsgiResponse | None:
        """The response to a GET without a query; None if it is for Flask."""
        if not path.startswith(_ANSWERS):
            return None
        origin = self._admitted("GET", headers)
        if origin is None or any(headers.get(name) is not None for name in _CONDITIONS):
            return None
        kept = self._repeats.find(path, b"") or self._stored(path)
        if kept is None:
            return None
        wanted = headers.get("if-none-match")
        if wanted not in (None, kept.headers[0][1]):
            # A list, a weak tag or a star may still match.
            return None
        self._service.counters.fetched(kept.deck)
        common = [_NO_CACHE, *kept.headers, *self._shared(origin)]
        if wanted:
            return RsgiResponse(304, common, b"")
        return RsgiResponse(200, [_TYPE, *common], kept.body)

    def post(self, path: str, headers: RequestHeaders, body: bytes) -> RsgiResponse | None:
        """The response to a POST without a query; None if it is for Flask."""
        begun = self._timer()
        play = self._plays.get(path)
        # What is not a play may be a prompt whose reply Flask has handed over.
        if len(body) > MAX_BODY or (play is None and not self._replays(path)):
            return None
        origin = self._admitted("POST", headers)
        if origin is None:
            return None
        kept = self._repeats.find(path, body)
        if kept is not None:
            self._service.counters.answered(kept.deck, kept.tier, self._timer() - begun)
        elif play is not None:
            kept = self._played(path, body, *play)
        if kept is None:
            return None
        return RsgiResponse(200, [*kept.headers, *self._shared(origin)], kept.body)

    def _replays(self, path: str) -> bool:
        return self._prompts and is_prompt_path(path)

    def _keep_replay(self, path: str, asked: bytes, replay: ReplayedResponse) -> None:
        if len(asked) <= MAX_BODY:
            headers = tuple((name.lower(), value) for name, value in replay.headers)
            kept = Kept(replay.served.deck.id, replay.tier, headers, replay.body)
            self._repeats.keep(path, asked, kept, replay.served, replay.state)

    def _admitted(self, method: str, headers: RequestHeaders) -> str | None:
        """The request's origin, empty if it names none; None if the request must be refused."""
        hosts = headers.get_all("host")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        # Long ones would fill the cache of refusals: they are left to Flask.
        if len(hosts) != 1 or len(hosts[0]) + len(origin or "") + len(site or "") > 512:
            return None
        return None if self._refusal(method, hosts[0], origin, site) else origin or ""

    def _shared(self, origin: str) -> Headers:
        """The headers of all responses, with those of CORS if `origin` is allowed."""
        if origin and origin in self._origins:
            leave = ("access-control-allow-origin", origin)
            return [*self._common, leave, ("access-control-expose-headers", EXPOSED)]
        return self._common

    def _stored(self, path: str) -> Kept | None:
        key = _raw_key(path[len(_ANSWERS) :])
        found = stored_answer(self._service, key, 0) if key else None
        if found is None:
            return None
        body, deck, index, state = found
        kept = Kept(deck, "", (("etag", f'"{xxhash.xxh3_64_hexdigest(body)}"'),), body)
        self._repeats.keep(path, b"", kept, index, state)
        return kept

    def _played(
        self, path: str, body: bytes, served: ServedCards, bodies: GameBodies | None
    ) -> Kept | None:
        asked = _play(served, body, bodies)
        if asked is None:
            return None
        state = served.index.state()
        found = served.answer_at_once(*asked)
        if found is None:
            # Flask asks models, in a thread, and refuses what no tier can answer.
            return None
        tier, answer = found
        ballot = self._service.ballots.of_body(served.deck.id, answer)
        kept = Kept(served.deck.id, tier, (_TYPE, (_BALLOT, ballot)), answer)
        if tier in WHOLE_TIERS:
            self._repeats.keep(path, body, kept, served.index, state)
        return kept


def _raw_key(text: str) -> bytes | None:
    """The 16 bytes of a key in its canonical notation; None for anything else."""
    try:
        key = unhexlify(text)
    except ValueError:
        return None
    return key if len(key) == 16 and hexlify(key).decode() == text else None


class GameBodies:
    """Recognises bodies of the game's own client, which sends whole cards as they were dealt.

    Such a body is made of known parts, one for each pair of card and phrase, and need not be
    parsed, which would cost more than everything else. A body that differs in a byte must be
    parsed.
    """

    def __init__(self, deck: Deck) -> None:
        self._picks = {
            b"%b%b%b" % (orjson.dumps(card.raw), _BETWEEN, orjson.dumps(poem)): deck.known_picks[
                card.id, poem["id"]
            ]
            for card in deck.cards
            for poem in card.raw.get("poems", ())
        }

    def picks(self, body: bytes) -> list[KnownPick] | None:
        """The picks in a body, or None if it must be parsed."""
        if not (body.startswith(_FIRST) and body.endswith(_LAST)):
            return None
        known = self._picks
        try:
            return [known[pair] for pair in body[len(_FIRST) : -len(_LAST)].split(_NEXT)]
        except KeyError:
            return None


def _play(served: ServedCards, body: bytes, bodies: GameBodies | None) -> Play | None:
    """The play that a body asks for; None if the body is wrong."""
    picks = bodies.picks(body) if bodies else None
    if picks is not None:
        query = served.deck.play_of(picks)
        return Play(query) if query else None
    try:
        return (GAME if bodies else HAND).read(served.deck, orjson.loads(body))
    except (orjson.JSONDecodeError, RequestError):
        return None
