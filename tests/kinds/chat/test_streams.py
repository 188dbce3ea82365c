"""A stream ends with `done` or `error`, whatever happens on the way."""

from __future__ import annotations

import datetime
import itertools
import json
import logging
import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ProviderRetryError
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.turn import Reply, Turn
from app.kinds.engine import Engine, Judges
from app.kinds.ladder import Delta, Discard
from app.providers.guards import Breaker, SomeAtATime
from app.providers.relay import Abort, Ask, Finish, SharedReplies, whole_characters
from app.web.chat import events
from tests.kinds.chat import kit
from tests.kinds.chat.standin import Ollama, ollama_handler, served

AT = datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.UTC)
UNKNOWN = "切手の裏に地図が印刷してあったんだけど"
SIGNS = (
    "うん",
    "、",
    "そうだね",
    "！",
    "😀",
    "👨‍👩‍👧",
    "🇯🇵",
    "𠮷",
    "é",
    "\ud83d",
    "\ude00",
    "\x00",
    "�",
)


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """What is logged of texts with half a character cannot be sent from a test's process to another."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def cut(text: str, rng: Random) -> list[str]:
    """A text in pieces, cut between UTF-16 units as JSON's escapes can be."""
    units = text.encode("utf-16-le", "surrogatepass")
    places = sorted(2 * rng.randrange(len(units) // 2 + 1) for _ in range(rng.randrange(6)))
    ends = [0, *places, len(units)]
    parts = (units[a:b] for a, b in itertools.pairwise(ends))
    return [part.decode("utf-16-le", "surrogatepass") for part in parts]


def test_wherever_a_reply_is_cut_the_stream_ends(local: kit.Server, ollama: Ollama) -> None:
    """Replies of any characters, cut anywhere, whole emoji or halves: the last event is `done`."""
    rng = Random(14)
    for _ in range(60):
        text = "".join(rng.choices(SIGNS, k=rng.randrange(1, 8)))
        ollama.pieces = cut(text, rng) or [""]
        told = kit.Stream(local, UNKNOWN, character="botan").whole()
        assert told[-1][0] == "done", (text, told)
        kept = [data["text"] for name, data in told[_after_discard(told) :] if name == "delta"]
        assert "".join(kept).strip() == told[-1][1]["text"]


def _after_discard(told: list[tuple[str, dict[str, Any]]]) -> int:
    return max((place for place, (name, _) in enumerate(told) if name == "discard"), default=0)


def test_an_emoji_that_is_cut_is_whole_again(local: kit.Server, ollama: Ollama) -> None:
    """A character whose two halves come in two pieces is shown as one."""
    ollama.pieces = ("うん、気になるね！\ud83d", "\ude00")
    told = kit.Stream(local, UNKNOWN, character="botan").whole()
    shown = "".join(data["text"] for name, data in told if name == "delta")
    assert "うん、気になるね！😀" in shown or told[-1][1]["tier"] == "fallback"
    assert [*whole_characters(["あ\ud83d", "\ude00い", Finish("m")])] == ["あ", "😀い", Finish("m")]


@given(st.text(st.characters()), st.randoms(use_true_random=False))
def test_whole_characters_lose_and_add_nothing(text: str, rng: Random) -> None:
    """The pieces make up the text; a half without the other becomes one U+FFFD."""
    told = "".join(cast("Iterable[str]", whole_characters(cut(text, rng))))
    units = text.encode("utf-16-le", "surrogatepass")
    assert told == units.decode("utf-16-le", "replace")
    told.encode()


def test_she_says_something_while_a_model_is_slow(
    local: kit.Server, ollama: Ollama, deck: CharacterDeck
) -> None:
    """A line of her own is shown once, before the first piece, and is no part of the answer."""
    ollama.fault = "hang"
    told = kit.Stream(local, UNKNOWN, character="yuri", conversation="filler").whole()
    names = [name for name, _ in told]
    assert names[:2] == ["start", "filler"]
    assert names.count("filler") == 1
    assert told[1][1]["text"] in {line.text for line in deck.lines["yuri"]["filler"]}
    shown = "".join(data["text"] for name, data in told if name == "delta")
    assert told[-1][1]["text"] == shown


def test_nothing_is_said_before_an_answer_that_is_there(local: kit.Server, ollama: Ollama) -> None:
    """A stored line, and a model that answers at once, come without a filler."""
    for text in ("こんにちは", UNKNOWN):
        told = kit.Stream(local, text, character="botan").whole()
        assert "filler" not in [name for name, _ in told]


class _Model:
    """Writes what it is given, and raises what is an error."""

    name = "model"

    def __init__(self, pieces: Iterable[str | Finish | Exception]) -> None:
        self._pieces = pieces

    def stream(self, ask: Ask, abort: Abort) -> Generator[str | Finish, None, None]:
        """The pieces."""
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


ERRORS = (ValueError("x"), ProviderRetryError("x"), UnicodeError("\ud800"), KeyError(1), OSError(5))
PIECES = st.one_of(st.sampled_from(SIGNS), st.builds(Finish, st.just("m")), st.sampled_from(ERRORS))


@given(st.lists(PIECES, max_size=6), st.sampled_from([None, "part", "whole"]))
def test_whatever_a_model_and_a_gate_do_the_tier_ends(
    pieces: list[str | Finish | Exception], broken: str | None
) -> None:
    """A reply, or none and one reason, whatever is written or raised; what is shown can be sent."""

    def judge(text: str) -> None:
        raise ZeroDivisionError

    judges = Judges(**({broken: judge} if broken else {}))
    notes: list[tuple[str, str, str]] = []
    clock = iter(range(10_000)).__next__
    guards = SomeAtATime(1), Breaker(3, 30.0, clock), SharedReplies(clock, 30.0)
    engine = Engine(_Model(pieces), *guards, lambda *note: notes.append(note), clock)
    shown, written = [], None
    writing = engine.write("local", Ask("m", "", (), 10, 5_000.0), "key", judges)
    try:
        while True:
            shown.append(next(writing))
    except StopIteration as stop:
        written = stop.value
    assert len(notes) == (written is None)
    "".join(shown).encode()
    if written:
        assert "".join(shown).strip() == written.text


class _Broken:
    """A deck that is served by a tier that fails after some events."""

    def __init__(self, deck: CharacterDeck, before: Iterable[Delta | Discard], error: Exception):
        self.deck = deck
        self._before = before
        self._error = error

    def answer(self, turn: Turn) -> Generator[Delta | Discard | Reply, None, Reply]:
        """Some events, and no reply."""
        yield from self._before
        raise self._error


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError(1), RecursionError(), UnicodeError("\ud800")]
)
@pytest.mark.parametrize("before", [[], [Delta("")], [Delta("あ"), Discard("local")]])
def test_whatever_raises_the_stream_says_so(
    deck: CharacterDeck, before: list[Delta | Discard], error: Exception
) -> None:
    """A fault anywhere behind the route is an `error` event, with a sentence for the user."""
    broken = cast("Any", _Broken(deck, before, error))
    turn = Turn(deck, deck.characters[0], ({"role": "user", "content": "x"},), "c", "", AT)
    told = b"".join(events(broken, turn, 0, threading.Event(), lambda: 0.0)).decode()
    last = told.strip().split("\n\n")[-1]
    assert last.startswith("event: error\n")
    assert json.loads(last.partition("data: ")[2])["error"]


def test_a_server_that_is_stopped_ends_its_streams(tmp_path: Path) -> None:
    """On SIGTERM a stored line is sent to its end at once, and a model is no longer waited for."""
    state = Ollama(fault="hang")
    with served(ollama_handler(state)) as address:
        settings = {"OLLAMA_HOST": address, "TSUKURIOKI_CHAT_DEADLINE": "60"}
        with kit.started(tmp_path, **settings, TSUKURIOKI_CHAT_PACE="1") as server:
            waiting = kit.Stream(server, UNKNOWN)
            waiting.await_model()
            line = kit.Stream(server, "こんにちは")
            begun = iter(line)
            assert [next(begun)[0], next(begun)[0]] == ["start", "delta"]
            os.kill(server.pid, signal.SIGTERM)
            assert [name for name, _ in begun][-1] == "done"
            line.close()
            name, told = waiting.whole()[-1]
    assert (name, told["title"]) == ("error", "Stopped")
    assert told["error"]
