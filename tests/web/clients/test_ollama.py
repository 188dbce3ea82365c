"""The Python client of Ollama."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import pytest

from tests.making import Server
from tests.web.clients.services import ANSWER, CALLED, Services, in_a_thread

pytestmark = pytest.mark.xdist_group("clients")

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def said(text: str) -> list[dict[str, str]]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def client(dropin: Server) -> Iterator[Any]:
    """The client, with another host."""
    made: Any = ollama.Client(host=dropin.url, timeout=30, trust_env=False)
    yield made
    made.close()


def test_a_character_is_a_model(client: Any) -> None:
    """A character answers under her name, with the tag that lists add, whole and line by line."""
    told = client.chat(model="botan:latest", messages=said("こんにちは"))
    assert told.message.content
    assert (told.done, told.done_reason) == (True, "stop")
    parts = list(client.chat(model="yuri", messages=said("こんにちは"), stream=True))
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert "".join(part.message.content or "" for part in parts)


def test_recorded_replies_are_replayed(client: Any, upstream: Services) -> None:
    """Chat and generate replay one recording, whole and streamed."""
    before = len(upstream.paths)
    text = client.chat(model="llama-x", messages=said("one?")).message.content
    parts = list(client.chat(model="llama-x", messages=said("one?"), stream=True))
    assert len(parts) > 3
    assert "".join(part.message.content or "" for part in parts) == text
    told = client.generate(model="llama-x", prompt="one?", system="")
    assert told.response == text
    assert told.eval_count == 5
    assert (
        "".join(p.response or "" for p in client.generate("llama-x", "one?", stream=True)) == text
    )
    assert len(upstream.paths) == before + 1


def test_the_options_of_a_machine_decide_nothing(client: Any, upstream: Services) -> None:
    """num_ctx and keep_alive do not make another request; temperature and format do."""
    before = len(upstream.paths)
    client.generate("llama-x", "two?", options={"num_ctx": 512}, keep_alive="5m")
    client.generate("llama-x", "two?", options={"num_ctx": 4096}, keep_alive=-1)
    client.generate("llama-x", "two?", options={"temperature": 0.1})
    told = client.generate("llama-x", "two?", format="json")
    assert json.loads(told.response or "") == ANSWER
    schema = {"type": "object", "properties": {"dish": {"type": "string"}}}
    told = client.generate("llama-x", "two?", format=schema)
    assert json.loads(told.response or "") == ANSWER
    assert len(upstream.paths) == before + 4


def test_tools_are_called_and_answered(client: Any) -> None:
    """A call of a tool comes whole, streamed too, and its result leads to an answer."""
    asked: list[Any] = said("weather?")
    message = client.chat(model="llama-x", messages=asked, tools=[TOOL]).message
    assert message.tool_calls
    assert message.tool_calls[0].function.name == "weather"
    assert message.tool_calls[0].function.arguments == CALLED
    parts = client.chat(model="llama-x", messages=asked, tools=[TOOL], stream=True)
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [call.function.arguments for call in calls] == [CALLED]
    result = {"role": "tool", "tool_name": "weather", "content": "rain"}
    after = client.chat(model="llama-x", messages=[*asked, message, result], tools=[TOOL])
    assert "rain" in str(after.message.content)


def test_embeddings_and_images(client: Any) -> None:
    """Both forms of embeddings, and a message with an image."""
    assert client.embed("embed-o", ["ab", "abc"]).embeddings == [
        [2.0, 0.5, -0.25],
        [3.0, 0.5, -0.25],
    ]
    assert client.embeddings("embed-o", "abcd").embedding == [4.0, 0.5, -0.25]
    image: Any = [{"role": "user", "content": "What?", "images": [b"\x89PNG"]}]
    assert "1 media" in str(client.chat(model="llama-x", messages=image).message.content)


def test_models_are_listed_shown_loaded_and_pulled(client: Any) -> None:
    """Decks are models with tags; they need no download, and are loaded."""
    names = {model.model for model in client.list().models}
    assert {"botan:latest", "poem:latest", "menu:latest"} <= names
    assert client.show("botan").capabilities
    client.chat(model="llama-listed:7b", messages=said("x"))
    assert client.show("llama-listed:7b").capabilities
    assert {model.model for model in client.ps().models} >= names
    assert [part.status for part in client.pull("botan", stream=True)][-1] == "success"
    assert client.pull("botan").status == "success"
    assert client.generate("botan").done_reason == "load"
    assert client.generate("botan", keep_alive=0).done_reason == "unload"
    assert client.chat("botan", []).done_reason == "load"


def test_errors_are_the_clients_own(client: Any, dropin: Server) -> None:
    """An unknown model and a miss are 404 with a sentence; a wrong member is a 400."""
    for ask in (client.show, client.pull):
        with pytest.raises(ollama.ResponseError, match="model 'nobody' not found") as caught:
            ask("nobody")
        assert caught.value.status_code == 404
    for stream in (False, True):
        with pytest.raises(ollama.ResponseError, match="nothing is recorded") as caught:
            list(client.chat(model="menu", messages=said("nothing"), stream=stream))
        assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="role"):
        client.chat(model="llama-x", messages=[{"role": "king", "content": "x"}])
    with pytest.raises(ollama.ResponseError, match="quota exceeded") as caught:
        client.chat(model="llama-x", messages=said("overloaded"))
    assert caught.value.status_code == 429


def test_a_client_that_does_not_wait(client: Any, dropin: Server, upstream: Services) -> None:
    """A client's time-out is its own: others are answered."""
    hasty: Any = ollama.Client(host=dropin.url, timeout=0.3, trust_env=False)
    with upstream.slow(), pytest.raises(httpx.TimeoutException):
        hasty.chat(model="llama-x", messages=said("slow"))
    hasty.close()
    assert client.list()


def test_async(dropin: Server) -> None:
    """The asynchronous client gets the same, whole and streamed."""

    async def ask() -> tuple[str, str]:
        client: Any = ollama.AsyncClient(host=dropin.url, trust_env=False)
        told = await client.chat(model="llama-x", messages=said("many?"))
        stream = await client.chat(model="llama-x", messages=said("many?"), stream=True)
        text = "".join([part.message.content or "" async for part in stream])
        await client.close()
        return told.message.content or "", text

    whole, streamed = in_a_thread(ask())
    assert whole == streamed


def test_bodies_without_a_type_are_read(dropin: Server) -> None:
    """A body as an octet stream, or with no type, is JSON all the same; an absent `stream` is true."""
    body = json.dumps({"model": "botan", "messages": said("やあ")}).encode()
    with dropin.client() as http:
        for headers in ({}, {"content-type": "application/octet-stream"}):
            answer = http.post("/api/chat", content=body, headers=headers)
            assert answer.headers["content-type"] == "application/x-ndjson"
            assert json.loads(answer.text.splitlines()[-1])["done"] is True
        assert http.get("/").text == "Ollama is running"
        assert http.head("/").status_code == 200
        assert http.get("/api/version").json()["version"]
        assert "<html" in http.get("/", headers={"accept": "text/html"}).text
        ours = http.post("/api/chat", json={"messages": said("やあ")}).json()
        assert ours["character"] == "botan"
