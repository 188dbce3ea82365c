"""LINE for tests: its API as a server on 127.0.0.1, and deliveries to a webhook."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.kinds.chat import kit
from tests.kinds.chat.standin import _Handler, served

SECRET, TOKEN = "a-channel-secret", "a-channel-access-token"
USER, GROUP = "U" + "0a" * 16, "C" + "0b" * 16
_COUNT = itertools.count(1)


@dataclass
class Line:
    """LINE's API: what it was asked, and what it does. `hold` keeps answers back until it is set."""

    status: int = 200
    hold: threading.Event = field(default_factory=threading.Event)
    replies: list[tuple[str, str]] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, count: int) -> None:
        """Wait until so many replies were asked for."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked) >= count, 20), len(self.asked)

    def reply_to(self, token: str) -> str:
        """The text that was sent with a reply token, once it is there."""
        with self.changed:
            assert self.changed.wait_for(lambda: any(t == token for t, _ in self.replies), 20)
            return next(text for found, text in self.replies if found == token)


class _LineHandler(_Handler):
    state: Line

    def do_POST(self) -> None:  # noqa: N802  # the base's name
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        line = self.state
        used = {token for token, _ in line.replies}
        with line.changed:
            line.asked.append((self.path, self.headers["Authorization"], body))
            good = line.status == 200 and body["replyToken"] not in used
            if good:
                line.replies.append((body["replyToken"], body["messages"][0]["text"]))
            line.changed.notify_all()
        line.hold.wait(30)
        status = 200 if good else line.status if line.status != 200 else 400
        told = (
            {"sentMessages": [{"id": "4", "quoteToken": "q"}]}
            if good
            else {"message": "Invalid reply token"}
        )
        self._send(status, json.dumps(told).encode(), "application/json")


@contextmanager
def line_api(line: Line) -> Iterator[str]:
    """LINE's API; gives its address."""
    with served(type("Handler", (_LineHandler,), {"state": line})) as address:
        yield address


def event(kind: str = "message", user: str = USER, **more: Any) -> dict[str, Any]:
    """An event of a one-to-one talk, as LINE documents it; `group` makes it one of a group."""
    number = next(_COUNT)
    group = more.pop("group", "")
    source = {"type": "group", "groupId": group} if group else {"type": "user"}
    return {
        "type": kind,
        "mode": "active",
        "timestamp": 1_790_000_000_000 + number,
        "source": {**source, "userId": user},
        "webhookEventId": f"01HZ{number:022}",
        "deliveryContext": {"isRedelivery": False},
        "replyToken": f"token-{number}",
        **more,
    }


def text(said: str, mentions: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    """A text message."""
    message = {"id": "1", "type": "text", "text": said, "quoteToken": "q"}
    if mentions is not None:
        message["mention"] = {"mentionees": mentions}  # type: ignore[assignment]
    return event(message=message, **more)


def sticker(**more: Any) -> dict[str, Any]:
    """A sticker."""
    kind = {"packageId": "1", "stickerId": "2", "stickerResourceType": "STATIC"}
    return event(message={"id": "1", "type": "sticker", "quoteToken": "q", **kind}, **more)


def image(**more: Any) -> dict[str, Any]:
    """A picture."""
    provider = {"type": "line"}
    message = {"id": "1", "type": "image", "quoteToken": "q", "contentProvider": provider}
    return event(message=message, **more)


def sign(body: bytes, secret: str = SECRET) -> str:
    """The signature of a delivery."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def deliver(server: kit.Server, *events: Any) -> kit.Response:
    """A delivery with the right signature."""
    body = json.dumps({"destination": "U" + "0c" * 16, "events": list(events)}).encode()
    return post(server, body, sign(body))


def post(server: kit.Server, body: bytes, signature: str | None) -> kit.Response:
    """Any body with any signature."""
    headers = {} if signature is None else {"X-Line-Signature": signature}
    return server.request("POST", "/line/webhook", body, headers)
