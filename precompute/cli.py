"""The command line: parses settings and options, and calls the other modules."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console

from app.errors import OperatorError, PlanError
from app.kinds.cards.deck import Deck
from app.kinds.decks import load_all
from app.kinds.kind import AnyDeck
from app.settings import Settings, unknown_settings
from app.store.holder import publish
from app.store.index_writer import IndexWriter
from app.store.log import LogWriter, log_path
from precompute.commands.common import (
    context_of,
    deck_of,
    deck_option,
    given_options,
    json_option,
    named_deck,
    read_settings,
    refuse_beside,
)
from precompute.commands.types import SEED, Amount, GivenPath, WrittenFile, whole
from precompute.cook import progress
from precompute.cook.choose import CONCURRENCY, PROMPTS, PROVIDERS
from precompute.cook.clock import SystemClock
from precompute.cook.kinds import PIECES, Build, builds_of
from precompute.cook.limiter import REQUESTS, TOKENS
from precompute.cook.options import BuildOptions
from precompute.cook.refresh import REFRESH
from precompute.cook.report import table
from precompute.plan.strategies import STRATEGIES
from precompute.rehearse import rehearsal
from precompute.rehearse.picture import draw
from precompute.review import check as checks
from precompute.review import merge
from precompute.review.kinds import review_of

INTERRUPTED = 130
# Characters of the line that says what is wrong: the beginning names it, the end says what to do.
_LONGEST_LINE = 1000


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns the exit status: 2, after one line, for what a person can correct."""
    if threading.current_thread() is threading.main_thread():
        # SIGTERM ends a build as Ctrl-C does: replies in flight are kept.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        words = sys.argv[1:] if arguments is None else arguments
        _check_encoding(words)
        status = cli.main(args=words, prog_name="precompute", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _wrong(error.format_message())
    except OperatorError as error:
        return _wrong(str(error))
    except OSError as error:
        return _wrong(_of_system(error))
    except (click.Abort, KeyboardInterrupt):
        click.echo("precompute: stopped; what was cooked is kept, run the same again", err=True)
        return INTERRUPTED
    return status if isinstance(status, int) else 0


def _check_encoding(words: Sequence[str]) -> None:
    """Raise PlanError for a word that is not UTF-8; those of another program may be anything."""
    for word in itertools.takewhile(lambda one: one != "--", words):
        try:
            word.encode()
        except UnicodeEncodeError:
            raise PlanError(
                f"{word!r} is not UTF-8; write it, or rename the file, in UTF-8"
            ) from None


def _of_system(error: OSError) -> str:
    """What the system refused, by the file if it is known: a full disk names none."""
    if isinstance(error, shutil.Error):
        _, target, why = error.args[0][0]
        return f"{target}: cannot be copied: {why}"
    if error.filename:
        return f"{error.filename}: {error.strerror or error}"
    return (
        f"a file cannot be written: {error.strerror or error}; make room on the disk, or see that "
        "the folders may be written, then run the same again"
    )


def _wrong(message: str) -> int:
    """Say on one line of bounded length what a person can correct; returns the exit status."""
    # Click lists choices one a line.
    line = " ".join(part.strip() for part in message.splitlines())
    if len(line) > _LONGEST_LINE:
        line = f"{line[: _LONGEST_LINE // 2]} … {line[-_LONGEST_LINE // 2 :]}"
    click.echo(f"precompute: {line}", err=True)
    return 2


class Commands(click.Group):
    """Imports the module of a command when it is asked for: all of them take a quarter of a short run."""

    def load(self) -> None:
        """Import all commands."""
        for name in _MODULES:
            self._import(name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name; a name that is not known is compared with all names."""
        if cmd_name in _MODULES:
            self._import(cmd_name)
        elif cmd_name not in self.commands:
            self.load()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        self.load()
        return super().list_commands(ctx)

    def _import(self, name: str) -> None:
        if name not in self.commands:
            module = import_module(f"precompute.commands.{_MODULES[name]}")
            self.add_command(next(one for one in module.COMMANDS if one.name == name))


# Where the commands are that are not below.
_MODULES = {
    name: module
    for module, names in {
        "decks": ("new-deck", "cards", "preview"),
        "event": ("bundle", "verify", "unpack", "rollback"),
        "models": ("models",),
        "prompts": ("why", "record", "replay", "import", "prompts"),
        "publish": ("publish",),
        "review": ("review", "compact"),
        "talk": ("talk",),
        "training": ("export", "train", "evaluate"),
    }.items()
    for name in names
}


@click.group(cls=Commands)
def cli() -> None:
    """Cook language-model answers before an event."""
    if note := unknown_settings(os.environ):
        click.echo(f"precompute: {note}", err=True)


@cli.command()
@click.option(
    "--n",
    "wanted",
    type=whole(1, 100_000_000),
    help="Entries that the store shall have of the plan; not needed for --refresh, --pieces and learning.",
)
@deck_option
@click.option("--provider", type=click.Choice(PROVIDERS), help="Who writes.")
@click.option(
    "--model",
    metavar="M",
    help="Which model of the provider; of openai, by default the first that its server lists.",
)
@click.option(
    "--prompt",
    type=click.Choice(PROMPTS),
    help="Many poems a request, or one in two steps for small models (the default of ollama).",
)
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="stock",
    show_default=True,
    help="Which queries to cook.",
)
@click.option(
    "--refresh",
    type=click.Choice(REFRESH),
    help="Cook again what became stale, or what players disliked.",
)
@click.option("--pieces", is_flag=True, help="Cook pieces for composing, not whole answers.")
@click.option(
    "--take", is_flag=True, help="With --pieces: put them in place of the deck's; the old are kept."
)
@click.option(
    "--radius",
    type=whole(0, 12),
    help="Stock so that every play is within so many phrases of an entry.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Another seed, another plan.")
@click.option("--review", is_flag=True, hidden=True)
@click.option("--per-request", type=whole(1, 50), help="Answers in one request.")
@click.option(
    "--concurrency",
    type=whole(1, 256),
    help=f"Requests at once, by default {CONCURRENCY} to a service.",
)
@click.option(
    "--rpm", type=whole(1), help=f"Requests a minute, by default {REQUESTS} to a service."
)
@click.option(
    "--tpm", type=whole(1000), help=f"Tokens a minute, by default {TOKENS:,} to a service."
)
@click.option("--budget-usd", type=Amount(0), help="Stop before this run costs more than that.")
@click.option(
    "--extra-requests",
    type=whole(0),
    help="Requests beyond the planned ones, for answers that were blocked or refused; by default as "
    "many as are planned.",
)
@click.option("--batch", is_flag=True, help="Gemini's batch job: half the price, within a day.")
@click.option(
    "--give-up-hours",
    type=Amount(0),
    default=24.0,
    show_default=True,
    help="Give a batch job up after so long, and ask for the rest directly.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be cooked, and cook nothing.")
def build(deck_name: str | None, *, review: bool, **asked: Any) -> int:
    """Cook answers into the store."""
    if review:
        raise PlanError(
            "--review: read learned answers with precompute review --terminal --status waiting; "
            "those that you approve are in the store at once"
        )
    settings = read_settings()
    deck = named_deck(settings, deck_name)
    chosen = _build_of(deck, asked["strategy"], pieces=asked["pieces"])
    try:
        return chosen.run(BuildOptions(**asked), context_of(settings, deck))
    finally:
        # Also after an error: what was cooked until then is served too.
        publish(settings.store_options, deck.id)


def _build_of(deck: AnyDeck, strategy: str, *, pieces: bool) -> Build:
    """The build for a strategy, or of pieces. Raises PlanError for an option that it would ignore."""
    builds = builds_of(deck)
    if pieces and PIECES in builds:
        strategy = PIECES
    if strategy not in builds:
        what = next(iter(builds.values())).what
        raise PlanError(f"--strategy: {what} takes {' or '.join(builds)}, not {strategy}")
    found = builds[strategy]
    for option in given_options():
        if option.name not in found.accepts:
            raise PlanError(f"{option.opts[0]} means nothing for {found.what}; leave it out")
    return found


@cli.command()
@deck_option
@json_option
@click.option(
    "--misses", "show_misses", is_flag=True, help="List what was asked and not found as a whole."
)
@click.option(
    "--merge",
    "folders",
    multiple=True,
    type=GivenPath(exists=True, file_okay=False),
    help="Put together what several machines have seen: their data folders. Once for each.",
)
def stats(
    deck_name: str | None, as_json: bool, show_misses: bool, folders: tuple[Path, ...]
) -> None:
    """Say what is in the store, what it covers, what it cost."""
    settings = read_settings()
    if folders:
        refuse_beside("--merge", "--deck", "--json")
        _merged(folders, deck_name or settings.deck, as_json=as_json)
        return
    deck = named_deck(settings, deck_name)

    def note(fault: str) -> None:
        click.echo(f"precompute: {fault}", err=True)

    review, today = review_of(deck), time.strftime("%Y-%m-%d")
    figures = review.stats(settings, deck, today, 100 if show_misses else 10, note)
    if show_misses and "misses" not in figures:
        raise PlanError("--misses means nothing for a chat deck; leave it out")
    if as_json:
        _print_json(figures)
    elif show_misses:
        for row in figures["misses"]["most_wanted"]:
            click.echo(f"{row['times']:>6}  {' '.join(row['phrases'])}")
    else:
        table(Console(), f"deck {deck.id}", review.stats_rows(figures))


def _print_json(value: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")


def _merged(folders: tuple[Path, ...], deck: str, *, as_json: bool) -> None:
    result = merge.merged(folders, deck, 10)
    if as_json:
        _print_json(result)
    else:
        table(Console(), f"deck {deck} on {result['machines']} machines", merge.rows(result))


@cli.command()
@click.option("--plays", type=whole(1), default=10_000, show_default=True, help="How many plays.")
@click.option(
    "--deal",
    "dealt",
    default="random",
    show_default=True,
    help="random, stocked, or a file of recorded plays.",
)
@deck_option
@click.option("--seed", type=SEED, default=0, show_default=True, help="Another seed, other plays.")
@click.option(
    "--players",
    type=whole(1),
    default=rehearsal.PLAYERS_AN_HOUR,
    show_default=True,
    help="Players an hour.",
)
@click.option(
    "--next",
    "next_best",
    type=whole(1),
    default=1000,
    show_default=True,
    help="Propose what to cook next with so many entries.",
)
@click.option(
    "--svg",
    type=WrittenFile("drawing", b"<svg"),
    help="Draw coverage against n into this file.",
)
@json_option
def rehearse(
    plays: int, dealt: str, deck_name: str | None, seed: int, players: int, next_best: int,
    svg: Path | None, as_json: bool,
) -> int:  # fmt: skip
    """Play the game offline through the same ladder, and report."""
    settings = read_settings()
    deck = deck_of(Deck, settings, deck_name, "is no deck of cards, which this is for")
    stage = rehearsal.RehearsalDeck(settings, deck, SystemClock().stamp())
    wanted = rehearsal.Rehearsal(plays, dealt, seed, players, next_best)
    with progress.counting(Console(stderr=True), "playing", plays) as count:
        result = rehearsal.rehearse(stage, wanted, progress=count)
    rehearsal.keep(settings.store, result)
    if svg:
        entries = stage.index.meta().entries if stage.index else 0
        curves = rehearsal.coverage_curves(deck, settings.radius, max(entries, 1_000_000))
        svg.write_text(
            draw(f"What n entries cover of {deck.name}", curves, entries), encoding="utf-8"
        )
    if as_json:
        _print_json(result)
    else:
        table(Console(), f"rehearsal of deck {deck.id}", rehearsal.rows(result))
    return 0 if not result["gate_failures"] and not result["errors"] else 1


@cli.command()
@click.option(
    "--repair", is_flag=True, help="Build the index again where it is missing, behind or foreign."
)
@click.option("--deck", "deck_name", metavar="ID", help="Check this deck alone; else all decks.")
def check(repair: bool, deck_name: str | None) -> int:
    """Check decks, log and index; exit status 1 when something is wrong."""
    settings = read_settings()
    findings: list[checks.Finding] = []
    named = [named_deck(settings, deck_name)] if deck_name else None
    decks = named or load_all(settings.decks).values()
    # All repairs first, so that a locked store ends the command before anything else is printed.
    for deck in decks if repair else ():
        _repair(settings, deck)
    for deck in decks:
        review = review_of(deck)
        findings += review.check(deck)
        findings += checks.check_folder(deck)
        findings += checks.check_store(settings.store, deck)
        findings += checks.check_entries(settings.store_options, deck)
        for line in review.summary(settings, deck, SystemClock().stamp()):
            click.echo(line)
    for finding in findings:
        click.echo(str(finding))
    errors = sum(finding.error for finding in findings)
    click.echo(f"{errors} errors, {len(findings) - errors} warnings")
    return 1 if errors else 0


def _repair(settings: Settings, deck: AnyDeck) -> None:
    """Set damaged lines of a deck's log aside and bring its index up to the log, if it has one."""
    if not log_path(settings.store, deck.id).exists():
        return
    with LogWriter(settings.store, deck.id) as log:
        if log.repaired:
            click.echo(f"{log.path}: a torn tail of {log.repaired} bytes was set aside")
        aside = log.set_damage_aside()
        for why in aside[: checks.MOST_LINES]:
            click.echo(f"{why}: set aside in {deck.id}.damaged; build cooks its answer again")
        if len(aside) > checks.MOST_LINES:
            click.echo(f"{log.path}: {len(aside):,} lines were set aside in all")
        with IndexWriter.at(settings.store_options, deck) as index:
            index.catch_up()
            for note in index.notes:
                click.echo(note)
    publish(settings.store_options, deck.id, afresh=True)
