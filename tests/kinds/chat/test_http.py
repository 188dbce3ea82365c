"""The chat's routes as a client meets them."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path

import pytest

from app.kinds.chat.deck import CharacterDeck
from tests.kinds.chat import kit
from tests.making import wait_for

HELLO = {"messages": [{"role": "user", "content": "こんにちは"}]}


def test_an_answer_says_where_it_is_from(plain: kit.Server) -> None:
    """Each answer names its tier, intent, character and conversation."""
    answer = plain.request("POST", "/api/chat", {**HELLO, "character": "yuri"})
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json
    assert (told["tier"], told["intent"], told["character"]) == ("rules", "hello", "yuri")
    assert told["conversation"]


def test_stored_lines_are_streamed_too(plain: kit.Server) -> None:
    """With stream a stored line comes as events, the whole answer last."""
    stream = kit.Stream(plain, "こんにちは", character="botan", conversation="c-1")
    assert stream.response.headers["Content-Type"] == "text/event-stream"
    events = stream.whole()
    assert events[0] == ("start", {"conversation": "c-1", "character": "botan"})
    told = "".join(data["text"] for name, data in events if name == "delta")
    assert events[-1][1]["text"] == told


def test_no_line_twice_in_a_row_and_all_before_any_repeats(
    plain: kit.Server, deck: CharacterDeck
) -> None:
    """Over two workers a conversation hears every line that fits before it hears one again.

    Lines that ask are left aside: what was asked is not asked again.
    """
    moment = {"character": "kasho", "conversation": "rounds"}
    texts = [plain.say("疲れた", **moment)["text"] for _ in range(40)]
    assert all(one != other for one, other in itertools.pairwise(texts))
    lines = deck.lines["kasho"]["tired"]
    asking = {line.text for line in lines if line.asks}
    assert max(map(texts.count, asking), default=0) <= 1
    texts = [text for text in texts if text not in asking]
    always = {line.text for line in lines if not line.when and not line.named} - asking
    distinct = len(set(texts))
    assert always <= set(texts)
    for start in range(0, len(texts) - distinct + 1, distinct):
        assert len(set(texts[start : start + distinct])) == distinct


def test_the_same_seed_gives_the_same_order(plain: kit.Server) -> None:
    """Another conversation hears another order; the same one, on another server, the same."""
    orders = [
        [
            plain.say("疲れた", character="botan", conversation=f"order-{n}")["text"]
            for _ in range(8)
        ]
        for n in range(3)
    ]
    assert len({tuple(order) for order in orders}) == 3


def test_a_repeat_without_a_conversation_is_avoided(plain: kit.Server) -> None:
    """A client that only sends the history does not hear the line again that stands there last."""
    last = "疲れた"
    history: list[dict[str, str]] = []
    for _ in range(12):
        history.append({"role": "user", "content": last})
        text = plain.request("POST", "/api/chat", {"messages": history}).json["text"]
        before = [m["content"] for m in history if m["role"] == "assistant"]
        assert not before or before[-1] != text
        history.append({"role": "assistant", "content": text})


def test_the_name_is_used_where_it_is_known(plain: kit.Server) -> None:
    """A line with a slot is said to those whose name is known, and to nobody else."""
    named = [plain.say("おはよう", name="はる", conversation="n")["text"] for _ in range(12)]
    nameless = [plain.say("おはよう", conversation="nn")["text"] for _ in range(12)]
    assert any("はる" in text for text in named)
    assert not any("{" in text for text in (*named, *nameless))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        ([], 400),
        ({}, 400),
        ({"messages": []}, 400),
        ({"messages": "hi"}, 400),
        ({"messages": [{"role": "system", "content": "x"}]}, 400),
        ({"messages": [{"role": "user", "content": ""}]}, 400),
        ({"messages": [{"role": "user", "content": 5}]}, 400),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400),
        ({"messages": [{"role": "user", "content": "x" * 4001}]}, 400),
        ({"messages": [{"role": "user", "content": "x"}] * 201}, 400),
        ({**HELLO, "character": "nobody"}, 400),
        ({**HELLO, "character": 3}, 400),
        ({**HELLO, "conversation": "x" * 65}, 400),
        ({**HELLO, "stream": "yes"}, 400),
        ({**HELLO, "name": "<b>"}, 400),
        ({**HELLO, "deck": "nothing"}, 404),
        ({**HELLO, "deck": "poem"}, 404),
        ({"messages": [{"role": "user", "content": "x" * 70_000}]}, 413),
    ],
)
def test_nonsense_is_a_problem_document(plain: kit.Server, body: object, status: int) -> None:
    """Whatever is sent, the answer is a 4xx that says what is wrong."""
    answer = plain.request("POST", "/api/chat", body)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["detail"]
    assert answer.json["error"]


@pytest.mark.parametrize(
    "text", ["\ud800", "\x00", "死" * 4000, "(" * 4000, "　", "ー", "🐱", "{name}", "<script>"]
)
def test_any_text_is_answered(plain: kit.Server, text: str) -> None:
    """No message makes an error of the server's."""
    body = {"messages": [{"role": "user", "content": text}]}
    assert plain.request("POST", "/api/chat", body).status in (200, 400)


def test_a_deck_of_patterns_is_not_dealt(plain: kit.Server) -> None:
    """The routes for cards say that a chat's deck is none, and the deck's own route tells it."""
    assert plain.request("GET", "/api/decks/chat/deal").status == 404
    told = plain.request("GET", "/api/decks/chat").json
    assert [c["id"] for c in told["characters"]] == ["botan", "kasho", "yuri"]


def test_limits_and_token(tmp_path: Path) -> None:
    """Too many messages get a 429 that says when to come back; without the token nothing is answered."""
    settings = {
        "TSUKURIOKI_TOKEN": "open-sesame",
        "TSUKURIOKI_CHAT_RATE": "30",
        "TSUKURIOKI_PROXIES": "1",
    }
    with kit.started(tmp_path, **settings) as server:

        def ask(address: str, token: str | None = "open-sesame") -> kit.Response:
            headers = {"X-Forwarded-For": f"6.6.6.6, {address}"}
            if token:
                headers["Authorization"] = f"Bearer {token}"
            return server.request("POST", "/api/chat", HELLO, headers)

        assert [ask("10.0.0.1").status for _ in range(6)] == [200] * 5 + [429]
        refused = ask("10.0.0.1")
        assert refused.headers["content-type"] == "application/problem+json"
        assert 1 <= int(refused.headers["retry-after"]) <= 2
        assert ask("10.0.0.2").status == 200
        for wrong in (None, "guess", ""):
            answer = ask("10.0.0.3", wrong)
            assert answer.status == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert server.request("GET", "/chat").status == 200


def test_the_page_is_plain_and_strict(plain: kit.Server) -> None:
    """The page has no script of its own in it, and a policy that would not let one run."""
    answer = plain.request("GET", "/chat")
    text = answer.body.decode()
    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=|javascript:", text)
    assert 'aria-live="polite"' in text
    assert all(name in text for name in ("牡丹", "Kasho", "ユリ"))
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', text):
        assert plain.request("GET", path).status == 200
    # All characters can be reached where the settings name none.
    assert 'href="/chat?deck=harbour"' in text
    assert '<html lang="en">' in plain.request("GET", "/chat?deck=harbour").body.decode()


def test_stats_tell_all_of_it(plain: kit.Server) -> None:
    """/stats has the layers beside the plan's, the cost beside the baseline, and the conversations."""
    plain.say("こんにちは", conversation="counted")
    told = plain.stats()
    assert told["space"]["intents"] >= 12
    assert told["layers"]["seen"]["rules"]["answers"] >= 1
    assert told["cost"]["spent_usd"] == 0
    assert told["cost"]["baseline_usd"] > 0
    assert told["conversations"] >= 1
    # A worker adds what it has counted once a second.
    wait_for(lambda: b'deck="chat"' in plain.request("GET", "/metrics").body, "the counts")


def test_a_build_without_a_provider_says_what_to_do(plain: kit.Server) -> None:
    """With no key a build of chat lines is one sentence: the vetted lines serve as they are."""
    built = kit.command(plain.environ, "build", "--deck", "chat", "--n", "10")
    assert built.returncode == 2
    assert "vetted lines" in built.stderr
    assert "Traceback" not in built.stderr


@pytest.mark.long
def test_both_kinds_of_deck_are_checked(plain: kit.Server) -> None:
    """`precompute check` finds nothing wrong with any deck in the box."""
    checked = kit.command(plain.environ, "check")
    assert checked.returncode == 0, checked.stdout
    named = Counter(
        line.split()[1].rstrip(":")
        for line in checked.stdout.splitlines()
        if line.startswith("deck ")
    )
    assert set(named) == {"chat", "harbour", "poem"}
