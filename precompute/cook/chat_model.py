"""Who writes chat lines: any provider's model, as one function from prompt to text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import PlanError
from app.providers import Model, Prompt
from app.settings import Settings
from app.store.entry import Usage
from precompute.cook.choose import choose, make_model

MOST_TOKENS = 4096
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"id": {"type": "integer"}, "text": {"type": "string"}},
                "required": ["id", "text"],
            },
        }
    },
    "required": ["lines"],
}


@dataclass(frozen=True, slots=True)
class Written:
    """A reply with its bill."""

    text: str
    model: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Writer:
    """A provider by name, and how it is asked: system prompt and request → what it wrote."""

    name: str
    ask: Callable[[str, str], Written]
    close: Callable[[], None]


def writer_of(name: str | None, model: str | None, settings: Settings) -> Writer:
    """The provider that was asked for, else Gemini where there is a key. Raises PlanError."""
    choice = choose(settings, name, model)
    if choice.local:
        raise PlanError(
            "the vetted lines of a chat deck serve as they are and need no build; to cook more, set "
            "GEMINI_API_KEY or choose --provider (nothing in the box can write lines)"
        )
    made = make_model(choice, settings)
    return Writer(choice.name, _asker(made), made.close)


def _asker(model: Model) -> Callable[[str, str], Written]:
    def ask(system: str, asked: str) -> Written:
        told = model.complete(Prompt(system, asked, SCHEMA, MOST_TOKENS))
        return Written(told.text, told.model, told.usage or Usage())

    return ask
