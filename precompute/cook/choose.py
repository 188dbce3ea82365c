"""Choosing the provider, its model and its pace."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import PlanError
from app.kinds.cards.composing import MODEL as COMPOSER_MODEL
from app.kinds.tasks import Task
from app.providers import Model
from app.providers.secret import Secret
from app.providers.transport import is_local
from app.settings import Settings
from precompute.cook.runner import Pace

# The providers that ask a model, and all providers.
ASKED = ("gemini", "gemini-legacy", "ollama", "openai")
PROVIDERS = ("composer", "written", *ASKED)
GEMINI = ("gemini", "gemini-legacy")
# The extra of pyproject.toml with a provider's client library.
EXTRAS = {"gemini": "build", "gemini-legacy": "legacy", "ollama": "build", "openai": "openai"}
PROMPTS = ("whole", "small")
PER_REQUEST = 10
# Requests at once to a service without --concurrency. Each takes some seconds.
CONCURRENCY = 4


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """A provider's name, its model, the reason if it was not asked for, and the kind of prompt.

    `written_first` is whether plays get the answers that the makers wrote for them.
    """

    name: str
    model: str
    why: str = ""
    prompt: str = "whole"
    written_first: bool = False

    @property
    def local(self) -> bool:
        """Whether it asks no model."""
        return self.name in ("composer", "written")


def gemini_key(settings: Settings) -> Secret:
    """The key for Gemini; empty if there is none."""
    return settings.gemini_api_key or settings.google_api_key


def choose(
    settings: Settings, name: str | None, model: str | None = None, prompt: str | None = None
) -> ProviderChoice:
    """The provider `name`; if it is None, Gemini if there is a key, else the composer."""
    why = ""
    if name is None:
        variable = "GEMINI_API_KEY" if settings.gemini_api_key else "GOOGLE_API_KEY"
        name = "gemini" if gemini_key(settings) else "composer"
        why = (
            f"{variable} is set"
            if gemini_key(settings)
            else "no GEMINI_API_KEY is set; set it for Gemini"
        )
    models = {
        "composer": COMPOSER_MODEL,
        # The deck says who wrote its own answers.
        "written": "",
        "gemini": settings.gemini_model,
        "gemini-legacy": settings.gemini_model,
        "ollama": settings.ollama_model,
        # The first that the server lists.
        "openai": "",
    }
    # The whole prompt is too long for models that Ollama can run on a small machine.
    kind = prompt or ("small" if name == "ollama" else "whole")
    if model is not None and not (model and model.isprintable()):
        raise PlanError(f"--model {model!r} is no name of a model")
    in_the_box = bool(why) and name == "composer"
    return ProviderChoice(name, model or models[name], why, kind, written_first=in_the_box)


def make_model(choice: ProviderChoice, settings: Settings) -> Model:
    """The model, its client library loaded. Raises ProviderError, and PlanError without a key."""
    try:
        return _made(choice, settings)
    except ModuleNotFoundError as error:
        extra = EXTRAS[choice.name]
        raise PlanError(
            f"--provider {choice.name} needs {error.name}, which is not installed; "
            f"run: pip install 'tsukurioki[{extra}]'"
        ) from None


def _made(choice: ProviderChoice, settings: Settings) -> Model:
    model, seconds = choice.model, settings.timeout
    if choice.name == "ollama":
        from app.providers.ollama import Ollama

        return Ollama(settings.ollama_host, model, seconds, settings.ollama_free_mb)
    if choice.name == "openai":
        from app.providers.openai import OpenAICompatible

        return OpenAICompatible(settings.openai_api_key, settings.openai_base_url, model, seconds)
    if choice.name not in GEMINI:
        raise PlanError(f"--provider {choice.name} asks no model")
    key = gemini_key(settings)
    if not key:
        raise PlanError("--provider gemini needs a key; set GEMINI_API_KEY")
    if choice.name == "gemini":
        from app.providers.gemini import Gemini

        return Gemini(key, model, settings.gemini_base_url, seconds)
    from app.providers.gemini_legacy import GeminiLegacy

    return GeminiLegacy(key, model, settings.gemini_base_url, seconds)


def is_limited(choice: ProviderChoice, settings: Settings) -> bool:
    """Whether requests must be limited: to services yes, to a server on this machine no."""
    if choice.name == "openai":
        return not settings.openai_base_url or not is_local(settings.openai_base_url)
    return choice.name in GEMINI


def pace_of(
    choice: ProviderChoice, settings: Settings, per_request: int | None, concurrency: int | None
) -> Pace:
    """How many answers to ask for in a request, and how many requests to make at once."""
    if choice.local:
        # What is composed costs nothing, so that it may be asked for until it passes.
        return Pace(per_request=per_request or Pace().per_request, concurrency=1, extra=sys.maxsize)
    if choice.prompt == "small":
        return Pace(per_request=1, concurrency=concurrency or 1)
    at_once = CONCURRENCY if is_limited(choice, settings) else 1
    return Pace(per_request=per_request or PER_REQUEST, concurrency=concurrency or at_once)


def group(tasks: Sequence[Task], size: int) -> list[Sequence[Task]]:
    """Tasks in groups of at most `size`, one for each request."""
    return [tasks[at : at + size] for at in range(0, len(tasks), size)]
