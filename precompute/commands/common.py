"""What commands share: settings, decks, options."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from rich.console import Console

from app.errors import PlanError
from app.kinds.decks import load_all, load_one
from app.kinds.kind import AnyDeck
from app.kinds.reading import text_of
from app.settings import Settings
from precompute.cook.clock import SystemClock
from precompute.cook.options import BuildContext

DeckT = TypeVar("DeckT", bound=AnyDeck)
deck_option = click.option("--deck", "deck_name", metavar="ID", help="Which deck.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def given_options() -> list[click.Parameter]:
    """The options and arguments of this command that are on the command line."""
    context = click.get_current_context()
    return [
        param
        for param in context.command.params
        if context.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
    ]


def refuse_beside(option: str, *fitting: str) -> None:
    """Raise PlanError for an option that is given and has no meaning beside `option`."""
    for param in given_options():
        if not {option, *fitting} & set(param.opts):
            raise PlanError(f"{param.opts[0]} means nothing beside {option}; leave it out")


def yaml_of(path: Path) -> Any:
    """The value in a YAML file. Raises DeckError, PlanError, and ModuleNotFoundError without PyYAML."""
    import yaml

    try:
        return yaml.safe_load(text_of(path))
    # A date that does not exist is a ValueError; what is nested deeper than Python's stack the last.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        cause = " ".join(str(error).split())[:200]
        raise PlanError(f"{path}: not YAML that can be read: {cause}") from None


def read_settings() -> Settings:
    return Settings.read(os.environ)


def environment() -> dict[str, str]:
    """The environment of this process, for programs that it starts."""
    return dict(os.environ)


def named_deck(settings: Settings, name: str | None) -> AnyDeck:
    """The deck with this id, or the settings'; other decks may be wrong. Raises PlanError."""
    wanted = name or settings.deck
    if found := load_one(settings.decks, wanted):
        return found
    known = ", ".join(sorted(load_all(settings.decks)))
    raise PlanError(f"there is no deck {wanted!r} in {settings.decks}; there is {known}")


def deck_of(kind: type[DeckT], settings: Settings, name: str | None, unfit: str) -> DeckT:
    """The same for a deck of one kind; `unfit` says what one of another kind lacks."""
    deck = named_deck(settings, name)
    if not isinstance(deck, kind):
        raise PlanError(f"{deck.id!r} {unfit}")
    return deck


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Raise PlanError if a library of an extra is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise PlanError(
            f"this needs {error.name}, which is not installed; run: pip install 'tsukurioki[{name}]'"
        ) from None


def context_of(settings: Settings, deck: AnyDeck) -> BuildContext:
    return BuildContext(settings, deck, Console(), Console(stderr=True), SystemClock(), Random())
