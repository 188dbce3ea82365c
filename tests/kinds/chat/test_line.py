"""The LINE bot: a started server, line-bot-sdk's real client, and LINE's API on 127.0.0.1."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from app.kinds.chat.deck import CharacterDeck
from app.kinds.decks import prepare_all
from app.kinds.kind import Server
from app.settings import TABLE, Settings
from app.web.line_bot import Queue, is_called
from app.web.service import Service
from tests.kinds.chat import kit
from tests.kinds.chat.line import (
    GROUP,
    SECRET,
    TOKEN,
    USER,
    Line,
    deliver,
    event,
    image,
    line_api,
    post,
    sign,
    sticker,
    text,
)
from tests.kinds.chat.standin import Ollama, ollama_handler, served
from tests.kit import chat_deck
from tests.making import wait_for

SETTINGS = {"TSUKURIOKI_LINE_SECRET": SECRET, "TSUKURIOKI_LINE_TOKEN": TOKEN}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Line, kit.Server]]:
    """A server with two workers, and LINE's API."""
    with _started(tmp_path_factory.mktemp("line")) as both:
        yield both


@contextmanager
def _started(folder: Path) -> Iterator[tuple[Line, kit.Server]]:
    line = Line()
    with line_api(line) as address:
        settings = {**SETTINGS, "TSUKURIOKI_LINE_BASE_URL": address, "TSUKURIOKI_WORKERS": "2"}
        with kit.started(folder, **settings) as server:
            line.hold.set()
            yield line, server


@pytest.fixture
def server(started: tuple[Line, kit.Server]) -> kit.Server:
    """The server."""
    return started[1]


@pytest.fixture
def line(started: tuple[Line, kit.Server]) -> Line:
    """LINE's API, as at the beginning."""
    started[0].__init__()  # type: ignore[misc]  # all of it anew
    started[0].hold.set()
    return started[0]


def said(pool: str, character: str = "botan") -> set[str]:
    """The lines of a pool."""
    return {line.text for line in chat_deck().lines[character][pool]}


def counted(server: kit.Server) -> dict[str, int]:
    """Events by what became of them."""
    found: dict[str, int] = server.request("GET", "/stats").json["line"]
    return found


def answered(server: kit.Server, line: Line, one: dict[str, Any]) -> str:
    """The reply to one event."""
    assert deliver(server, one).status == 200
    return line.reply_to(one["replyToken"])


def test_a_message_is_answered_with_its_token(server: kit.Server, line: Line) -> None:
    """The first character answers a message of a one-to-one talk, at LINE's reply endpoint."""
    told = answered(server, line, text("おはよう"))
    assert told in said("morning")
    path, authorisation, body = line.asked[0]
    assert (path, authorisation) == ("/v2/bot/message/reply", f"Bearer {TOKEN}")
    assert [message["type"] for message in body["messages"]] == ["text"]


@pytest.mark.parametrize(
    ("one", "pool"),
    [
        (sticker(), "sticker"),
        (image(), "image"),
        (event("follow", follow={"isUnblocked": False}), "follow"),
        (event("join", group=GROUP), "join"),
    ],
)
def test_what_has_no_words_is_answered_in_character(
    server: kit.Server, line: Line, one: dict[str, Any], pool: str
) -> None:
    """A sticker, a picture, a new friend and a group get a line of their own."""
    assert answered(server, line, one) in said(pool)


def test_what_she_asks_about_a_picture_is_heard(server: kit.Server, line: Line) -> None:
    """She asks what it was, and the next message is the answer, whichever worker reads it."""
    topics = json.loads((kit.DECK / "topics.json").read_text())["botan"]
    told = next(topic for topic in topics if topic["id"] == "detail")["answers"]["open"]
    texts = [one["text"] if isinstance(one, dict) else one for one in told]
    answers = {text.replace("{it}", "ラーメンの写真") for text in texts}
    for number in range(4):
        user = f"U{number:031x}9"
        answered(server, line, image(user=user))
        assert answered(server, line, text("ラーメンの写真", user=user)) in answers


def test_in_a_group_she_answers_when_she_is_meant(server: kit.Server, line: Line) -> None:
    """Only a mention of her, or a message that begins or ends with a name, is answered in a group."""
    you = {"index": 3, "length": 3, "type": "user", "isSelf": True}
    everybody = {"index": 0, "length": 4, "type": "all"}
    other = {"index": 0, "length": 3, "type": "user", "userId": "U" + "0d" * 16, "isSelf": False}
    silent = [
        text("おはよう", group=GROUP),
        text("@All おはよう", [everybody], group=GROUP),
        text("@花子 おはよう", [other], group=GROUP),
        sticker(group=GROUP),
        image(group=GROUP),
    ]
    meant = {
        "mention": text("😀 @牡丹 おはよう", [you], group=GROUP),
        "begins": text("牡丹おはよう", group=GROUP),
        "ends": text("おはよう、牡丹ちゃん！", group=GROUP),
    }
    assert deliver(server, *silent, *meant.values()).status == 200
    for name, one in meant.items():
        assert line.reply_to(one["replyToken"]) in said("morning"), name
    assert {token for token, _ in line.replies} == {one["replyToken"] for one in meant.values()}


def test_whoever_is_called_answers_until_another_is(server: kit.Server, line: Line) -> None:
    """A character is called by her name, over all workers, and stays for the next messages."""
    user = "U" + "1a" * 16
    assert answered(server, line, text("Kasho、おはよう", user=user)) in said("morning", "kasho")
    for _ in range(4):
        assert answered(server, line, text("疲れた", user=user)) in said("tired", "kasho")
    assert answered(server, line, text("ユリ、疲れた", user=user)) in said("tired", "yuri")
    other = text("疲れた", user="U" + "1b" * 16)
    assert answered(server, line, other) in said("tired", "botan")


def test_what_is_delivered_again_is_answered_once(server: kit.Server, line: Line) -> None:
    """A redelivered event, by whichever worker, and one twice in a delivery, is answered once."""
    one = text("おはよう")
    again = {**one, "deliveryContext": {"isRedelivery": True}}
    before = counted(server).get("repeated", 0)
    assert deliver(server, one, one).status == 200
    for _ in range(6):
        assert deliver(server, again).status == 200
    wait_for(lambda: counted(server).get("repeated", 0) >= before + 7, "the repeats")
    assert [token for token, _ in line.replies] == [one["replyToken"]]
    assert len(line.asked) == 1


def test_without_the_right_signature_nothing_is_read(server: kit.Server, line: Line) -> None:
    """A body that LINE did not sign gets a 400 and no answer."""
    body = json.dumps({"events": [text("おはよう")]}).encode()
    wrong = [
        None,
        "",
        "あ".encode().decode("latin-1"),
        sign(body, "another-secret"),
        sign(body + b" "),
        sign(body)[:-1],
        sign(body).swapcase(),
        "A" * 60_000,
    ]
    for signature in wrong:
        assert post(server, body, signature).status == 400, signature
    assert post(server, b"\xff", sign(b"\xff")).status == 400
    assert line.asked == []


def test_no_delivery_makes_an_error_of_the_servers(tmp_path: Path) -> None:
    """Whatever is signed: JSON that is none, events with anything missing or of another type."""
    # A server of its own: what others sent may be counted a second later.
    with _started(tmp_path) as (line, server):
        _deliver_anything(line, server)


def _deliver_anything(line: Line, server: kit.Server) -> None:
    rng = Random(14)
    whole = text("おはよう", [{"index": 0, "length": 2, "type": "user", "isSelf": True}])
    odd: list[Any] = [None, 0, -1, 1e300, "", "x", [], {}, [[]], {"a": 1}, True, "\ud800", 10**30]
    taken = 1
    for _ in range(150):
        one = json.loads(json.dumps(whole))
        one["webhookEventId"] = one["replyToken"] = f"odd-{rng.random()}"
        _spoil(one, rng, odd)
        status = deliver(server, one).status
        assert status in (200, 400)
        taken += status == 200
    for value in (b"", b"{", b"[]", b"null", b'{"events": 5}', b"{}", b"[" * 30_000):
        assert post(server, value, sign(value)).status == 400, value[:20]
    assert deliver(server).status == 200
    assert answered(server, line, text("おはよう")) in said("morning")
    wait_for(lambda: sum(counted(server).values()) == taken, "what becomes of all")
    assert b"Traceback" not in (server.folder / "server.log").read_bytes()


def _spoil(value: Any, rng: Random, odd: list[Any]) -> None:
    """Take something away, or put something else in its place, at a random depth."""
    while True:
        key = rng.choice(list(value))
        below = value[key]
        if isinstance(below, dict) and below and rng.random() < 0.6:
            value = below
            continue
        if rng.random() < 0.3:
            del value[key]
        else:
            value[key] = rng.choice(odd)
        return


def test_a_delivery_of_very_many_events_is_refused_whole(server: kit.Server, line: Line) -> None:
    """10,000 events are refused before any is read, and so is a body that is too long."""
    many = json.dumps({"events": [{}] * 10_000}).encode()
    assert post(server, many, sign(many)).status == 413
    long = json.dumps({"events": [text("あ" * 5000) for _ in range(40)]}).encode()
    assert post(server, long, sign(long)).status == 413
    assert line.asked == []


def test_a_delivery_of_long_messages_is_taken(server: kit.Server, line: Line) -> None:
    """Some of the longest messages that LINE allows fit into one delivery."""
    events = [text("疲れた。" * 1250, user=f"U{number:032x}") for number in range(20)]
    assert deliver(server, *events).status == 200
    line.wait_for(20)
    assert {token for token, _ in line.replies} == {one["replyToken"] for one in events}


def test_a_hundred_users_at_once_are_all_answered(server: kit.Server, line: Line) -> None:
    """Each with the own token, once."""
    events = [text("おはよう", user=f"U{number:032x}") for number in range(100)]
    assert deliver(server, *events).status == 200
    line.wait_for(100)
    assert {token for token, _ in line.replies} == {one["replyToken"] for one in events}
    assert len(line.asked) == 100


def test_somebody_in_danger_is_answered_with_care_over_line_too(
    server: kit.Server, line: Line
) -> None:
    """A grave message is answered with numbers, and the care lasts, over all workers."""
    user = "U" + "2a" * 16
    first = answered(server, line, text("もう死にたい", user=user))
    assert any(sign.isdigit() for sign in first)
    for _ in range(4):
        told = answered(server, line, text("おはよう", user=user))
        assert told not in said("morning")
    assert answered(server, line, text("おはよう", user="U" + "2b" * 16)) in said("morning")


def test_nothing_of_who_writes_is_kept(server: kit.Server, line: Line) -> None:
    """No id of a user or group, no word of a message and no token is in a file afterwards."""
    answered(server, line, text("ヒミツノコトバだよ、牡丹", user=USER, group=GROUP))
    kept = b"".join(path.read_bytes() for path in server.folder.rglob("*") if path.is_file())
    for word in (USER, GROUP, "ヒミツノコトバ", SECRET, TOKEN, "token-"):
        assert word.encode() not in kept, word


def test_what_was_told_is_forgotten_with_the_friend(server: kit.Server, line: Line) -> None:
    """Who blocks the bot and comes back is not reminded of what was told before; others are."""
    ends = [told.rpartition("}")[2] for told in said("recall_exam")]
    for number, blocks in enumerate((False, True)):
        user = "U" + f"{number}d" * 16
        answered(server, line, text("明日テストなんだ", user=user))
        if blocks:
            gone = event("unfollow", user=user)
            del gone["replyToken"]
            assert deliver(server, gone).status == 200
        replies = [answered(server, line, text("ひま", user=user)) for _ in range(4)]
        assert any(end in reply for reply in replies for end in ends) is not blocks


def test_taken_back_and_other_events_are_no_error(server: kit.Server, line: Line) -> None:
    """Events that need no answer, or must not get one, are taken and left."""
    standby = {**text("おはよう"), "mode": "standby"}
    gone = event("unfollow")
    del gone["replyToken"]
    unsent = event("unsend", unsend={"messageId": "1"})
    del unsent["replyToken"]
    new = event("somethingNew")
    assert deliver(server, standby, gone, unsent, new, event("leave", group=GROUP)).status == 200
    assert answered(server, line, text("おはよう")) in said("morning")
    assert len(line.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_what_line_refuses_is_not_sent_again(server: kit.Server, line: Line, status: int) -> None:
    """A reply token is used once, whatever LINE says; the log tells no text."""
    line.status = status
    log = server.folder / "server.log"
    before = log.read_text().count(f"Exception {status}")
    assert deliver(server, text("おはよう")).status == 200
    wait_for(lambda: log.read_text().count(f"Exception {status}") > before, "the failure")
    assert len(line.asked) == 1
    assert "LINE did not take a reply" in log.read_text()
    assert "token-" not in log.read_text()


def test_without_a_channel_there_is_no_webhook(plain: kit.Server) -> None:
    """A server that was given no secret has no bot."""
    assert deliver(plain, text("おはよう")).status == 404


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"TSUKURIOKI_LINE_SECRET": SECRET}, "TSUKURIOKI_LINE_TOKEN"),
        ({"TSUKURIOKI_LINE_TOKEN": TOKEN}, "TSUKURIOKI_LINE_SECRET"),
        ({**SETTINGS, "TSUKURIOKI_LINE_CHARACTER": "nobody"}, "one of botan, kasho, yuri"),
    ],
)
def test_a_bot_that_cannot_be_is_told_at_the_start(
    tmp_path: Path, settings: dict[str, str], told: str
) -> None:
    """One line names the setting; nothing is shown of a secret."""
    with pytest.raises(AssertionError) as ended, kit.started(tmp_path, **settings):
        pass
    assert told in str(ended.value)
    assert len(str(ended.value).splitlines()) == 1
    assert SECRET not in str(ended.value)


def test_a_missing_library_is_told_at_the_start(tmp_path: Path) -> None:
    """Without line-bot-sdk the start ends with what to install."""
    (tmp_path / "linebot.py").write_text("raise ImportError('not here', name='linebot')")
    with (
        pytest.raises(AssertionError) as ended,
        kit.started(tmp_path, **SETTINGS, PYTHONPATH=str(tmp_path)),
    ):
        pass
    assert "pip install 'tsukurioki[line]'" in str(ended.value)
    assert "Traceback" not in str(ended.value)


@pytest.mark.parametrize("name", ["line.md", "line.ja.md"])
def test_the_commands_of_the_page_work(server: kit.Server, name: str) -> None:
    """The delivery that the page makes by hand is taken, and its settings are settings."""
    page = (kit.ROOT / "docs" / name).read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    tried = next(block for block in blocks if "openssl" in block)
    ended = subprocess.run(
        ["bash", "-ec", tried.replace(":8000/", f":{server.port}/")],
        env={**os.environ, "TSUKURIOKI_LINE_SECRET": SECRET},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert ended.stdout.startswith("HTTP/1.1 200 OK")
    settings = next(block for block in blocks if "TSUKURIOKI_LINE_TOKEN=" in block)
    named = dict(line.split("=", 1) for line in settings.splitlines())
    assert set(named) <= {row.name for row in TABLE}
    assert Settings.read({**named, "TSUKURIOKI_TOKEN": "word"}).line_token


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


@cache
def _decks() -> dict[str, Server]:
    return dict(prepare_all({"chat": chat_deck()}))


@pytest.fixture
def within(tmp_path: Path, clock: Clock) -> Iterator[tuple[Line, Service, Ollama]]:
    """A service in this process, whose time is the clock's; Ollama hangs."""
    line, ollama = Line(), Ollama(fault="hang")
    with line_api(line) as there, served(ollama_handler(ollama)) as here:
        environ = kit.environment(
            tmp_path,
            **SETTINGS,
            TSUKURIOKI_LINE_BASE_URL=there,
            OLLAMA_HOST=here,
            TSUKURIOKI_CHAT_DEADLINE="600",
        )
        service = Service(Settings.read(environ), clock=clock, servers=_decks())
        yield line, service, ollama
        line.hold.set()
        ollama.release.set()
        service.stopping.set()


def _given(service: Service, *events: dict[str, Any]) -> None:
    body = json.dumps({"events": events}).encode()
    assert service.line
    service.line.deliver(body, sign(body))


def _outcomes(service: Service) -> dict[str, int]:
    assert service.line
    return service.line.figures()


def test_a_token_is_not_used_after_its_time(
    within: tuple[Line, Service, Ollama], clock: Clock
) -> None:
    """While LINE's API hangs, deliveries are taken; what comes too late is counted and not sent."""
    line, service, _ = within
    _given(service, *(text("おはよう", user=f"U{number:032x}") for number in range(20)))
    line.wait_for(8)
    clock.now += 30
    line.hold.set()
    wait_for(lambda: _outcomes(service).get("late", 0) == 12, "the late ones")
    wait_for(lambda: _outcomes(service).get("answered", 0) == 8, "the answered ones")
    assert len(line.asked) == 8


def test_a_slow_model_does_not_use_up_the_token(
    within: tuple[Line, Service, Ollama], clock: Clock
) -> None:
    """A model that is not ready when the token's time ends is left, and she says something."""
    line, service, ollama = within
    line.hold.set()
    one = text("切手の裏に地図が印刷してあったんだけど")
    _given(service, one)
    assert ollama.asking.wait(10)
    clock.now += 16
    assert line.reply_to(one["replyToken"]) in said("fallback")
    assert ollama.gone.wait(10)


def test_too_many_that_wait_are_refused_whole(within: tuple[Line, Service, Ollama]) -> None:
    """LINE is told to deliver again what there is no room for; nothing of it is answered twice."""
    line, service, _ = within
    statuses = []
    for part in range(6):
        users = (f"U{part:02}{number:030x}" for number in range(100))
        try:
            _given(service, *(text("おはよう", user=user) for user in users))
            statuses.append(200)
        except Exception as error:  # noqa: BLE001  # its status is what is tested
            statuses.append(error.status)  # type: ignore[attr-defined]
    assert statuses == [200, 200, 200, 200, 200, 429]
    line.hold.set()
    line.wait_for(500)
    assert len({token for token, _ in line.replies}) == len(line.asked) == 500


def test_a_conversation_is_answered_in_its_order() -> None:
    """Jobs with the same key run one after the other, whatever the threads; others beside them."""
    queue = Queue(4, 10_000)
    ran: dict[str, list[int]] = defaultdict(list)
    running: set[str] = set()
    clashes: list[str] = []
    done = threading.Semaphore(0)

    def job(key: str, number: int) -> None:
        if key in running:
            clashes.append(key)
        running.add(key)
        ran[key].append(number)
        running.discard(key)
        done.release()

    rng = Random(1)
    jobs = [(rng.choice("abcdefgh"), number) for number in range(2000)]
    for start in range(0, 2000, 50):
        part = [(k, lambda k=k, n=n: job(k, n)) for k, n in jobs[start : start + 50]]
        assert queue.put(part)
    for _ in jobs:
        assert done.acquire(timeout=20)
    assert not clashes
    assert all(numbers == sorted(numbers) for numbers in ran.values())


def test_who_is_called(deck: CharacterDeck, english: CharacterDeck) -> None:
    """Names at the ends of a message call; the same letters within another word do not."""
    botan, kasho = deck.character_by_id["botan"], deck.character_by_id["kasho"]
    hobb = english.characters[0]
    for called, message in (
        (botan, "牡丹"),
        (botan, "＠ぼたん、起きてる？"),
        (botan, "おはよー、ボタンちゃん！"),
        (kasho, "kasho おはよう"),
        (kasho, "かしょーさん"),
        (hobb, "Hobb, are you there?"),
        (hobb, "Are you there, hobb?"),
    ):
        assert is_called(called, message), message
    for silent, message in (
        (botan, "昨日、牡丹を見た"),
        (hobb, "Hobbits are small"),
        (hobb, "I like my hobby"),
        (kasho, "火傷した"),
    ):
        assert not is_called(silent, message), message
