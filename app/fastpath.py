"""What is asked most, answered from the bytes of the request: stored answers by key, and plays.

It stands between the connection and everything else, and answers or falls through. It answers only
what is plain and whole; anything unusual, and everything that is wrong, is for the HTTP parser and
for Flask, which are then given the same bytes. What it does answer goes through the same `House` as
Flask's routes and has the same headers; a contract suite holds the two against each other.

Parsing a request costs more than answering it. A client's headers are the same bytes again and
again, so they are parsed once and known by their bytes from then on; so are the cards in the bodies
that the game's own client sends. (It was WSGI middleware first. What a WSGI server does for a
request, whatever answers it, cost twice as much as all that is done here.)
"""

from __future__ import annotations

from binascii import hexlify, unhexlify
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

import httptools
import orjson
import xxhash

from app.core.answer import WHOLE_TIERS
from app.core.deck import Deck, Seat
from app.core.key import Query
from app.errors import RequestError
from app.house import MAX_BODY, MAX_VARIANT, House, Table, stored_answer
from app.repeats import Repeats, Response

# Names in lower case, and values.
Headers = list[tuple[bytes, bytes]]

_GET, _HEAD = b"GET /api/answers/", b"HEAD /api/answers/"
_VERSION = b" HTTP/1.1"
_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
_KEPT = b"\r\ncache-control: no-cache\r\netag: "
_SAME = b"HTTP/1.1 304 Not Modified" + _KEPT
_FIRST, _NEXT = b'{"selectedPairs":[{"conditionCard":', b'},{"conditionCard":'
_BETWEEN, _LAST = b',"selectedPoem":', b"}]}"
# A request with one of these may want something else than one whole answer, sent at once.
_UNUSUAL = frozenset(
    b"connection expect if-match if-modified-since if-range if-unmodified-since range "
    b"transfer-encoding upgrade".split()
)
# How many clients' headers are known by their bytes, and how long they may be: 2 MB in all at most.
_KNOWN, _LONGEST = 2048, 1024


class Plain(NamedTuple):
    """What matters of the headers of a plain request. `etag` is what If-None-Match says."""

    length: int
    origin: bytes
    etag: bytes | None
    # As a POST is judged by them: a GET from a page of another origin is for Flask.
    sender: tuple[str, str | None, str | None]


class _Collector:
    """Takes what the parser finds."""

    def __init__(self) -> None:
        self.found: Headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.found.append((name.lower(), value))


def read_plain(lines: bytes) -> Plain | None:
    """What headers say, from the lines between the request's first and the empty one.

    None where they are not plain: unusual, told twice, or wrong.
    """
    collector = _Collector()
    try:
        httptools.HttpRequestParser(collector).feed_data(
            b"POST / HTTP/1.1\r\n" + lines + b"\r\n\r\n"
        )
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    told = dict(collector.found)
    if told.get(b"connection") == b"keep-alive":
        # What HTTP/1.1 does anyway, and what many clients say.
        del told[b"connection"]
        collector.found.remove((b"connection", b"keep-alive"))
    length = told.get(b"content-length", b"0")
    if (
        len(told) < len(collector.found)
        or not _UNUSUAL.isdisjoint(told)
        or b"host" not in told
        or not length.isdigit()
        or len(length) > 6
    ):
        return None
    host, origin, site = (
        told[name].decode("latin-1") if name in told else None
        for name in (b"host", b"origin", b"sec-fetch-site")
    )
    assert host is not None
    sender = (host, origin, site)
    return Plain(int(length), told.get(b"origin", b""), told.get(b"if-none-match"), sender)


class FastPath:
    """Answers what is plain. `headers` are those of every answer."""

    def __init__(self, house: House, headers: Iterable[tuple[str, str]]) -> None:
        self._house = house
        self._timer = house.timer
        self._repeats = Repeats()
        self._plays: dict[bytes, tuple[Table, GameBodies | None]] = {
            f"POST /api/decks/{quote(deck)}/answer HTTP/1.1".encode(): (table, None)
            for deck, table in house.tables.items()
        }
        # A server of chats alone has none.
        if game := house.tables.get(house.settings.deck):
            self._plays[b"POST /api/generate-poem HTTP/1.1"] = (game, GameBodies(game.deck))
        self._known: dict[bytes, Plain | None] = {}
        self._common = [(name.lower().encode(), value.encode()) for name, value in headers]
        self._origins = [origin.encode() for origin in house.settings.cors_origins]
        if self._origins:
            self._common.append((b"vary", b"Origin"))
        self._dated: Headers = []
        self._dress()

    def _dress(self) -> None:
        """Make the headers that all answers share, and for each origin that may call its own."""
        every = [*self._dated, *self._common]
        self._headers = _lines(every)
        self._headers_of = {
            origin: _lines(
                [
                    *every,
                    (b"access-control-allow-origin", origin),
                    (b"access-control-expose-headers", b"X-Tsukurioki-Ballot"),
                ]
            )
            for origin in self._origins
        }

    def answer(self, data: bytes, dated: Headers) -> bytes | None:
        """The response to the bytes of a request; None where they are not just one, and plain.

        `dated` are headers that every response has, another list where one of them has changed.
        """
        begun = self._timer()
        response = self._repeats.find(data)
        if response is None:
            response = self._fresh(data)
            if response is None:
                return None
            deck, tier, origin, start, body = response
        else:
            deck, tier, origin, start, body = response
            if tier is None:
                self._house.counters.fetched(deck)
            else:
                self._house.counters.answered(deck, tier, self._timer() - begun)
        if dated is not self._dated:
            self._dated = dated
            self._dress()
        # Nearly every answer: no origin may call that is not named.
        headers = self._headers_of.get(origin, self._headers) if origin else self._headers
        return b"".join((start, headers, body))

    def _fresh(self, data: bytes) -> Response | None:
        """The response to a request that was not there lately."""
        line, lines, body = _cut(data)
        play = self._plays.get(line)
        if play is None and not (line.startswith((_GET, _HEAD)) and line.endswith(_VERSION)):
            return None
        plain = self._plain(lines)
        if plain is None or plain.length != len(body):
            return None
        if play is not None:
            return self._played(data, *play, body, plain.origin)
        return None if body else self._stored(data, line, plain)

    def lacks(self, data: bytes) -> bool:
        """Whether these bytes begin a plain play, and the rest of its body is still to come."""
        line, lines, body = _cut(data)
        plain = self._plain(lines) if line in self._plays else None
        return plain is not None and len(body) < plain.length <= MAX_BODY

    def _plain(self, lines: bytes) -> Plain | None:
        known = self._known
        if lines in known:
            return known[lines]
        plain = read_plain(lines)
        if plain and self._house.access.refusal("POST", *plain.sender):
            plain = None
        # An etag belongs to one answer, and its headers are hardly seen again.
        if len(lines) <= _LONGEST and not (plain and plain.etag):
            if len(known) >= _KNOWN:
                known.clear()
            known[lines] = plain
        return plain

    def _stored(self, data: bytes, line: bytes, plain: Plain) -> Response | None:
        whole = line.startswith(_GET)
        key = _raw_key(line[len(_GET if whole else _HEAD) : -len(_VERSION)])
        found = stored_answer(self._house, key, 0) if key else None
        if found is None:
            return None
        body, deck, index, state = found
        etag = b'"%b"' % xxhash.xxh3_64_hexdigest(body).encode()
        if plain.etag is None:
            start = b"".join((_OK, b"%d" % len(body), _KEPT, etag))
        elif plain.etag == etag:
            start = _SAME + etag
        else:
            # It may still match: there are lists, weak tags and a star.
            return None
        self._house.counters.fetched(deck)
        sent = body if whole and plain.etag is None else b""
        response = Response(deck, None, plain.origin, start, sent)
        self._repeats.keep(data, response, index, state)
        return response

    def _played(
        self, data: bytes, table: Table, bodies: GameBodies | None, body: bytes, origin: bytes
    ) -> Response | None:
        asked = _play(table, body, bodies) if len(body) <= MAX_BODY else None
        if asked is None:
            return None
        state = table.index.state()
        try:
            tier, answer = self._house.answer(table, *asked)
        except RequestError:
            # What no tier can answer is refused by Flask.
            return None
        ballot = self._house.ballots.of_body(table.deck.id, answer).encode()
        start = b"%b%d\r\nx-tsukurioki-ballot: %b" % (_OK, len(answer), ballot)
        response = Response(table.deck.id, tier, origin, start, answer)
        if tier in WHOLE_TIERS:
            self._repeats.keep(data, response, table.index, state)
        return response


def _cut(data: bytes) -> tuple[bytes, bytes, bytes]:
    """A request's first line, the lines of its headers, and what comes after; empty where it is cut."""
    first, end = data.find(b"\r\n"), data.find(b"\r\n\r\n")
    if end < 0:
        return b"", b"", b""
    return data[:first], data[first + 2 : end], data[end + 4 :]


def _lines(headers: Headers) -> bytes:
    """Headers as they follow another, and the empty line."""
    return b"".join([b"\r\n%b: %b" % header for header in headers]) + b"\r\n\r\n"


def _raw_key(text: bytes) -> bytes | None:
    """The 16 bytes of a key just as it is written; None for anything else."""
    try:
        key = unhexlify(text)
    except ValueError:
        return None
    return key if len(key) == 16 and hexlify(key) == text else None


class GameBodies:
    """The bodies that the game's own client sends, whole cards as the deal gave them.

    Such a body is known byte for byte but for which cards it holds, and need not be parsed, which
    costs more than all else that is done with it. Whatever differs in a byte is parsed.
    """

    def __init__(self, deck: Deck) -> None:
        self._seats = {
            b"%b%b%b" % (orjson.dumps(card.raw), _BETWEEN, orjson.dumps(poem)): deck.seats[
                card.id, poem["id"]
            ]
            for card in deck.cards
            for poem in card.raw.get("poems", ())
        }

    def seats(self, body: bytes) -> list[Seat] | None:
        """What was picked, or None where it must be parsed."""
        if not (body.startswith(_FIRST) and body.endswith(_LAST)):
            return None
        known = self._seats
        try:
            return [known[pair] for pair in body[len(_FIRST) : -len(_LAST)].split(_NEXT)]
        except KeyError:
            return None


def _play(table: Table, body: bytes, bodies: GameBodies | None) -> tuple[Query, int] | None:
    """The query and the variant of a plain body; None where it is anything else."""
    seats = bodies.seats(body) if bodies else None
    if seats is not None:
        query = table.deck.seated_play(seats)
        return (query, 0) if query else None
    try:
        asked = orjson.loads(body)
        variant = asked.get("variant", 0)
        query = table.deck.known_play(_game_picks(asked) if bodies else _picks(asked))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    if query is None or type(variant) is not int or not 0 <= variant <= MAX_VARIANT:
        return None
    return query, variant


def _picks(asked: Any) -> list[tuple[Any, Any]]:
    return [(item["card"], item["phrase"]) for item in asked["hand"]]


def _game_picks(asked: Any) -> list[tuple[Any, Any]]:
    return [
        (pair["conditionCard"]["id"], pair["selectedPoem"]["id"]) for pair in asked["selectedPairs"]
    ]
