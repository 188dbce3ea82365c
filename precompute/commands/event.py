"""`precompute bundle`, `verify`, `unpack` and `rollback`."""

from __future__ import annotations

from pathlib import Path

import click

from app.errors import PlanError
from app.settings import bundled_notes
from precompute.commands.common import environment, named_deck, read_settings
from precompute.commands.types import GivenPath, WrittenFile
from precompute.event import wheels as wheel_files
from precompute.event.manifest import MANIFEST
from precompute.event.pack import pack
from precompute.event.releases import Place, access_notes
from precompute.event.unpack import unpack as unpack_bundle
from precompute.event.unpack import verify as verify_bundle
from precompute.prompts.sessions import take_all_in


@click.command()
@click.argument("target", type=WrittenFile("bundle", MANIFEST.encode()))
@click.option("--wheels", is_flag=True, help="Pack what to install from with no network, too.")
@click.option(
    "--python",
    "pythons",
    default="",
    metavar="LIST",
    help=f"With --wheels: for which Pythons, of {', '.join(wheel_files.PYTHONS)}; by default this one.",
)
@click.option(
    "--platform",
    "platforms",
    default="",
    metavar="LIST",
    help=f"With --wheels: for which machines, of {', '.join(wheel_files.PLATFORMS)}; by default this one.",
)
@click.option(
    "--deck", "deck_name", metavar="ID", help="Pack this deck alone, to be served; else all decks."
)
def bundle(target: Path, wheels: bool, pythons: str, platforms: str, deck_name: str | None) -> None:
    """Pack decks, stores and settings that travel into one tar for the event."""
    if (pythons or platforms) and not wheels:
        raise PlanError("--python and --platform say for what --wheels is; add --wheels")
    targets = wheel_files.wanted(pythons, platforms) if wheels else []
    settings = read_settings()
    only = named_deck(settings, deck_name) if deck_name else None
    if taken := take_all_in(settings):
        click.echo(f"{taken:,} recordings were taken into the store", err=True)
    manifest, left_out = pack(settings, target, environment(), wheels=targets, only=only)
    if left_out:
        click.echo(f"settings of this machine, left out: {', '.join(left_out)}", err=True)
    size = sum(member.size for member in manifest.members)
    click.echo(f"{target}: {len(manifest.members)} files, {size:,} bytes, {manifest.digest}")
    if note := wheel_files.note_on(manifest.wheels):
        click.echo(note)


@click.command()
@click.argument("packed", metavar="BUNDLE", type=GivenPath(dir_okay=False))
def verify(packed: Path) -> None:
    """Prove every byte of a bundle, and that it can be unpacked and served here."""
    manifest = verify_bundle(packed, environment())
    click.echo(f"{packed}: whole, {len(manifest.members)} files, {manifest.digest}")
    if note := wheel_files.note_on(manifest.wheels):
        click.echo(note)


place_option = click.option(
    "--into",
    "place",
    type=GivenPath(file_okay=False),
    default=Path("event"),
    show_default=True,
    help="Where bundles are unpacked.",
)


@click.command()
@click.argument("packed", metavar="BUNDLE", type=GivenPath(dir_okay=False))
@place_option
def unpack(packed: Path, place: Path) -> None:
    """Install a bundle beside the one in force, and switch to it."""
    release = unpack_bundle(packed, place, environment())
    data = place / "current" / "data"
    for note in (*bundled_notes({"TSUKURIOKI_DATA": str(data)}), *access_notes(place)):
        click.echo(note)
    click.echo(f"{release.name} is in force; serve it with TSUKURIOKI_DATA={data}")


@click.command()
@place_option
def rollback(place: Path) -> None:
    """Return to the release before."""
    with Place(place).locked() as here:
        click.echo(f"{here.rollback().name} is in force again; start the server anew")


COMMANDS = (bundle, verify, unpack, rollback)
