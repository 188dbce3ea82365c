"""`precompute review` and `precompute compact`."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import click
from rich.console import Console

from app.errors import PlanError
from app.kinds.kind import AnyDeck
from app.settings import Settings
from app.store.holder import publish
from app.store.log import log_path
from precompute.commands.common import (
    deck_option,
    given_options,
    named_deck,
    read_settings,
    refuse_beside,
)
from precompute.commands.types import GivenPath, whole
from precompute.cook.clock import SystemClock
from precompute.cook.report import table as print_table
from precompute.decks.sheets import read_tables, write_tables
from precompute.review import table
from precompute.review.compact import compact as compact_log
from precompute.review.desk import OPEN, STATUSES, Desk, Publisher, TextFilter, summary
from precompute.review.terminal import review as review_in_terminal


def _deck(deck_name: str | None) -> tuple[Settings, AnyDeck]:
    settings = read_settings()
    return settings, named_deck(settings, deck_name)


def _demand_log(settings: Settings, deck: AnyDeck) -> None:
    """Raise PlanError if nothing is cooked for a deck."""
    if not log_path(settings.store, deck.id).exists():
        raise PlanError(
            f"nothing is cooked for deck {deck.id!r} yet; run: "
            f"precompute build --deck {deck.id} --n 100 --dry-run"
        )


def _desk(deck_name: str | None) -> Desk:
    """The desk of a deck. Raises PlanError if there is nothing to read."""
    settings, deck = _deck(deck_name)
    desk = Desk(settings, deck, SystemClock().stamp)
    if not desk.names(TextFilter()):
        _demand_log(settings, deck)
    return desk


@click.group(invoke_without_command=True)
@deck_option
@click.option("--terminal", is_flag=True, help="Ask here, about one text after the other.")
@click.option("--port", type=whole(0, 65535), default=0, help="Of the page; 0: a free one.")
@click.option("--open/--no-open", "opened", default=True, help="Whether a browser is opened.")
@click.option("--source", default="", help="With --terminal: only texts of this source.")
@click.option("--search", default="", help="With --terminal: only texts with these words.")
@click.option(
    "--status",
    type=click.Choice(STATUSES),
    default=OPEN,
    show_default=True,
    help="With --terminal: only texts about which this was decided; open has the waiting ones too.",
)
@click.pass_context
def review(
    context: click.Context, deck_name: str | None, terminal: bool, port: int, opened: bool,
    source: str, search: str, status: str,
) -> None:  # fmt: skip
    """Read what was cooked; approve, edit, reject and delete it. Opens a page on this machine."""
    context.obj = deck_name
    if context.invoked_subcommand:
        refuse_beside(context.invoked_subcommand, "--deck")
        return
    of_terminal = ("--source", "--search", "--status")
    if terminal:
        refuse_beside("--terminal", "--deck", *of_terminal)
    elif given := [option for option in given_options() if option.opts[0] in of_terminal]:
        raise PlanError(f"{given[0].opts[0]} is for --terminal; the page has a filter of its own")
    desk = _desk(deck_name)
    with Publisher(desk) as publisher:
        if terminal:
            wanted = TextFilter(search=search, source=source, status=status)
            review_in_terminal(desk, wanted, publisher.due)
        else:
            _serve(desk, publisher, port, opened=opened)
    print_table(Console(), f"deck {desk.deck.id}", summary(desk))
    if publisher.problem:
        raise PlanError(f"every decision is in the log, but: {publisher.problem}")


def _serve(desk: Desk, publisher: Publisher, port: int, *, opened: bool) -> None:
    # Loaded here, since no other command needs Flask.
    from precompute.review.server import HOST, listen, make_app

    token = secrets.token_urlsafe(18)
    language = str(getattr(desk.deck, "language", ""))
    server = listen(make_app(desk, publisher, token, language), port)
    url = f"http://{HOST}:{server.port}/#{token}"
    click.echo(f"review deck {desk.deck.id} at {url}")
    click.echo("Ctrl-C ends; every decision is in the log at once")
    if opened and sys.stdout.isatty():
        click.launch(url)
    # It ends, and closes, with Ctrl-C.
    server.serve_forever()


@review.command("export")
@click.argument("target", type=GivenPath())
@click.option("--status", type=click.Choice(["", *STATUSES]), default="", help="Only these.")
@click.option("--source", default="", help="Only texts of this source.")
@click.option("--search", default="", help="Only texts with these words.")
@click.pass_obj
def export_(deck_name: str | None, target: Path, status: str, source: str, search: str) -> None:
    """Write the texts into TARGET, a .csv or .xlsx file, to be read in a spreadsheet."""
    if target.suffix.lower() not in (".csv", ".xlsx"):
        raise PlanError(f"{target}: name a .csv or .xlsx file")
    desk = _desk(deck_name)
    texts = table.table_of(desk, TextFilter(search, source, status))
    for path in write_tables(target, {table.REVIEW: texts}):
        click.echo(f"wrote {path}: {len(texts) - 1:,} texts")


@review.command("import")
@click.argument("source", type=GivenPath(exists=True, dir_okay=False))
@click.pass_obj
def import_(deck_name: str | None, source: Path) -> int:
    """Take in what was decided in a spreadsheet: the column verdict, and texts that were changed."""
    desk = _desk(deck_name)
    read = read_tables(source, [table.REVIEW])[table.REVIEW]
    with Publisher(desk) as publisher:
        taken = list(table.take_in(desk, read, str(source)))
        publisher.due()
    faults = [one for one in taken if one.fault]
    for one in faults:
        click.echo(f"row {one.row}: not taken: {one.fault}", err=True)
    click.echo(f"{len(taken) - len(faults):,} decisions taken in, {len(faults):,} not")
    return 2 if faults else 0


@click.command()
@deck_option
@click.option("--keep", is_flag=True, help="Keep the old log beside the new one.")
def compact(deck_name: str | None, keep: bool) -> None:
    """Rewrite a deck's log with what is in force, so that what was deleted is gone from the disk."""
    settings, deck = _deck(deck_name)
    _demand_log(settings, deck)
    path = log_path(settings.store, deck.id)
    stamp = SystemClock().stamp().replace(":", "")
    kept = path.with_name(f"{path.name}.{stamp}") if keep else None
    lines, size = compact_log(settings.store_options, deck, keep=kept)
    publish(settings.store_options, deck.id)
    click.echo(
        f"{path}: from {lines[0]:,} lines to {lines[1]:,}, from {size[0]:,} bytes to {size[1]:,}"
    )
    if kept:
        click.echo(f"the old log is kept as {kept}")


COMMANDS = (review, compact)
