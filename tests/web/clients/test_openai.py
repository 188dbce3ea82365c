"""The Python client of OpenAI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.making import Server
from tests.web.clients.services import ANSWER, CALLED, Services, in_a_thread

pytestmark = pytest.mark.xdist_group("clients")

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "こんにちは"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Dish(pydantic.BaseModel):
    """A structured answer."""

    dish: str
    price: int


@pytest.fixture(scope="module")
def client(dropin: Server) -> Iterator[Any]:
    """The client, with one base URL changed."""
    with openai.OpenAI(base_url=f"{dropin.url}/v1", api_key="sk-any", max_retries=2) as made:
        yield made


def said(text: str) -> list[ChatCompletionMessageParam]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def test_a_character_is_a_model(client: Any) -> None:
    """A character answers under her name, whole and in pieces, and says which tier answered."""
    raw = client.chat.completions.with_raw_response.create(model="botan", messages=HELLO)
    assert raw.headers["x-tsukurioki-tier"] == "rules"
    assert len(raw.headers["x-tsukurioki-key"]) == 32
    told = raw.parse()
    assert told.choices[0].message.content
    assert told.usage
    assert told.usage.total_tokens > 0
    stream = client.chat.completions.create(model="chat/yuri", messages=HELLO, stream=True)
    chunks = list(stream)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_a_reply_is_recorded_once_and_replayed(client: Any, upstream: Services) -> None:
    """The first request is recorded, all later ones are replayed: whole, streamed, by both APIs."""
    before = len(upstream.paths)
    raw = client.chat.completions.with_raw_response.create(model="gpt-x", messages=said("one?"))
    assert raw.headers["x-tsukurioki-tier"] == "recorded"
    text = raw.parse().choices[0].message.content
    again = client.chat.completions.with_raw_response.create(
        model="gpt-x", messages=said("one?"), user="u-1", metadata={"run": "2"}, store=True
    )
    assert again.headers["x-tsukurioki-tier"] == "exact"
    assert again.headers["x-tsukurioki-key"] == raw.headers["x-tsukurioki-key"]
    assert again.parse().choices[0].message.content == text
    chunks = list(
        client.chat.completions.create(
            model="gpt-x",
            messages=said("one?"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    pieces = [
        c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content
    ]
    assert len(pieces) > 2
    assert "".join(pieces) == text
    assert chunks[-1].choices == []
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 5
    assert client.responses.create(model="gpt-x", input="one?").output_text == text
    assert len(upstream.paths) == before + 1


def test_what_decides_the_answer_makes_another_request(client: Any, upstream: Services) -> None:
    """Another system text, option, format or earlier turn is another recording."""
    before = len(upstream.paths)
    one = said("two?")
    system: list[ChatCompletionMessageParam] = [{"role": "system", "content": "Be brief."}]
    turn: list[ChatCompletionMessageParam] = [*said("a"), {"role": "assistant", "content": "b"}]
    for more in ({}, {"seed": 3}, {"reasoning_effort": "low"}, {"max_tokens": 9}):
        client.chat.completions.create(model="gpt-x", messages=one, **more)
    for messages in ([*system, *one], [*turn, *one]):
        client.chat.completions.create(model="gpt-x", messages=messages)
    assert len(upstream.paths) == before + 6


def test_several_choices(client: Any) -> None:
    """With `n`, there are so many choices, streamed by their index too."""
    told = client.chat.completions.create(model="gpt-x", messages=said("n?"), n=3)
    assert [choice.index for choice in told.choices] == [0, 1, 2]
    stream = client.chat.completions.create(model="gpt-x", messages=said("n?"), n=3, stream=True)
    texts = ["", "", ""]
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in told.choices]


def test_tools_are_called_and_answered(client: Any) -> None:
    """A call of a tool comes whole or in fragments, and its result leads to an answer."""
    asked: list[Any] = said("weather?")
    whole = client.chat.completions.create(model="gpt-x", messages=asked, tools=[TOOL])
    message = whole.choices[0].message
    assert whole.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls
    call: Any = message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", CALLED)
    with client.chat.completions.stream(model="gpt-x", messages=asked, tools=[TOOL]) as stream:
        stream.until_done()
        streamed: Any = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed[0].id == call.id
    assert json.loads(streamed[0].function.arguments) == CALLED
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    after = client.chat.completions.create(
        model="gpt-x", messages=[*asked, message, result], tools=[TOOL]
    )
    assert "rain" in str(after.choices[0].message.content)


def test_structured_answers_are_parsed(client: Any) -> None:
    """A schema's answer is parsed by both APIs."""
    chat = client.chat.completions.parse(
        model="gpt-x", messages=said("dish?"), response_format=Dish
    )
    parsed = chat.choices[0].message.parsed
    assert parsed
    assert parsed.model_dump() == ANSWER
    response = client.responses.parse(model="gpt-x", input="dish?", text_format=Dish)
    assert response.output_parsed == parsed
    loose = client.chat.completions.create(
        model="gpt-x", messages=said("dish?"), response_format={"type": "json_object"}
    )
    assert json.loads(loose.choices[0].message.content or "") == ANSWER


def test_responses_stream_typed_events(client: Any) -> None:
    """The events of a response are in order, and the last one has the whole of it."""
    with client.responses.stream(model="gpt-x", input="three?", instructions="Be brief.") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds.count("response.output_text.delta") > 2
    assert kinds[-1] == "response.completed"
    assert "three?" in final.output_text
    tool: Any = {"type": "function", **TOOL["function"]}
    with client.responses.stream(model="gpt-x", input="weather?", tools=[tool]) as stream:
        calls: Any = stream.get_final_response().output
    assert json.loads(calls[0].arguments) == CALLED
    items: list[Any] = [
        {"role": "user", "content": "weather?"},
        {
            "type": "function_call",
            "call_id": "x",
            "name": "weather",
            "arguments": '{"city":"京都"}',
        },
        {"type": "function_call_output", "call_id": "x", "output": "rain"},
    ]
    assert "rain" in client.responses.create(model="gpt-x", input=items).output_text


def test_completions_and_embeddings(client: Any) -> None:
    """The older completions, streamed too; embeddings as the client asks for them, in base64."""
    told = client.completions.create(model="gpt-x", prompt="Once upon")
    assert "Once upon" in told.choices[0].text
    stream = client.completions.create(model="gpt-x", prompt="Once upon", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == told.choices[0].text
    vectors = client.embeddings.create(model="embed-x", input=["ab", "abc"])
    assert [row.embedding for row in vectors.data] == [[2.0, 0.5, -0.25], [3.0, 0.5, -0.25]]
    floats = client.embeddings.create(model="embed-x", input=["ab", "abc"], encoding_format="float")
    assert floats.data[1].embedding == [3.0, 0.5, -0.25]


def test_an_image_is_part_of_the_question(client: Any, upstream: Services) -> None:
    """The same text with another image is another request; with the same one it is replayed."""

    def ask(image: str) -> str:
        url = {"url": f"data:image/png;base64,{image}"}
        content: Any = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": url}]
        told = client.chat.completions.create(
            model="gpt-x", messages=[{"role": "user", "content": content}]
        )
        return told.choices[0].message.content or ""

    before = len(upstream.paths)
    large = "AAAA" * 200_000
    assert all("1 media" in ask(image) for image in ("AAAA", "AAAB", "AAAA", large, large))
    assert len(upstream.paths) == before + 3


def test_models_are_listed(client: Any) -> None:
    """Decks and characters are listed and shown; an unknown name is a 404."""
    names = {model.id for model in client.models.list()}
    assert {"botan", "kasho", "yuri", "chat", "poem", "menu", "hobb", "chat/botan"} <= names
    client.chat.completions.create(model="gpt-listed", messages=said("x"))
    assert client.models.retrieve("gpt-listed").id == "gpt-listed"
    assert "recorded" not in names
    assert client.models.retrieve("chat/botan").id == "chat/botan"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nobody")
    assert caught.value.code == "model_not_found"


def test_errors_are_the_clients_own(client: Any, upstream: Services) -> None:
    """A miss is a 404 that is not asked again; a wrong member is named; an upstream's error passed on."""
    with pytest.raises(openai.NotFoundError) as missed:
        client.chat.completions.create(model="menu", messages=said("nothing"))
    assert missed.value.code == "not_recorded"
    assert missed.value.response.headers["x-should-retry"] == "false"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="menu", messages=said("nothing"), stream=True)
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model="gpt-x", messages=[{"role": "king"}])
    assert wrong.value.param == "messages[0].role"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="botan", messages=[])
    before = len(upstream.paths)
    with pytest.raises(openai.RateLimitError, match="quota exceeded"):
        client.with_options(max_retries=0).chat.completions.create(
            model="gpt-x", messages=said("overloaded")
        )
    assert len(upstream.paths) == before + 1


CUT: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "endless"}]},
    "/api/chat": {"messages": [{"role": "user", "content": "endless"}], "stream": False},
    "/v1beta/models/cut:generateContent": {"contents": [{"parts": [{"text": "endless"}]}]},
}


@pytest.mark.parametrize("path", CUT)
def test_a_reply_that_was_cut_is_given_and_said_not_to_be_kept(
    dropin: Server, upstream: Services, path: str
) -> None:
    """It ends at its greatest length: the client gets it, the header says why it is not recorded."""
    before = len(upstream.paths)
    with dropin.client() as http:
        for _ in range(2):
            reply = http.post(path, json={"model": "cut", **CUT[path]})
            assert reply.status_code == 200
            assert "Once upon" in reply.text
            assert reply.headers["x-tsukurioki-not-kept"] == "cut off"
    assert len(upstream.paths) == before + 2


def test_a_client_that_does_not_wait(client: Any, upstream: Services) -> None:
    """A client's time-out is its own: others are answered, and what came late is replayed."""
    hasty = client.with_options(max_retries=0, timeout=0.3)
    with upstream.slow(), pytest.raises(openai.APITimeoutError):
        hasty.chat.completions.create(model="gpt-x", messages=said("slow"))
    assert client.models.list()
    told = client.chat.completions.create(model="gpt-x", messages=said("slow"))
    assert "slow" in told.choices[0].message.content


def test_async(dropin: Server) -> None:
    """The asynchronous client gets the same, whole and streamed, many at a time."""

    async def ask() -> tuple[set[str], str]:
        async with openai.AsyncOpenAI(base_url=f"{dropin.url}/v1", api_key="x") as client:
            create = client.chat.completions.create
            told = await asyncio.gather(
                *(create(model="gpt-x", messages=said("many?")) for _ in range(20))
            )
            stream = await create(model="gpt-x", messages=said("many?"), stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            return {one.choices[0].message.content or "" for one in told}, text

    texts, streamed = in_a_thread(ask())
    assert texts == {streamed}
