"""OpenAI: what the endpoints of chat completions and of responses share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.kinds.prompts.dialects.wire import (
    Members,
    bad_field,
    clean,
    media_part,
    other_part,
    text_part,
)
from app.kinds.prompts.reply import Tokens
from app.kinds.prompts.request import Part, Role, Tool

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


def read_content(item: Members) -> Iterator[Part]:
    """The parts of a message: a text, a list of parts, or nothing."""
    content = item.get("content")
    if isinstance(content, str):
        if content:
            yield text_part(content)
        return
    if isinstance(content, dict) or (content is not None and not isinstance(content, list)):
        raise bad_field(item.at("content"), "a text or a list of parts")
    for part in item.objects("content"):
        yield _part(part)


def _part(part: Members) -> Part:
    kind = part.text("type", "text")
    if kind in ("text", "input_text", "output_text"):
        return text_part(part.text("text", None))
    if kind == "refusal":
        return text_part(part.text("refusal", None))
    return _media(part, kind) or other_part(part.value)


def _media(part: Members, kind: str) -> Part | None:
    if kind in ("image_url", "input_image"):
        url = part.get("image_url")
        if isinstance(url, dict):
            url = part.inner("image_url").text("url", None)
        return media_part("image", "", url) if isinstance(url, str) else None
    if kind == "input_audio":
        audio = part.inner("input_audio")
        return media_part("audio", f"audio/{audio.text('format', 'wav')}", audio.text("data", None))
    if kind in ("file", "input_file"):
        data = _nested(part, "file").text("file_data")
        return media_part("file", "", data) if data else None
    return None


def _nested(members: Members, name: str) -> Members:
    """The members of an inner object of a chat, which stand one level higher in a response."""
    return members if members.get(name) is None else members.inner(name)


def read_format(wanted: Members) -> Any:
    """The format of the reply, as `PromptRequest` has it. Raises BadFieldError."""
    kind = wanted.text("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return "json"
    if kind != "json_schema":
        raise bad_field(wanted.at("type"), "text, json_object or json_schema")
    return _nested(wanted, "json_schema").get("schema") or "json"


def read_tools(members: Members) -> Iterator[Tool]:
    """The tools that the model may call."""
    for tool in members.objects("tools"):
        kind = tool.text("type", "function")
        if kind == "function":
            yield _function(_nested(tool, "function"))
        else:
            # A custom tool, or one that the service itself runs.
            yield Tool(kind, "", tool.value)
    for function in members.objects("functions"):
        yield _function(function)


def _function(function: Members) -> Tool:
    return Tool(
        function.text("name", None), function.text("description"), function.get("parameters")
    )


def read_tool_choice(choice: Any) -> Any:
    """Which tool to call, as `PromptRequest` has it. Raises BadFieldError."""
    if choice in (None, "auto", "none", "required"):
        return choice
    if not isinstance(choice, dict):
        raise bad_field("tool_choice", "none, auto, required or an object that names a function")
    function = choice.get("function")
    name = (function if isinstance(function, dict) else choice).get("name")
    return {"name": clean(name)} if isinstance(name, str) else choice


def call_id(id_: str, choice: int, index: int) -> str:
    """The id of a tool call; one is made for calls of dialects that have none."""
    return id_ or f"call_{choice}_{index}"


def tokens(usage: Members) -> Tokens:
    """What a reply says that it used."""
    return Tokens(
        usage.count("prompt_tokens") or usage.count("input_tokens"),
        usage.count("completion_tokens") or usage.count("output_tokens"),
    )
