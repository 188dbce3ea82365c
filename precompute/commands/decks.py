"""`precompute new-deck`, `precompute preview` and `precompute cards`."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import click

from app.errors import PlanError
from app.kinds.cards.deck import Deck
from app.kinds.decks import load_one
from app.kinds.kind import AnyDeck
from app.kinds.reading import DECK_FILE, ID_PATTERN
from app.settings import Settings
from precompute.commands.common import deck_of, deck_option, environment, named_deck, read_settings
from precompute.commands.types import GivenPath, whole
from precompute.decks.exchange import export_cards, import_cards
from precompute.decks.new import (
    CARDS,
    CHAT,
    MOST_CARDS,
    PROMPTS,
    ROOMS,
    NewDeck,
    languages,
    new_deck,
)
from precompute.decks.preview import LOOK, Preview, outer_server
from precompute.review.kinds import review_of


@click.command("new-deck")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(ROOMS),
    default=CARDS,
    show_default=True,
    help="Cards for a game, a character to chat with, or prompts of an application.",
)
@click.option(
    "--language",
    type=click.Choice(languages()),
    required=True,
    help="The language of its texts, prompts and pages; for others see docs/your-own-deck.md.",
)
@click.option("--hand", type=whole(1, MOST_CARDS), help="How many cards a hand has; for cards.")
@click.option(
    "--title",
    default="",
    help="The name that people see, by default from NAME; of a character, also what she is called.",
)
@click.option(
    "--from",
    "source",
    type=GivenPath(exists=True),
    help="Your cards: a .csv or .xlsx file, or a folder with cards.csv and titles.csv.",
)
def new(
    name: str, kind: str, language: str, hand: int | None, title: str, source: Path | None
) -> int:
    """Make a deck that works at once, in the folder of decks."""
    settings = read_settings()
    if kind == CARDS and hand is None:
        raise PlanError("a deck of cards needs --hand: how many cards a hand has, for example 3")
    if kind != CARDS and (hand or source):
        option = "--hand" if hand else "--from"
        raise PlanError(f"{option} means nothing for a deck of {kind}; leave it out")
    # The first deck of all finds no other.
    if any(settings.decks.glob(f"*/{DECK_FILE}")) and load_one(settings.decks, name):
        raise PlanError(f"there is a deck {name!r} already; take another name")
    deck = new_deck(settings.decks, NewDeck(name, language, hand or 0, title, source, kind))
    errors = _report(deck)
    click.echo(f"made {deck.folder}; its README.md says what is what. Next:")
    for line in _NEXT[kind]:
        click.echo(f"  {line.format(name=name)}")
    return 1 if errors else 0


# What one does with a new deck, by kind.
_NEXT = {
    CARDS: (
        "precompute preview --deck {name}",
        "precompute build --deck {name} --n 100 --dry-run",
    ),
    CHAT: (
        "precompute preview --deck {name}",
        "precompute talk --deck {name}",
    ),
    PROMPTS: (
        "precompute build --deck {name} --n 12 --dry-run",
        "python -m app    # clients name {name!r} as their model",
    ),
}


@click.command()
@deck_option
@click.option("--port", type=whole(0, 65535), default=8000, show_default=True, help="0 for any.")
def preview(deck_name: str | None, port: int) -> None:
    """Serve a deck on this machine, again at each save, with what `check` says in the page.

    While the deck cannot be loaded, the last version that could is served. Ctrl-C ends.
    """
    settings = read_settings()
    folder = _folder_of(settings, deck_name or settings.deck)
    scratch = tempfile.TemporaryDirectory(prefix="tsukurioki-preview-")
    with (
        scratch as place,
        Preview(folder, Path(place), settings, environment(), click.echo) as shown,
    ):
        outer = outer_server(shown, port)
        threading.Thread(target=outer.serve_forever, daemon=True).start()
        shown.look()
        click.echo(f"preview: http://127.0.0.1:{outer.server_port}{shown.places[0]}")
        try:
            while True:
                time.sleep(LOOK)
                shown.look()
        except KeyboardInterrupt:
            return
        finally:
            outer.shutdown()


def _folder_of(settings: Settings, name: str) -> Path:
    """The folder of a deck, which may be broken. Raises PlanError if there is none."""
    if ID_PATTERN.fullmatch(name) and (settings.decks / name / DECK_FILE).exists():
        return settings.decks / name
    deck = named_deck(settings, name)
    if deck.folder is None:
        raise PlanError(f"{name!r} has no folder to be edited; precompute new-deck makes one")
    return deck.folder


@click.group()
def cards() -> None:
    """Edit a deck's cards, titles and written answers in a spreadsheet."""


def _deck_of_cards(name: str | None) -> Deck:
    return deck_of(Deck, read_settings(), name, "is no deck of cards")


@cards.command("export")
@click.argument("target", type=GivenPath())
@deck_option
def export_(target: Path, deck_name: str | None) -> None:
    """Write a deck's tables into TARGET: a folder for CSV files, or an .xlsx file."""
    for path in export_cards(_deck_of_cards(deck_name), target):
        click.echo(f"wrote {path}")


@cards.command("import")
@click.argument("source", type=GivenPath(exists=True))
@deck_option
def import_(source: Path, deck_name: str | None) -> None:
    """Take tables into a deck, if it would be right with them; the old files are kept."""
    deck, kept = import_cards(_deck_of_cards(deck_name), source)
    _report(deck)
    click.echo(f"{deck.folder} has {len(deck.cards)} cards and {len(deck.titles)} titles")
    for path in kept:
        click.echo(f"the old file is kept as {path}")


def _report(deck: AnyDeck) -> int:
    """Print what `check` finds; returns the number of errors."""
    findings = list(review_of(deck).check(deck))
    for finding in findings:
        click.echo(str(finding))
    return sum(finding.error for finding in findings)


COMMANDS = (new, cards, preview)
