"""What is asked most, answered before Flask: a stored answer by its key, and answers to plays.

WSGI middleware in WhiteNoise's manner: answer, or fall through to the next layer. It answers only
what is plain: anything unusual, and everything that is wrong, is Flask's to answer and to refuse,
with what was read of the body put back. What it does answer goes through the same `House` as
Flask's routes and has the same headers; a contract suite holds the two against each other.

Flask costs 150 µs a request here, a stored answer 5.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import orjson
import xxhash

from app.core.deck import Deck
from app.core.key import Query
from app.errors import RequestError
from app.house import MAX_BODY, MAX_VARIANT, House, Table, stored_answer

if TYPE_CHECKING:
    from flask import Flask

Environ = dict[str, Any]
Start = Callable[..., Any]
WSGI = Callable[[Environ, Start], Iterable[bytes]]
Headers = list[tuple[str, str]]

GAME = "/api/generate-poem"
STORED = "/api/answers/"
_DECK_HEAD, _DECK_TAIL = "/api/decks/", "/answer"
_FIRST, _NEXT = b'{"selectedPairs":[{"conditionCard":', b'},{"conditionCard":'
_BETWEEN, _LAST = b',"selectedPoem":', b"}]}"
# A request with one of these may want something else than the whole body.
_UNUSUAL = frozenset(("HTTP_IF_MODIFIED_SINCE", "HTTP_RANGE", "HTTP_IF_RANGE", "HTTP_IF_MATCH"))


class FastPath:
    """Answers what is plain, or calls the wrapped application."""

    def __init__(self, house: House, headers: Iterable[tuple[str, str]]) -> None:
        self._house = house
        self._tables = house.tables
        # A server of chats alone has none.
        self._game = house.tables.get(house.settings.deck)
        self._bodies = GameBodies(self._game.deck) if self._game else None
        common = list(headers)
        origins = house.settings.cors_origins
        if origins:
            common.append(("Vary", "Origin"))
        # By the request's origin; where none may call, every origin has the same.
        self._common: Headers = common
        self._by_origin = {
            origin: [*common, ("Access-Control-Allow-Origin", origin)] for origin in origins
        }

    def init_app(self, app: Flask) -> None:
        """Wrap an application."""
        self._app: WSGI = app.wsgi_app
        app.wsgi_app = self  # type: ignore[assignment, method-assign]  # how Flask wants middleware

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        """Answer a plain request; pass every other on."""
        path: str = environ["PATH_INFO"]
        method = environ["REQUEST_METHOD"]
        body = None
        if method == "POST":
            if path == GAME:
                body = self._played(environ, self._game, self._bodies) if self._game else None
            elif path.startswith(_DECK_HEAD) and path.endswith(_DECK_TAIL):
                table = self._tables.get(path[len(_DECK_HEAD) : -len(_DECK_TAIL)])
                body = self._played(environ, table) if table else None
        elif path.startswith(STORED) and method in ("GET", "HEAD"):
            return self._stored(environ, start, path, method)
        if body is None:
            return self._app(environ, start)
        start(
            "200 OK",
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                *self._headers(environ),
            ],
        )
        return [body]

    def _headers(self, environ: Environ) -> Headers:
        if self._by_origin:
            return self._by_origin.get(environ.get("HTTP_ORIGIN", ""), self._common)
        return self._common

    def _stored(self, environ: Environ, start: Start, path: str, method: str) -> Iterable[bytes]:
        found = None
        if not environ.get("QUERY_STRING") and environ.keys().isdisjoint(_UNUSUAL):
            key = _raw_key(path[len(STORED) :])
            found = stored_answer(self._house, key, 0) if key else None
        if found is None:
            return self._app(environ, start)
        etag = f'"{xxhash.xxh3_64_hexdigest(found.body)}"'
        wanted = environ.get("HTTP_IF_NONE_MATCH")
        if wanted is not None and wanted != etag:
            # It may still match: there are lists, weak tags and a star.
            return self._app(environ, start)
        self._house.counters.fetched(found.deck)
        headers = [("Cache-Control", "no-cache"), ("ETag", etag), *self._headers(environ)]
        if wanted is not None:
            start("304 NOT MODIFIED", headers)
            return []
        length = str(len(found.body))
        start(
            "200 OK",
            [("Content-Type", "application/json"), ("Content-Length", length), *headers],
        )
        return [] if method == "HEAD" else [found.body]

    def _played(
        self,
        environ: Environ,
        table: Table,
        bodies: GameBodies | None = None,
    ) -> bytes | None:
        """The answer to a play, or None; then `wsgi.input` gives the body again."""
        length = environ.get("CONTENT_LENGTH") or ""
        if not length.isdecimal() or len(length) > 6 or int(length) > MAX_BODY:
            return None
        if "HTTP_TRANSFER_ENCODING" in environ:
            return None
        raw = environ["wsgi.input"].read(int(length))
        asked = _play(table, raw, bodies) if len(raw) == int(length) else None
        if asked:
            # What no tier can answer is refused by Flask.
            with contextlib.suppress(RequestError):
                return self._house.answer(table, *asked).body
        environ["wsgi.input"] = io.BytesIO(raw)
        return None


def _raw_key(text: str) -> bytes | None:
    """The 16 bytes of a key just as it is written; None for anything else."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        return None
    return key if len(key) == 16 and key.hex() == text else None


class GameBodies:
    """The bodies that the game's own client sends, whole cards as the deal gave them.

    Such a body is known byte for byte but for which cards it holds, and need not be parsed, which
    costs more than all else that is done with it. Whatever differs in a byte is parsed.
    """

    def __init__(self, deck: Deck) -> None:
        self._picks = {
            b"%b%b%b" % (orjson.dumps(card.raw), _BETWEEN, orjson.dumps(poem)): (
                card.id,
                poem["id"],
            )
            for card in deck.cards
            for poem in card.raw.get("poems", ())
        }

    def picks(self, body: bytes) -> list[tuple[str, str]] | None:
        """The ids of cards and phrases, or None where it must be parsed."""
        if not (body.startswith(_FIRST) and body.endswith(_LAST)):
            return None
        known = self._picks
        try:
            return [known[pair] for pair in body[len(_FIRST) : -len(_LAST)].split(_NEXT)]
        except KeyError:
            return None


def _play(table: Table, raw: bytes, bodies: GameBodies | None) -> tuple[Query, int] | None:
    """The query and the variant of a plain body; None where it is anything else."""
    known = bodies.picks(raw) if bodies else None
    if known is not None:
        query = table.deck.known_play(known)
        return (query, 0) if query else None
    try:
        asked = orjson.loads(raw)
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
