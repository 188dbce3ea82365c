"""The Python clients of Gemini: google-genai, and the older google-generativeai."""

from __future__ import annotations

import importlib
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

import httpx2
import pydantic
import pytest
from google import genai
from google.genai import errors, types

from tests.making import Server
from tests.web.clients.services import ANSWER, CALLED, Services, in_a_thread

pytestmark = pytest.mark.xdist_group("clients")


class Dish(pydantic.BaseModel):
    """A structured answer."""

    dish: str
    price: int


WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            description="Tells the weather.",
            parameters=types.Schema(
                type=types.Type.OBJECT,
                properties={"city": types.Schema(type=types.Type.STRING)},
            ),
        )
    ]
)
BY_HAND = types.AutomaticFunctionCallingConfig(disable=True)


def connect(server: Server, version: str, **more: Any) -> Any:
    options = types.HttpOptions(base_url=server.url, api_version=version, **more)
    return genai.Client(api_key="AIza-any", http_options=options)


@pytest.fixture(scope="module", params=["v1", "v1beta"])
def client(dropin: Server, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The client of either version of the API."""
    made = connect(dropin, request.param)
    yield made
    made.close()


def test_a_character_is_a_model(client: Any) -> None:
    """A character answers under her name, whole and in pieces, and a chat goes on."""
    told = client.models.generate_content(model="botan", contents="こんにちは")
    assert told.text
    assert told.usage_metadata
    parts = list(client.models.generate_content_stream(model="yuri", contents="こんにちは"))
    assert "".join(part.text or "" for part in parts)
    assert parts[-1].candidates
    assert parts[-1].candidates[0].finish_reason == types.FinishReason.STOP
    chat = client.chats.create(model="kasho")
    assert chat.send_message("おはよう").text
    assert chat.send_message("ありがとう").text


def test_recorded_replies_are_replayed(client: Any, upstream: Services) -> None:
    """A reply that is recorded is replayed, whole and streamed."""
    config = types.GenerateContentConfig(system_instruction="Be brief.", seed=3)
    told = client.models.generate_content(model="gemini-x", contents="one?", config=config)
    assert "one?" in str(told.text)
    before = len(upstream.paths)
    stream = client.models.generate_content_stream(model="gemini-x", contents="one?", config=config)
    parts = [part.text or "" for part in stream]
    assert len(parts) > 3
    assert "".join(parts) == told.text
    assert len(upstream.paths) == before


def test_tools_are_called_and_answered(client: Any) -> None:
    """A call of a tool comes whole, streamed too, and its result leads to an answer."""
    config = types.GenerateContentConfig(tools=[WEATHER], automatic_function_calling=BY_HAND)
    told = client.models.generate_content(model="gemini-x", contents="weather?", config=config)
    assert told.function_calls
    assert (told.function_calls[0].name, told.function_calls[0].args) == ("weather", CALLED)
    stream = client.models.generate_content_stream(
        model="gemini-x", contents="weather?", config=config
    )
    assert [call.args for part in stream for call in part.function_calls or ()] == [CALLED]
    assert told.candidates
    history: list[Any] = [
        types.UserContent("weather?"),
        told.candidates[0].content,
        types.Part.from_function_response(name="weather", response={"result": "rain"}),
    ]
    after = client.models.generate_content(model="gemini-x", contents=history, config=config)
    assert "rain" in str(after.text)


def test_structured_answers_are_parsed(client: Any) -> None:
    """A schema's answer is parsed."""
    config = types.GenerateContentConfig(
        response_mime_type="application/json", response_schema=Dish
    )
    told = client.models.generate_content(model="gemini-x", contents="dish?", config=config)
    assert told.parsed == Dish.model_validate(ANSWER)


def test_tokens_embeddings_and_images(client: Any) -> None:
    """Tokens are counted, texts embedded, images are parts."""
    assert (
        client.models.count_tokens(model="gemini-x", contents="こんにちは").total_tokens or 0
    ) > 0
    told = client.models.embed_content(model="embed-g", contents=["ab", "abc"])
    assert told.embeddings
    assert [row.values for row in told.embeddings] == [[2.0, 0.5, -0.25], [3.0, 0.5, -0.25]]
    image = types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
    seen = client.models.generate_content(model="gemini-x", contents=["What?", image])
    assert "1 media" in str(seen.text)


def test_models_are_listed(client: Any) -> None:
    """Decks and characters are listed and shown."""
    names = {model.name for model in client.models.list()}
    assert {"models/botan", "models/poem", "models/menu"} <= names
    assert client.models.get(model="botan").name == "models/botan"


def test_errors_are_the_clients_own(client: Any, dropin: Server) -> None:
    """A miss and an unknown model are 404, a wrong member is a 400 that names it."""
    with pytest.raises(errors.ClientError, match="nothing is recorded") as caught:
        client.models.generate_content(model="menu", contents="nothing")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    with pytest.raises(errors.ClientError, match="nothing is recorded"):
        list(client.models.generate_content_stream(model="menu", contents="nothing"))
    with pytest.raises(errors.ClientError) as caught:
        client.models.get(model="nobody")
    assert caught.value.code == 404
    with pytest.raises(errors.ClientError, match="quota exceeded") as caught:
        client.models.generate_content(model="gemini-x", contents="overloaded")
    assert caught.value.status == "RESOURCE_EXHAUSTED"
    config = types.GenerateContentConfig(candidate_count=1000)
    with pytest.raises(errors.ClientError, match="candidateCount") as caught:
        client.models.generate_content(model="gemini-x", contents="x", config=config)
    assert caught.value.code == 400


def test_a_client_that_does_not_wait(client: Any, dropin: Server, upstream: Services) -> None:
    """A client's time-out is its own: others are answered."""
    hasty = connect(dropin, "v1", timeout=300)
    with upstream.slow(), pytest.raises(httpx2.TimeoutException):
        hasty.models.generate_content(model="gemini-x", contents=f"slow {id(client)}")
    hasty.close()
    assert client.models.get(model="botan")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_async(dropin: Server) -> None:
    """The asynchronous client gets the same, whole and streamed."""

    async def ask() -> tuple[str, str]:
        async with connect(dropin, "v1beta").aio as client:
            told = await client.models.generate_content(model="gemini-x", contents="many?")
            stream = await client.models.generate_content_stream(model="gemini-x", contents="many?")
            return told.text or "", "".join([part.text or "" async for part in stream])

    whole, streamed = in_a_thread(ask())
    assert whole == streamed


def test_a_key_in_the_query_and_a_stream_without_events(dropin: Server) -> None:
    """Without alt=sse a stream is a JSON array; a key may stand in the query."""
    body = {"contents": [{"parts": [{"text": "こんにちは"}]}]}
    with dropin.client() as http:
        answer = http.post("/v1beta/models/botan:streamGenerateContent?key=x", json=body)
        parts = json.loads(answer.content)
        assert parts[-1]["candidates"][0]["finishReason"] == "STOP"
        wrong = http.post("/v1beta/models/botan:predict", json=body)
        assert wrong.status_code == 404
        assert "predict" in wrong.json()["error"]["message"]


@pytest.mark.parametrize(
    "model",
    ["x%3Fy%3D", "..%2F..%2Ffiles%3Fx%3D", "a%0D%0AX-A%3A1", "%FF%00", "%23", "a/../b", "a%2Fb"],
)
def test_a_models_name_is_no_path_of_the_upstream(
    dropin: Server, upstream: Services, model: str
) -> None:
    """Whatever the name of a model is, the upstream is asked for content of one model, or nothing is."""
    before = len(upstream.paths)
    body = {"contents": [{"parts": [{"text": f"path {model}"}]}]}
    with dropin.client() as http:
        answer = http.post(f"/v1beta/models/{model}:generateContent", json=body)
    assert answer.status_code < 500
    for path in upstream.paths[before:]:
        assert re.fullmatch(r"/v1beta/models/[^/?#]+:generateContent", path)


def test_the_older_library(dropin: Server) -> None:
    """google-generativeai sends its enums as numbers, and is answered too."""
    pytest.importorskip("google.generativeai", reason="google-generativeai is missing")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old: Any = importlib.import_module("google.generativeai")
        old.configure(api_key="x", transport="rest", client_options={"api_endpoint": dropin.url})
        schema = {"type": "object", "properties": {"dish": {"type": "string"}}}
        model = old.GenerativeModel("gemini-x")
        told = model.generate_content(
            "dish?",
            generation_config={"response_mime_type": "application/json", "response_schema": schema},
        )
        assert json.loads(told.text) == ANSWER
        streamed = old.GenerativeModel("botan").generate_content("こんにちは", stream=True)
        assert "".join(part.text for part in streamed)
        assert "models/botan" in {m.name for m in old.list_models()}
