"""A LINE bot: what LINE's servers deliver is answered by the characters of a chat deck.

LINE sends events to a webhook and expects a 200 at once; an answer is sent to LINE's API with the
event's reply token, which works once and for a short time. So events are checked and queued, and a
bounded number of threads answers them, one conversation after its own order. An event that LINE
delivers again is answered once: its id is kept in the shared state.

LINE's ids of users and groups are not kept. A conversation is named by a keyed hash of them, and
what was said in it stays in this process's memory for an hour.

The library is line-bot-sdk (Apache-2.0), imported when a bot is made.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, NamedTuple

import orjson

from app.errors import ProviderStopError, RequestError, SettingError
from app.kinds.chat.characters import Character
from app.kinds.chat.message import normalise
from app.kinds.chat.service import MESSAGES, ServedChat
from app.kinds.chat.turn import Reply, Turn
from app.ledger.counters import Counters
from app.ledger.rate import RateLimit
from app.ledger.state import KeyedValues, State
from app.providers.transport import proxy_for
from app.recent import Recent
from app.settings import Settings

log = logging.getLogger(__name__)

# Threads of a worker that answer, and events that may wait for them.
THREADS, WAITING = 8, 512
# Events in one delivery. LINE sends one or a few.
MOST_EVENTS = 200
# Seconds in which an event must be answered. LINE documents a minute for a reply token; some report
# that it was refused after half of that.
REPLY_SECONDS = 25.0
# Seconds to connect to LINE's API, and to wait for its answer.
SEND_SECONDS = (3.0, 7.0)
# Ids of events that are remembered, and for how long: longer than LINE delivers an event again.
EVENTS, EVENT_SECONDS = 65_536, 2 * 86_400.0
# Conversations whose character and whose last messages are remembered, and for how long.
CONVERSATIONS, FORGET_SECONDS, CHARACTER_SECONDS = 1024, 3600.0, 30 * 86_400.0
MOST_TEXT = 4000
# What a character says to an event that has no text.
_POOLS = {
    "sticker": "sticker",
    "image": "image",
    "video": "image",
    "audio": "image",
    "file": "image",
    "location": "image",
}
COUNTED = "tsukurioki_line_events"
_MODULES = (
    "linebot.v3.messaging",
    "linebot.v3.webhook",
    "linebot.v3.webhooks",
    "linebot.v3.messaging.exceptions",
    "urllib3.exceptions",
)


class LineEvent(NamedTuple):
    """An event to answer: `text` was said, or, if it is empty, a line of `pool` is the answer.

    `due` is the time, in seconds of the clock, until which the reply token may be used.
    """

    event: str
    token: str
    conversation: str
    text: str
    pool: str
    due: float


class Queue:
    """Runs jobs in at most `threads` threads; those with the same key one after the other."""

    def __init__(self, threads: int, most: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "line")
        self._most = most
        self._count = 0
        self._jobs: dict[str, deque[Callable[[], None]]] = {}
        self._lock = threading.Lock()

    def put(self, jobs: Iterable[tuple[str, Callable[[], None]]]) -> bool:
        """Add jobs, or none of them if there would be too many."""
        added = list(jobs)
        with self._lock:
            if self._count + len(added) > self._most:
                return False
            self._count += len(added)
            for key, job in added:
                if key in self._jobs:
                    self._jobs[key].append(job)
                else:
                    self._jobs[key] = deque([job])
                    self._threads.submit(self._run, key)
        return True

    def _run(self, key: str) -> None:
        with self._lock:
            job = self._jobs[key].popleft()
        try:
            job()
        finally:
            with self._lock:
                self._count -= 1
                if self._jobs[key]:
                    self._threads.submit(self._run, key)
                else:
                    del self._jobs[key]


class LineBot:
    """Answers LINE's events. Raises SettingError and ProviderStopError if it cannot.

    `clock` gives seconds; `stopping` is set when the worker is being stopped.
    """

    def __init__(
        self,
        settings: Settings,
        served: ServedChat,
        state: State,
        counters: Counters,
        rate: RateLimit | None,
        clock: Callable[[], float],
        stopping: threading.Event,
    ) -> None:
        self._secret = settings.line_secret.reveal()
        self._served = served
        self._only = _only(settings, served)
        self._rate = rate
        self._clock = clock
        self._stopping = stopping
        self._counters = counters
        self._counted = counters.counter(
            COUNTED, "Events of LINE, by what became of them", ("outcome",)
        )
        self._seen = KeyedValues(state, "line events", EVENTS, 1, EVENT_SECONDS)
        self._chosen = KeyedValues(state, "line characters", 4096, 1, CHARACTER_SECONDS)
        # The last messages of each conversation, oldest first.
        self._said = Recent[str, tuple[Mapping[str, str], ...]](
            CONVERSATIONS, FORGET_SECONDS, clock
        )
        self._queue = Queue(THREADS, WAITING)
        self._line = _Library(settings)

    def figures(self) -> dict[str, int]:
        """For `/stats`: events by what became of them."""
        return {name[1]: n[0] for name, n in self._counters.sums().items() if name[0] == COUNTED}

    def deliver(self, body: bytes, signature: str) -> None:
        """Queue the events of a delivery. Raises RequestError: 400, 413, or 429 if busy."""
        events = self._line.events(body, signature)
        heard = [found for event in events if (found := self._heard(event))]
        if not self._queue.put(
            (one.conversation, lambda one=one: self._answer(one))  # type: ignore[misc]
            for one in heard
        ):
            raise RequestError(429, "Busy", "too many events wait for an answer; deliver it again")

    def _heard(self, event: Any) -> LineEvent | None:
        """What must be answered of an event; None if nothing."""
        if event is None:
            self._counted.inc("unreadable")
            return None
        kind, source = event.type, event.source
        if kind in ("unsend", "unfollow", "leave") and source:
            # What was taken back, or by whom we are no longer wanted, is not kept.
            self._said.drop(self._conversation(source))
            self._served.forget(self._conversation(source))
        token = getattr(event, "reply_token", None)
        found = _said(event, (self._only,) if self._only else self._served.deck.characters)
        if not token or not source or str(event.mode.value) != "active" or not found:
            self._counted.inc("ignored")
            return None
        text, pool = found
        due = self._clock() + REPLY_SECONDS
        return LineEvent(
            event.webhook_event_id, token, self._conversation(source), text[:MOST_TEXT], pool, due
        )

    def _conversation(self, source: Any) -> str:
        """The name of a conversation: a keyed hash of LINE's ids, which are not kept.

        Each member of a group has a conversation of her own.
        """
        group = getattr(source, "group_id", None) or getattr(source, "room_id", None) or ""
        ids = f"{group} {getattr(source, 'user_id', None) or ''}".encode("utf-8", "replace")
        return hmac.new(self._secret.encode(), b"conversation " + ids, hashlib.sha256).hexdigest()[
            :32
        ]

    def _answer(self, heard: LineEvent) -> None:
        try:
            self._counted.inc(self._answered(heard))
        except Exception:  # the thread must go on to the next event
            log.exception("an event of LINE was not answered")
            self._counted.inc("failed")

    def _answered(self, heard: LineEvent) -> str:
        """Answer an event; returns what became of it."""
        if self._clock() >= heard.due:
            return "late"
        if not self._seen.change(heard.event, _first):
            return "repeated"
        if self._rate and self._rate.wait(f"line {heard.conversation}") > 0:
            return "too_many"
        text = self._text(heard)
        if self._clock() >= heard.due:
            return "late"
        return "answered" if self._line.reply(heard.token, text) else "failed"

    def _text(self, heard: LineEvent) -> str:
        served = self._served
        earlier = self._said.get(heard.conversation) or ()
        said = {"role": "user", "content": heard.text}
        turn = served.turn(self._character(heard), (*earlier, said), heard.conversation)
        if heard.text:
            text = self._written(served.with_care(turn), heard.due)
            earlier = (*earlier, said)
        else:
            text = served.aside(turn, heard.pool) or served.aside(turn, "fallback")
        spoken = (*earlier, {"role": "assistant", "content": text})
        self._said.put(heard.conversation, spoken[-MESSAGES:])
        return text

    def _written(self, turn: Turn, due: float) -> str:
        """The character's answer; if it takes too long, that she did not understand."""
        answer = self._served.answer(turn)
        try:
            for event in answer:
                if isinstance(event, Reply):
                    return event.text
                if self._stopping.is_set() or self._clock() >= due - sum(SEND_SECONDS):
                    break
        finally:
            answer.close()
        return self._served.aside(turn, "fallback")

    def _character(self, heard: LineEvent) -> Character:
        """Who answers: the one of the settings, or the one who was last called by name."""
        if self._only:
            return self._only
        characters = self._served.deck.characters
        called = next((n for n, c in enumerate(characters, 1) if is_called(c, heard.text)), 0)

        def change(row: bytearray) -> int:
            row[0] = called or row[0]
            return row[0]

        chosen = self._chosen.change(f"{self._served.deck.id} {heard.conversation}", change)
        return characters[max(0, min(chosen, len(characters)) - 1)]


def _first(row: bytearray) -> bool:
    """Whether an event comes for the first time, which is remembered."""
    first = not row[0]
    row[0] = 1
    return first


def _only(settings: Settings, served: ServedChat) -> Character | None:
    name, known = settings.line_character, served.deck.character_by_id
    if name and name not in known:
        raise SettingError("TSUKURIOKI_LINE_CHARACTER", name, f"one of {', '.join(known)}")
    return known[name] if name else None


def is_called(character: Character, text: str) -> bool:
    """Whether a message begins or ends with a character's name."""
    said = normalise(text).strip("@ 、,。.!?…ー")
    return any(_begins(said, name) or _ends(said, name) for name in map(normalise, character.names))


def _begins(said: str, name: str) -> bool:
    return said.startswith(name) and not _latin(said[len(name) : len(name) + 1])


def _ends(said: str, name: str) -> bool:
    for title in ("", "ちゃん", "さん", "さま", "様"):
        if said.endswith(name + title):
            before = said[: len(said) - len(name + title)]
            return not _latin(before[-1:]) or not _latin(name[:1])
    return False


def _latin(sign: str) -> bool:
    return sign.isascii() and sign.isalnum()


def _said(event: Any, characters: Iterable[Character]) -> tuple[str, str] | None:
    """The text of an event, or the pool of lines that answers it; None if it is not for us."""
    if event.type in ("follow", "join"):
        return "", event.type
    if event.type != "message":
        return None
    alone = event.source is not None and event.source.type == "user"
    message = event.message
    if message.type != "text":
        return ("", _POOLS[message.type]) if alone and message.type in _POOLS else None
    text, mentioned = without_mentions(message)
    names = [character.names[0] for character in characters]
    if alone or mentioned or any(is_called(character, text) for character in characters):
        # A mention alone, or nothing that can be seen, is a call.
        return text or names[0], ""
    return None


def without_mentions(message: Any) -> tuple[str, bool]:
    """A message's text without mentions of the bot, and whether there are any."""
    text: str = message.text
    spans = [
        (mentioned.index, mentioned.index + mentioned.length)
        for mentioned in (message.mention.mentionees if message.mention else ())
        if getattr(mentioned, "is_self", None)
    ]
    # LINE counts UTF-16 units.
    units = text.encode("utf-16-le", "surrogatepass")
    for start, end in sorted(spans, reverse=True):
        if 0 <= start <= end:
            units = units[: 2 * start] + units[2 * end :]
    plain = units.decode("utf-16-le", "replace").strip()
    return plain, bool(spans)


class _Library:
    """line-bot-sdk: checks and parses deliveries, and sends replies."""

    def __init__(self, settings: Settings) -> None:
        try:
            # Not by statements: its modules do not say what they export.
            messaging, webhook, webhooks, faults, urllib3 = map(import_module, _MODULES)
        except ImportError:
            raise ProviderStopError(
                "TSUKURIOKI_LINE_SECRET is set, and line-bot-sdk is not installed",
                "run: pip install 'tsukurioki[line]'",
            ) from None
        self._messaging: Any = messaging
        self._event: Any = webhooks.Event
        self._validator: Any = webhook.SignatureValidator(settings.line_secret.reveal())
        self._errors = (faults.OpenApiException, urllib3.HTTPError, OSError, ValueError)
        configuration: Any = messaging.Configuration(
            host=settings.line_base_url.rstrip("/"), access_token=settings.line_token.reveal()
        )
        # A reply token works once: neither a second try nor a redirect can help.
        configuration.retries = False
        configuration.connection_pool_maxsize = THREADS
        configuration.proxy = proxy_for(settings.line_base_url)
        self._api: Any = messaging.MessagingApi(messaging.ApiClient(configuration))

    def events(self, body: bytes, signature: str) -> Iterator[Any]:
        """The events of a delivery, None for one that cannot be parsed. Raises RequestError."""
        try:
            signed = self._validator.validate(body.decode(), signature)
        except UnicodeError:
            signed = False
        if not signed:
            raise RequestError(
                400, "Bad signature", "X-Line-Signature does not fit the body and the secret"
            )
        try:
            delivery = orjson.loads(body)
        except orjson.JSONDecodeError:
            delivery = None
        events = delivery.get("events") if isinstance(delivery, dict) else None
        if not isinstance(events, list):
            raise RequestError(400, "Bad request", "expected a JSON object with a list 'events'")
        if len(events) > MOST_EVENTS:
            raise RequestError(413, "Too many events", f"at most {MOST_EVENTS} in one delivery")
        return map(self._parsed, events)

    def _parsed(self, event: object) -> Any:
        try:
            return self._event.from_dict(event)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def reply(self, token: str, text: str) -> bool:
        """Send a reply; returns whether LINE took it."""
        library = self._messaging
        message = library.TextMessage(text=text)
        asked = library.ReplyMessageRequest(replyToken=token, messages=[message])
        try:
            self._api.reply_message(asked, _request_timeout=SEND_SECONDS)
        except self._errors as error:
            # The body of LINE's error can repeat what was sent: only its status is logged.
            log.warning(
                "LINE did not take a reply: %s %s",
                type(error).__name__,
                getattr(error, "status", ""),
            )
            return False
        return True
