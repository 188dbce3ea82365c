"""What devices with a static edition collected while they had no server: misses and votes.

    {"deck": …, "items": [{"id": …, "hand": […], "variant": …}, …]}

An item with a `vote` is a vote on the text that the device showed, by its `key` and, if it was stored,
`created`; others are misses. Its `id`, 32 hex digits, was drawn at random; an item is counted once under it, however often
it is sent. A device has no ballots. Instead, a vote counts only if this server gives the same text to
the same play; and it counts against the same limits as other votes, so that a device is told to send
some of them later.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import flask
import orjson
from flask import Response, request

from app.errors import RequestError
from app.kinds.cards.plays import HAND, Play
from app.kinds.cards.service import ServedCards
from app.ledger.votes import DOWN, UP
from app.web.access import client_address
from app.web.bodies import bad_request, json_object, json_response
from app.web.service import Service, current_service
from app.web.votes import MAX_VISITOR

# A device sends no more at once; further ones are refused before any is counted.
MOST_ITEMS = 50
_ID = re.compile(r"[0-9a-f]{32}")

collect_api = flask.Blueprint("collect", __name__)


class _Collector(NamedTuple):
    """Takes the items of one request."""

    service: Service
    served: ServedCards
    address: str

    def take(self, item: dict[str, Any]) -> int:
        """Count an item; returns the seconds to wait before it can be, 0 if it is done with."""
        try:
            play = HAND.read(self.served.deck, item)
        except RequestError:
            # The deck has changed since: sending it again would not help.
            return 0
        votes = item.get("vote") in (UP, DOWN)
        wait = self.service.votes.wait(self.address) if votes else 0
        if wait or self.service.collected_once.wait(item["id"]):
            return wait
        if votes:
            self._vote(play, item)
        else:
            self.served.missed(*play)
        return 0

    def _vote(self, play: Play, item: dict[str, Any]) -> None:
        answer = self.served.ladder.quick().answer(play)
        body = orjson.loads(answer.body) if answer else {}
        same = all(body.get(name) == item.get(name) for name in ("key", "created"))
        if body and same:
            voter = self.address, str(item.get("visitor", ""))[:MAX_VISITOR]
            self.service.votes.count(self.served, body["key"], body["variant"], item["vote"], voter)


@collect_api.post("/api/collect")
def collect() -> Response:
    """Count what a device collected: `done` are the ids that it need not send again."""
    service = current_service()
    body = json_object()
    if not isinstance(body.get("deck"), str):
        raise bad_request("'deck' must be a text")
    collector = _Collector(service, service.served(body["deck"]), client_address(request.environ))
    done, wait = [], 0
    for item in _items(body):
        if delay := collector.take(item):
            wait = max(wait, delay)
        else:
            done.append(item["id"])
    return json_response({"done": done, "wait": wait})


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    items = body.get("items")
    if not isinstance(items, list) or len(items) > MOST_ITEMS:
        raise bad_request(f"'items' must be a list of at most {MOST_ITEMS}")
    for item in items:
        if not isinstance(item, dict) or not _ID.fullmatch(str(item.get("id"))):
            raise bad_request("each of 'items' needs an 'id' of 32 hex digits")
    return items
