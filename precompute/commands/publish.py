"""`precompute publish`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import click

from app.errors import PlanError
from app.kinds.cards.deck import Deck
from precompute.commands.common import deck_of, deck_option, read_settings
from precompute.commands.types import GivenPath


@click.command()
@click.option(
    "--static",
    "root",
    metavar="DIR",
    required=True,
    type=GivenPath(file_okay=False),
    help="The folder of the edition, for any web server.",
)
@deck_option
@click.option(
    "--collect",
    metavar="URL",
    default="",
    help="Where devices send misses and votes when they can: /api/collect of a server of yours.",
)
def publish(root: Path, deck_name: str | None, collect: str) -> None:
    """Write a deck of cards with its stored answers as files that need no server."""
    # Jinja and Brotli take their time, which other commands need not wait for.
    from precompute.publish import edition

    if _scheme(collect) not in ("", "http", "https"):
        raise PlanError(f"--collect {collect!r}: expected a path or an http(s) address")
    settings = read_settings()
    unfit = (
        "is no deck of cards: characters read what is said, and recorded prompts are asked by "
        "programs; both need the server"
    )
    deck = deck_of(Deck, settings, deck_name, unfit)
    done = edition.publish(settings, deck, root, collect)
    for remark in done.remarks:
        click.echo(f"precompute: {remark}", err=True)
    stored = done.edition["stored"]
    click.echo(
        f"{root}: {stored['plays']:,} plays in {stored['bundles']:,} bundles; "
        f"{done.new:,} new files ({done.size:,} bytes), {done.removed:,} removed"
    )


def _scheme(address: str) -> str | None:
    """The scheme of an address, None if it cannot be read as one."""
    try:
        return urlsplit(address).scheme
    except ValueError:
        return None


COMMANDS = (publish,)
