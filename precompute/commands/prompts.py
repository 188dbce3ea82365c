"""Commands around prompts: why, record, replay, import."""

from __future__ import annotations

from pathlib import Path

import click
import orjson

from app.errors import PlanError
from app.kinds.expressions import ExpressionError, compiled
from app.kinds.prompts.deck import RECORDED, PromptDeck
from app.settings import Settings
from precompute.commands.common import deck_of, environment, json_option, read_settings
from precompute.commands.types import GivenPath
from precompute.prompts import importers, sessions
from precompute.prompts import why as explaining
from precompute.prompts.listing import listed

prompts_option = click.option(
    "--deck", "deck_name", metavar="ID", default=RECORDED, show_default=True, help="Which deck."
)
command_argument = click.argument("command", nargs=-1, required=True, metavar="-- COMMAND…")


def _deck_of_prompts(settings: Settings, name: str) -> PromptDeck:
    return deck_of(PromptDeck, settings, name, "is not a deck of prompts; this is for those")


@click.command()
@click.argument("request", type=GivenPath(exists=True, dir_okay=False))
@click.option("--deck", "deck_name", metavar="ID", help="Which deck; else that of the model.")
@click.option("--path", "sent_to", help="Where it is sent, as in /v1/responses; else as it looks.")
@json_option
def why(request: Path, deck_name: str | None, sent_to: str | None, as_json: bool) -> int:
    """Say which recording answers a request, or why none does; exit status 1 for a miss."""
    settings = read_settings()
    asked = explaining.read_request(request, sent_to)
    deck = _deck_of_prompts(settings, deck_name or explaining.deck_of(settings, asked.model))
    found = explaining.explain(settings, deck, asked)
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    else:
        for line in explaining.lines(found):
            click.echo(line)
    return 0 if found["hit"] else 1


@click.command()
@prompts_option
@click.option("--missing", is_flag=True, help="Ask upstream only for what is not recorded yet.")
@click.option(
    "--redact",
    "patterns",
    multiple=True,
    metavar="RE2",
    help="Write *** for what matches, in prompts and replies; kept in the deck's file.",
)
@command_argument
def record(
    deck_name: str, missing: bool, patterns: tuple[str, ...], command: tuple[str, ...]
) -> int:
    """Run a program against a server that asks the real models and keeps their replies."""
    settings = read_settings()
    sessions.check_program(command)
    sessions.ensure_decks(settings.decks)
    # What is recorded goes to the deck of the model that is asked, whatever is named here.
    deck = _deck_of_prompts(settings, deck_name)
    if patterns:
        _check_patterns(patterns)
        path = sessions.write_redactions(settings, deck, patterns)
        click.echo(f"precompute: {path} has the patterns, so that a replay knows them", err=True)
    done = sessions.run("auto" if missing else "record", command, environment())
    taken = sessions.take_all_in(settings)
    click.echo(f"precompute: {taken} replies recorded; {_counted(done)}", err=True)
    return done.status


def _check_patterns(patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        try:
            found = compiled(pattern)
        except ExpressionError as error:
            raise PlanError(f"--redact {pattern!r}: {error}") from None
        if not pattern.strip() or found.search(""):
            raise PlanError(f"--redact {pattern!r} matches what is empty")


def _counted(done: sessions.SessionOutcome) -> str:
    answers = ", ".join(f"{count} {tier}" for tier, count in done.answers.items() if count)
    kept = ", ".join(f"{count} {reason}" for reason, count in done.refused.items())
    left = f"; tries to leave the machine: {done.tried}" if done.tried else ""
    return f"answers: {answers or 'none'}" + (f"; not kept: {kept}" if kept else "") + left


@click.command()
@click.option("--here", is_flag=True, hidden=True)
@command_argument
def replay(here: bool, command: tuple[str, ...]) -> int:
    """Run a program against what is recorded, with the network forbidden to it.

    The exit status is the program's; 1 if it ended well although something was not recorded.
    """
    sessions.check_program(command)
    if not here:
        return sessions.run_isolated(command, environment())
    done = sessions.replay_here(command, environment())
    click.echo(f"precompute: {_counted(done)}", err=True)
    return done.status or (1 if done.answers.get("missed") else 0)


@click.command("import")
@prompts_option
@click.option(
    "--from",
    "form",
    type=click.Choice(importers.FORMS),
    required=True,
    help="What the file is of.",
)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=GivenPath(exists=True, dir_okay=False),
)
def import_(deck_name: str, form: str, files: tuple[Path, ...]) -> None:
    """Take in replies that other tools have recorded."""
    settings = read_settings()
    deck = _deck_of_prompts(settings, deck_name)
    report = importers.take(settings, deck, importers.FORMS[form](files))
    for why_not, count in report.left_out.items():
        click.echo(f"precompute: {count} left out: {why_not}", err=True)
    click.echo(f"{report.taken} replies taken into deck {deck.id}, {report.already} were there")


@click.command("prompts")
@prompts_option
def prompts_(deck_name: str) -> None:
    """Print a deck's prompts and their replies as JSON Lines."""
    settings = read_settings()
    deck = _deck_of_prompts(settings, deck_name)
    for value in listed(settings, deck):
        click.echo(orjson.dumps(value))


COMMANDS = (why, record, replay, import_, prompts_)
