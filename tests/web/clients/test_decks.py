"""Decks of cards as models, and who may ask: over the wire, without a client library."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from app.kinds.cards.deck import Deck
from app.settings import Settings
from app.store.key import Query
from app.web.app import create_app
from app.web.dialects import MOST_BRACKETS, MOST_COMMAS, MOST_TEXT
from tests.conftest import Serve
from tests.making import DECKS, Server, game_body

pytestmark = pytest.mark.xdist_group("clients")


@pytest.fixture(scope="module")
def http(dropin: Server) -> Iterator[httpx.Client]:
    """A client that keeps its connection."""
    with dropin.client() as client:
        yield client


def complete(http: httpx.Client, model: str | None, text: str, **more: Any) -> httpx.Response:
    """A chat completion of one message; no model is named if it is None."""
    named = {} if model is None else {"model": model}
    body = {**named, "messages": [{"role": "user", "content": text}], **more}
    return http.post("/v1/chat/completions", json=body)


def answer_of(response: httpx.Response) -> dict[str, str]:
    """The title and poem in the text of a reply."""
    assert response.status_code == 200, response.text
    told: dict[str, str] = orjson.loads(response.json()["choices"][0]["message"]["content"])
    return told


def plays(deck: Deck, count: int) -> Iterator[Query]:
    rng = random.Random(15)
    for _ in range(count):
        categories = rng.sample(sorted(deck.cards_by_category), deck.hand_size)
        yield deck.query(
            [rng.choice(rng.choice(deck.cards_by_category[c]).phrases) for c in categories]
        )


def numbered(deck: Deck, query: Query) -> str:
    lines = [
        f"{n}. 条件：{deck.card_by_id[card].text}\n   言い換え：{deck.phrase_by_id[card, phrase].text}"
        for n, (card, phrase) in enumerate(query.picks, 1)
    ]
    return "あなたは詩人です。次の五つから、題と詩を書いてください。\n\n" + "\n".join(lines)


def arrows(deck: Deck, query: Query) -> str:
    lines = (
        f"- 「{deck.card_by_id[card].text}」→「{deck.phrase_by_id[card, phrase].text}」"
        for card, phrase in query.picks
    )
    titles = "、".join(deck.titles[:20])
    return "\r\n".join([*lines, "", f"題の候補：{titles}", "JSONで {title, poem} を返す。"])


def with_example(deck: Deck, query: Query) -> str:
    example = next(iter(plays(deck, 1)))
    return f"例：\n{arrows(deck, example)}\n\n本番：\n{numbered(deck, query)}"


def broken_lines(deck: Deck, query: Query) -> str:
    """Phrases whose text is broken over lines, as in a prompt that is wrapped."""
    texts = [deck.phrase_by_id[ids].text for ids in query.picks]
    return "\n".join(f"* {text[:5]}\n  {text[5:]}" for text in texts)


@pytest.mark.parametrize("written", [numbered, arrows, with_example, broken_lines])
def test_a_prompt_with_the_pairs_lines_is_a_play(
    http: httpx.Client, poem: Deck, written: Callable[[Deck, Query], str]
) -> None:
    """The play is read from the prompt's lines, and answered as the game's own call is."""
    for query in plays(poem, 5):
        ours = http.post("/api/generate-poem", json=game_body(poem, query)).json()
        response = complete(http, "poem", written(poem, query))
        assert answer_of(response) == {"title": ours["title"], "poem": ours["poem"]}
        assert response.headers["x-tsukurioki-tier"] == ours["tier"]
        assert response.headers["x-tsukurioki-key"] == ours["key"]


def test_a_play_as_json_is_a_play(http: httpx.Client, poem: Deck) -> None:
    """The text may be the body of either native call; `n` gives the variants in order."""
    for query in plays(poem, 5):
        ours = http.post("/api/generate-poem", json=game_body(poem, query)).json()
        told = {"title": ours["title"], "poem": ours["poem"]}
        hand = {"hand": [{"card": card, "phrase": phrase} for card, phrase in query.picks]}
        for play in (game_body(poem, query), hand):
            assert answer_of(complete(http, "poem", orjson.dumps(play).decode())) == told
        several = complete(http, "poem", orjson.dumps(hand).decode(), n=3).json()["choices"]
        variants = [
            http.post("/api/decks/poem/answer", json={**hand, "variant": n}).json()["poem"]
            for n in range(3)
        ]
        assert [orjson.loads(c["message"]["content"])["poem"] for c in several] == variants


def test_the_games_development_server_needs_no_change(tmp_path: Path, poem: Deck) -> None:
    """Its prompt, which it posts to a llama.cpp, is answered whatever model it names, or none."""
    known = {"TSUKURIOKI_DATA": str(tmp_path), "TSUKURIOKI_DECKS": str(DECKS)}
    client = create_app(Settings.read(known)).test_client()
    query = next(plays(poem, 1))
    ours = client.post("/api/generate-poem", json=game_body(poem, query)).json
    assert ours
    messages = [
        {"role": "system", "content": "あなたは不動産広告の詩人です。"},
        {"role": "user", "content": numbered(poem, query)},
    ]
    body = {"messages": messages, "temperature": 0.9, "max_tokens": 600, "stream": False}
    for named in ({}, {"model": "local-model"}, {"model": "gemma-3-4b-it"}, {"model": "poem"}):
        told = client.post("/v1/chat/completions", json={**body, **named}).json
        assert told
        poem_of = orjson.loads(told["choices"][0]["message"]["content"])
        assert poem_of == {"title": ours["title"], "poem": ours["poem"]}
    other = {**body, "messages": [{"role": "user", "content": "hello"}]}
    assert client.post("/v1/chat/completions", json=other).status_code == 404


def test_half_a_play_is_told(http: httpx.Client, poem: Deck) -> None:
    """A prompt without a whole hand is a 400 that says how much of one it has."""
    query = next(plays(poem, 1))
    card, phrase = query.picks[0]
    response = complete(http, "poem", f"これだけ：{poem.phrase_by_id[card, phrase].text}")
    assert response.status_code == 400
    assert "1 of the 5 phrases" in response.json()["error"]["message"]
    assert complete(http, "poem", '{"hand": []}').status_code == 400
    embedded = http.post("/v1/embeddings", json={"model": "poem", "input": "x"})
    assert "no embeddings" in embedded.json()["error"]["message"]


def test_token_and_rate(serve: Serve) -> None:
    """The token is shown as each client's own key; too many chats are a 429 in the client's form."""
    server = serve(
        TSUKURIOKI_DECKS=DECKS,
        TSUKURIOKI_TOKEN="open-sesame",
        TSUKURIOKI_CHAT_RATE=6,
        TSUKURIOKI_CHAT_PACE=0,
    )
    bearer = {"Authorization": "Bearer open-sesame"}
    said = {"model": "botan", "messages": [{"role": "user", "content": "やあ"}]}
    parts = {"contents": [{"parts": [{"text": "やあ"}]}]}
    with server.client() as http:
        for path in ("/v1/models", "/v1beta/models", "/api/tags", "/api/ps"):
            assert http.get(path).status_code == 401, path
            assert http.get(path, headers=bearer).status_code == 200, path
        for path, body in (
            ("/v1/chat/completions", said),
            ("/api/chat", said),
            ("/api/show", said),
        ):
            refused = http.post(path, json=body)
            assert refused.status_code == 401, path
            assert "TSUKURIOKI_TOKEN" in str(refused.json()["error"])
        gemini = "/v1beta/models/botan:generateContent"
        assert http.post(gemini, json=parts).json()["error"]["status"] == "UNAUTHENTICATED"
        wrong = http.post(gemini, json=parts, headers={"x-goog-api-key": "guess"})
        assert wrong.status_code == 401
        assert http.post(f"{gemini}?key=open-sesame", json=parts).status_code == 200
        late = http.post(gemini, json=parts, headers={"x-goog-api-key": "open-sesame"})
        assert (late.status_code, late.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
        assert int(late.headers["retry-after"]) >= 1
        late = http.post("/v1/chat/completions", json=said, headers=bearer)
        assert (late.status_code, late.json()["error"]["type"]) == (429, "rate_limit_error")
        missed = http.post("/v1/chat/completions", json={**said, "model": "x"}, headers=bearer)
        assert missed.json()["error"]["code"] == "not_recorded"


def test_long_bodies(http: httpx.Client) -> None:
    """These routes take 20 MiB and refuse more in the client's form; the others keep their limit."""
    for size, status in ((1 << 20, 400), (21 << 20, 413)):
        answer = http.post("/v1/chat/completions", content=b" " * size)
        assert (answer.status_code, "error" in answer.json()) == (status, True)
    answer = http.post("/api/chat", content=b" " * (1 << 20))
    assert answer.headers["content-type"] == "application/problem+json"
    ours = {"messages": [{"role": "user", "content": "x"}], "pad": "x" * 70_000}
    assert http.post("/api/chat", json=ours).status_code == 413
    assert http.post("/api/generate-poem", content=b" " * 70_000).status_code == 413


FILLED: dict[str, Callable[[bytes], bytes]] = {
    "/v1/chat/completions": lambda text: b'{"model":"m","messages":[{"role":"user","content":%b}]}' % text,
    "/v1/responses": lambda text: b'{"model":"m","input":%b}' % text,
    "/v1/embeddings": lambda text: b'{"model":"m","input":%b}' % text,
    "/api/chat": lambda text: b'{"model":"m","messages":[{"role":"user","content":%b}]}' % text,
    "/api/generate": lambda text: b'{"model":"m","prompt":%b}' % text,
    "/v1beta/models/m:generateContent": lambda text: b'{"contents":[{"parts":[{"text":%b}]}]}' % text,
    "/v1beta/models/m:countTokens": lambda text: b'{"contents":[{"parts":[{"text":%b}]}]}' % text,
}  # fmt: skip


@pytest.mark.parametrize("path", FILLED)
def test_a_body_of_too_many_parts_is_refused(http: httpx.Client, path: str) -> None:
    """What would take up to 40 times its length of memory, or minutes to read, is a 413 that says why."""
    bodies = {
        "brackets": FILLED[path](b"[" + b"[]," * MOST_BRACKETS + b"1]"),
        "commas": FILLED[path](b"[" + b"0," * (MOST_COMMAS + 1) + b"1]"),
        "characters": FILLED[path](b'"' + b"x" * (MOST_TEXT + 1) + b'"'),
    }
    for what, body in bodies.items():
        answer = http.post(path, content=body)
        if path == "/api/chat" and what != "characters":
            # Whose it would be, Ollama's or ours, is not known.
            assert answer.status_code == 413
            continue
        assert (answer.status_code, what in str(answer.json()["error"])) == (413, True), answer.text


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/api/generate", "/v1beta/models/m:generateContent"]
)
def test_a_deep_body_is_refused(http: httpx.Client, path: str) -> None:
    """A body that is nested too deeply is a 400, not a fault of the server."""
    for depth in (200, 900):
        raw = b'{"model":"m","prompt":"x","messages":[{"role":"user","content":"x"}],"x":'
        answer = http.post(path, content=raw + b"[" * depth + b"]" * depth + b"}")
        assert answer.status_code == 400
