"""The chat's routes: `POST /api/chat`, and the page at `/chat`."""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import flask
import orjson
from flask import Response, request

from app.errors import RequestError, TsukuriokiError
from app.kinds.cards.pages import bare_page, common_words
from app.kinds.chat.care import Step
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.service import MAX_ID, MAX_MESSAGE, MAX_MESSAGES, Event, ServedChat
from app.kinds.chat.turn import Reply, Turn
from app.kinds.ladder import Delta, Discard
from app.kinds.language import LANGUAGES
from app.web import ollama
from app.web.access import on_this_machine
from app.web.bodies import bad_request, json_object, json_response
from app.web.problems import SENTENCE
from app.web.service import Service, current_service

log = logging.getLogger(__name__)

MAX_NAME = 20
# Seconds after which a character says something while a model has not begun to answer.
FILLER_AFTER = 0.6
# Chunks of a stored line that are streamed in a second.
PIECES_A_SECOND = 10
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

chat_api = flask.Blueprint("chat", __name__)


def _admitted() -> tuple[Service, dict[str, Any]]:
    """The service and the JSON object of a request that may be answered. Raises RequestError."""
    service = current_service()
    service.limit_chats(request.environ)
    service.access.demand_token(request.environ)
    return service, json_object()


@chat_api.post("/api/chat")
def chat() -> Response:
    """A character's answer, as JSON or as server-sent events; Ollama's chat if a model is named."""
    if (asked := ollama.chat_body()) is not None:
        return ollama.chat(asked)
    service, body = _admitted()
    served = service.chat(_text(body, "deck", MAX_ID))
    turn = read_turn(body, served)
    _demand_host(service, turn)
    if _switch(body, "stream"):
        return _streamed(service, served, turn)
    *_, reply = served.answer(turn)
    assert isinstance(reply, Reply)
    return json_response(reply_json(turn, reply), cache="no-store")


@chat_api.post("/api/chat/reset")
def reset() -> Response:
    """Answer a conversation as usual again, after a person has looked after the user."""
    service, body = _admitted()
    conversation = _text(body, "conversation", MAX_ID)
    if conversation is None:
        raise bad_request("'conversation' is missing")
    service.chat(_text(body, "deck", MAX_ID)).reset_care(conversation)
    return Response(status=204, headers={"Cache-Control": "no-store"})


@chat_api.get("/chat")
def page() -> Response:
    """The page; on a kiosk, without a way out but to the start page of several decks."""
    service = current_service()
    deck = service.chat(request.args.get("deck")).deck
    kiosk = {"kiosk": request.args["kiosk"]} if "kiosk" in request.args else {}
    response = Response(
        flask.render_template(
            "chat.html",
            deck=deck,
            words=page_words(deck.language),
            others=[] if kiosk else service.shown_chats,
            home="/?" + urlencode(kiosk) if service.has_choice else "",
            idle=service.settings.idle,
        ),
        content_type="text/html; charset=utf-8",
    )
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    return response


def choice_of(deck: CharacterDeck) -> dict[str, Any]:
    """What the start page is told of a deck on which visitors choose one of several, as JSON."""
    lang = LANGUAGES[deck.language]
    names = lang.comma.join(character.name for character in deck.characters)
    return {
        **bare_page(lang.id),
        "id": deck.id,
        "name": deck.name,
        "path": "/chat",
        "lines": [page_words(lang.id)["invite"].format(names=names)],
        "languages": [(lang.id, lang.name)],
    }


@lru_cache(maxsize=16)
def page_words(language: str) -> Mapping[str, str]:
    """The words of the page in a language; in English if there are none.

    Those for a kiosk are the words of all pages.
    """
    words: dict[str, dict[str, str]] = orjson.loads(
        Path(__file__).with_name("chat_words.json").read_bytes()
    )
    return {**common_words([language])[language], **words.get(language, words["en"])}


def _demand_host(service: Service, turn: Turn) -> None:
    """Raise RequestError (403) if somebody asks why who is not at this machine and has no token.

    The reasons say what a conversation remembers.
    """
    if turn.explain and not (service.settings.token or on_this_machine(request.environ)):
        detail = "'why' is for the host: ask on this machine, or set TSUKURIOKI_TOKEN and send it"
        raise RequestError(403, "For the host", detail)


def _text(body: Mapping[str, Any], name: str, most: int) -> str | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > most:
        raise bad_request(f"{name!r} must be a text of 1 to {most} characters")
    return value.strip()


def _switch(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise bad_request(f"{name!r} must be true or false")
    return value


def read_turn(body: Mapping[str, Any], served: ServedChat) -> Turn:
    """Parse a request. Raises RequestError (400), which says what is wrong."""
    name = _text(body, "name", MAX_NAME) or ""
    if not name.isprintable() or any(sign in name for sign in "{}<>"):
        raise bad_request("'name' must be a plain name")
    turn = served.turn(
        served.deck.known_character(_text(body, "character", MAX_ID)),
        _messages(body.get("messages")),
        _text(body, "conversation", MAX_ID) or secrets.token_hex(8),
        name,
        explain=_switch(body, "why"),
    )
    return served.with_care(turn)


def _messages(value: Any) -> tuple[Mapping[str, str], ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MESSAGES:
        raise bad_request(f"'messages' must be a list of 1 to {MAX_MESSAGES}")
    messages = tuple(_message(item, number) for number, item in enumerate(value, 1))
    if messages[-1]["role"] != "user" or not messages[-1]["content"].strip():
        raise bad_request("the last message must be the user's, and not empty")
    return messages


def _message(item: Any, number: int) -> Mapping[str, str]:
    if not isinstance(item, dict) or item.get("role") not in ("user", "assistant"):
        raise bad_request(f"message {number}: expected role user or assistant, and content")
    content = item.get("content")
    if not isinstance(content, str) or len(content) > MAX_MESSAGE:
        raise bad_request(
            f"message {number}: content must be a text of at most {MAX_MESSAGE} characters"
        )
    # Lone surrogates, which JSON allows, could not be sent to a model.
    plain = content.encode("utf-8", "replace").decode("utf-8")
    return {"role": item["role"], "content": plain}


def reply_json(turn: Turn, reply: Reply) -> dict[str, Any]:
    """An answer as it is sent to the client."""
    answer: dict[str, Any] = {
        "text": reply.text,
        "deck": turn.deck.id,
        "character": turn.character.id,
        "conversation": turn.conversation,
        "intent": turn.intent,
        "intents": [hit.intent.id for hit in turn.hits],
        "source": reply.source,
        "model": reply.model,
        "tier": reply.tier,
    }
    answer |= help_json(turn)
    if turn.explain:
        answer["why"] = reply.why
    if reply.near is not None:
        answer["near"] = reply.near
    if reply.importance is not None:
        answer |= {"importance": reply.importance, "signals": list(turn.signals)}
    return answer


def help_json(turn: Turn) -> dict[str, Any]:
    """How a user who may be or was in danger is answered, and who can be called; empty otherwise."""
    if not turn.deck.care or not (turn.care or turn.watch):
        return {}
    if turn.care is Step.UNEASY and not turn.watch:
        return {"care": turn.care}
    return {"care": turn.care or "watch", "help": turn.deck.care.to_json()}


def _streamed(service: Service, served: ServedChat, turn: Turn) -> Response:
    response = Response(
        events(served, turn, service.settings.chat_pace, service.stopping),
        content_type="text/event-stream",
    )
    response.headers["Cache-Control"] = "no-store"
    # Keeps nginx from buffering the stream.
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _event(name: str, data: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))


def events(
    served: ServedChat,
    turn: Turn,
    pace: int,
    stopping: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[bytes]:
    """The server-sent events of an answer: start, delta…, and `done` or `error` as the last.

    `discard` takes back the deltas before it. `filler` has a line to show while a slow model is
    waited for; it is no part of the answer, and the next event takes its place. Closing the generator, which the server does when the
    client goes away, closes the connection to the model. `pace` is the characters of a stored line
    that are sent in a second, 0 for all at once. When `stopping` is set, a line that is known is
    sent at once, and a model is not waited for.
    """
    start = {"conversation": turn.conversation, "character": turn.character.id}
    # Who can be called is shown at once, before the first word.
    yield _event("start", start | help_json(turn))
    answer = served.answer(turn)
    filler = _Filler(served, turn, clock)
    try:
        yield from _answer_events(answer, turn, pace, stopping, filler)
    except TsukuriokiError as error:
        yield _error("No answer", str(error))
    except Exception:  # the status has been sent: only an event can say that something is broken
        log.exception("an answer failed")
        yield _error("No answer", "a fault of the server; its log says more")
    finally:
        answer.close()


class _Filler:
    """Gives a line once, when the first chunk of an answer is late."""

    def __init__(self, served: ServedChat, turn: Turn, clock: Callable[[], float]) -> None:
        self._served, self._turn, self._clock = served, turn, clock
        self._due = clock() + FILLER_AFTER

    def line(self) -> str:
        """The line, empty if it is not due, was given or does not exist."""
        if self._clock() < self._due:
            return ""
        self._due = math.inf
        return self._served.aside(self._turn, "filler")


def _error(title: str, detail: str) -> bytes:
    return _event("error", {"title": title, "detail": detail, "error": SENTENCE})


def _answer_events(
    answer: Generator[Event, None, Reply],
    turn: Turn,
    pace: int,
    stopping: threading.Event,
    filler: _Filler,
) -> Iterator[bytes]:
    shown = ""
    for event in answer:
        if stopping.is_set() and not isinstance(event, Reply):
            yield _error("Stopped", "the server is being stopped; ask again")
            return
        if isinstance(event, Delta):
            shown += event.text
            if event.text:
                yield _event("delta", {"text": event.text})
            elif not shown and (line := filler.line()):
                yield _event("filler", {"text": line})
            else:
                # A comment keeps the connection open, and fails if the client is gone.
                yield b": waiting\n\n"
        elif isinstance(event, Discard):
            shown = ""
            yield _event("discard", {"tier": event.tier})
        else:
            if not shown:
                yield from _paced(event.text, pace, stopping.wait)
            yield _event("done", reply_json(turn, event))


def _paced(text: str, pace: int, wait: Callable[[float], object]) -> Iterator[bytes]:
    """A finished text in chunks, as if it were being written; the rest at once if `wait` is true."""
    step = max(1, pace // PIECES_A_SECOND) if pace else len(text)
    start = 0
    while start < len(text):
        if start and wait(step / pace):
            step = len(text)
        yield _event("delta", {"text": text[start : start + step]})
        start += step
