"""`precompute models`."""

from __future__ import annotations

import click
from rich.console import Console

from precompute.commands.common import deck_option, named_deck, needs_extra, read_settings
from precompute.commands.types import Name, whole
from precompute.models.fit import fit_models
from precompute.models.manager import Manager, system_of


@click.group()
def models() -> None:
    """Manage the models of Ollama."""


def _manager() -> Manager:
    with needs_extra("build"):
        manager = Manager(read_settings().ollama_host, Console())
    click.get_current_context().call_on_close(manager.close)
    return manager


@models.command("list")
def list_models() -> None:
    """List the models that are there."""
    _manager().list()


@models.command()
def ps() -> None:
    """List the models that are loaded, with their memory."""
    _manager().ps()


@models.command()
@click.argument("name", type=Name())
def show(name: str) -> None:
    """Show a model's family, size, template and parameters."""
    _manager().show(name)


@models.command()
@click.argument("name", type=Name())
def pull(name: str) -> None:
    """Fetch a model; what was fetched before an interruption is not fetched again."""
    _manager().pull(name)


@models.command()
@click.argument("name", type=Name())
@click.option(
    "--from",
    "source",
    type=Name(),
    required=True,
    help="A model that is there, a merged folder, or a Modelfile.",
)
@deck_option
@click.option("--character", help="Take this character's persona as the system text.")
def create(name: str, source: str, deck_name: str | None, character: str | None) -> None:
    """Make a model of another one, a merged folder or a Modelfile."""
    system = ""
    if character or deck_name:
        settings = read_settings()
        system = system_of(
            named_deck(settings, deck_name or settings.chat_deck or "chat"), character
        )
    _manager().create(name, source, system)


@models.command()
@click.argument("source", type=Name())
@click.argument("name", type=Name())
def copy(source: str, name: str) -> None:
    """Give a model another name."""
    _manager().copy(source, name)


@models.command()
@click.argument("name", type=Name())
def remove(name: str) -> None:
    """Remove a model from the disk."""
    _manager().remove(name)


@models.command()
@click.argument("name", type=Name())
def unload(name: str) -> None:
    """Free a model's memory."""
    _manager().unload(name)


@models.command()
@click.option("--memory-mb", type=whole(1), help="For a machine with so much memory.")
def fit(memory_mb: int | None) -> None:
    """Say which known models fit this machine's memory beside the server."""
    fit_models(memory_mb, Console())


COMMANDS = (models,)
