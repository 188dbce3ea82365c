"""`precompute talk`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
import orjson

from app.kinds.chat.deck import CharacterDeck
from precompute.commands.common import deck_of, read_settings
from precompute.rehearse.talk import replies


@click.command()
@click.option("--deck", "deck_name", metavar="ID", help="Which deck; the settings' chat if none.")
@click.option("--character", metavar="ID", help="With whom; the deck's first if nobody is named.")
@click.option("--why", "with_why", is_flag=True, help="Say how each answer was chosen.")
@click.option("--seed", default="talk", show_default=True, help="Another seed, other lines.")
def talk(deck_name: str | None, character: str | None, with_why: bool, seed: str) -> None:
    """Talk with a character here; Ctrl-D ends. Nothing is kept, no model and no network is used."""
    settings = read_settings()
    unfit = "has no characters to talk with; --deck names a chat deck"
    deck = deck_of(CharacterDeck, settings, deck_name or settings.chat_deck or "chat", unfit)
    for reply in replies(settings, deck, character, seed, _lines()):
        click.echo(reply.text)
        if with_why:
            click.echo(f"  {orjson.dumps(reply.why).decode()}")


def _lines() -> Iterator[str]:
    """The lines that are typed, after a prompt if somebody types them."""
    while True:
        click.echo("> " if sys.stdin.isatty() else "", nl=False)
        line = sys.stdin.readline()
        if not line:
            return
        yield line


COMMANDS = (talk,)
