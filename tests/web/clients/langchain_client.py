"""What LangChain's integrations get from a server: run by `test_others.py` in a process of its own.

python langchain_client.py http://127.0.0.1:8000
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Dish(BaseModel):
    """A dish."""

    dish: str
    price: int


@tool
def weather(city: str) -> str:
    """Tells the weather."""
    return f"rain in {city}"


def told(chat: Any, character: Any) -> dict[str, Any]:
    """Whole, streamed, asynchronous, with a tool, structured; and a character of a deck."""
    question = "langchain?"
    whole = chat.invoke(question)
    streamed = "".join(part.text for part in chat.stream(question))
    later = asyncio.run(chat.ainvoke(question))
    with_tool = chat.bind_tools([weather])
    asked: list[Any] = [HumanMessage("weather?")]
    call = with_tool.invoke(asked)
    result = ToolMessage(
        weather.invoke(call.tool_calls[0]["args"]),
        tool_call_id=call.tool_calls[0]["id"],
        name="weather",
    )
    after = with_tool.invoke([*asked, call, result])
    dish = chat.with_structured_output(Dish, method="json_schema").invoke("dish?")
    return {
        "whole": whole.text,
        "streamed": streamed,
        "later": later.text,
        "tool": call.tool_calls[0]["args"],
        "after": after.text,
        "dish": dish.model_dump(),
        "tokens": whole.usage_metadata["total_tokens"],
        "character": character.invoke("こんにちは").text,
    }


def main(url: str) -> None:
    """Write what each integration got, as JSON."""
    v1: Any = {"base_url": f"{url}/v1", "api_key": "x"}
    google: Any = {"base_url": url, "google_api_key": "x"}
    clients = {
        "openai": (ChatOpenAI(model="gpt-x", **v1), ChatOpenAI(model="botan", **v1)),
        "ollama": (
            ChatOllama(model="llama-x", base_url=url),
            ChatOllama(model="botan", base_url=url),
        ),
        "gemini": (
            ChatGoogleGenerativeAI(model="gemini-x", **google),
            ChatGoogleGenerativeAI(model="botan", **google),
        ),
    }
    sys.stdout.write(json.dumps({name: told(*pair) for name, pair in clients.items()}))


main(sys.argv[1])
