"""Reviewing in the terminal: each text that nobody has decided about, one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import click

from app.errors import ChangedTextError, OperatorError, RefusedTextError
from app.store.decision import APPROVED, DELETED, REJECTED
from app.store.entry import Entry
from app.store.sources import EDITED
from precompute.review.desk import DecisionRequest, Desk, Name, TextFilter, mark_of

_ASKED = "a approve, e edit, r reject, d delete, s skip, q quit"
_KEYS = ("a", "e", "r", "d", "s", "q")
_HEAD = re.compile(r"^## (.+)\n", re.MULTILINE)


def review(desk: Desk, wanted: TextFilter, decided: Callable[[], None]) -> int:
    """Ask about each text that is wanted; returns how many were decided."""
    names = desk.names(wanted)
    done = 0
    for number, name in enumerate(names, 1):
        entry = desk.entry(name)
        if entry is None:
            continue
        _show(desk, entry, f"{number} of {len(names)}")
        try:
            key = click.prompt(_ASKED, type=click.Choice(_KEYS), default="s", show_choices=False)
            said = _said(desk, entry, key)
            if said and _decide(desk, name, said):
                decided()
                done += 1
        except click.Abort:
            # The end of the input, or Ctrl-C.
            key = "q"
        if key == "q":
            break
    return done


def _show(desk: Desk, entry: Entry, place: str) -> None:
    shown, refusal = desk.shown(entry), desk.refusal(entry)
    click.echo(f"\n{place}  {entry.source} {entry.model}  {entry.key}/{entry.variant}")
    for label, text in shown.asked:
        click.echo(f"  {label}: {text}")
    for name, text in shown.texts.items():
        click.echo(f"\n{name} ({len(text)}):\n{text}")
    if refusal:
        click.echo(f"\nthe gate refuses it: {refusal}")


def _said(desk: Desk, entry: Entry, key: str) -> DecisionRequest | None:
    verdicts = {"a": APPROVED, "r": REJECTED, "d": DELETED}
    if verdict := verdicts.get(key):
        note = click.prompt("why", default="", show_default=False) if key == "r" else ""
        return DecisionRequest(verdict, mark_of(entry), note=note)
    if key == "e":
        texts = desk.shown(entry).texts
        written = click.edit(_page(texts), extension=".md")
        if written is not None:
            return DecisionRequest(EDITED, mark_of(entry), _texts(written))
    return None


def _page(texts: Mapping[str, str]) -> str:
    """Texts as one text to edit, each under its name."""
    return "\n\n".join(f"## {name}\n{text}" for name, text in texts.items()) + "\n"


def _texts(page: str) -> dict[str, str]:
    """The texts of what `_page` made."""
    parts = _HEAD.split(page)[1:]
    return {name.strip(): text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _decide(desk: Desk, name: Name, said: DecisionRequest) -> bool:
    try:
        desk.decide(name, said)
    except RefusedTextError as error:
        click.echo(str(error.refusal))
        note = click.prompt(
            "force it? say why, or nothing to leave it", default="", show_default=False
        )
        return bool(note) and _decide(desk, name, said._replace(note=note, force=True))
    except (ChangedTextError, OperatorError) as error:
        click.echo(f"not taken: {error}")
        return False
    return True
