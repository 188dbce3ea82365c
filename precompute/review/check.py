"""`precompute check`: checks decks, logs and indexes, and says where each fault is.

An error makes the exit status 1; warnings are only printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import IndexUnusableError, NothingCookedError
from app.kinds.decks import kind_of
from app.kinds.kind import AnyDeck
from app.kinds.reading import DECK_FILE
from app.settings import Settings
from app.store.in_force import in_force
from app.store.index import Index
from app.store.log import Record, damaged_lines, log_digest, log_path, read_log
from app.store.options import StoreOptions
from app.store.rows import Meta
from precompute.cook.kinds import GONE, refusal_of

# The greatest number of damaged lines that are listed.
MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """An error or a warning: where, and what."""

    where: str
    what: str
    error: bool = True

    def __str__(self) -> str:
        return f"{'error' if self.error else 'warning'}: {self.where}: {self.what}"


def check_folder(deck: AnyDeck) -> Iterator[Finding]:
    """A folder of another name than the deck's id, by which commands and pages know it."""
    if deck.folder and deck.folder.name != deck.id:
        fault = f"{deck.id!r} is in the folder {deck.folder.name!r}"
        yield Finding(f"{deck.id}: {DECK_FILE}: id", fault, error=False)


def stored(
    settings: Settings, deck: AnyDeck, note: Callable[[str], None], *, needed: bool
) -> Meta | None:
    """What the index says of itself; None if there is none.

    `note` gets why there is none, and that it is behind the log, as after a full disk. With
    `needed`, also that nothing is cooked yet, which some kinds of deck can do without.
    """
    try:
        index = Index(settings.store, deck.id)
    except IndexUnusableError as error:
        if needed or not isinstance(error, NothingCookedError):
            note(str(error))
        return None
    meta = index.meta()
    index.close()
    if behind := _behind(meta, log_path(settings.store, deck.id)):
        note(f"{index.path}: {behind}; these figures are of before")
    return meta


def _behind(meta: Meta, log: Path) -> str:
    """How far an index is behind its log, and what to do; empty if it is not."""
    size = log.stat().st_size if log.exists() else 0
    if meta.offset >= size:
        return ""
    return f"is {size - meta.offset:,} bytes behind the log; run: precompute check --repair"


def check_store(store: Path, deck: AnyDeck) -> Iterator[Finding]:
    """Damaged lines of the log, and differences between it and the index."""
    path = log_path(store, deck.id)
    if not path.exists():
        return
    damaged = [why for _, why in damaged_lines(path)]
    for why in damaged[:MOST_LINES]:
        yield Finding(why, "run: precompute check --repair, then build to cook its answer again")
    if len(damaged) > MOST_LINES:
        yield Finding(str(path), f"{len(damaged):,} lines are damaged in all")
    keys: set[tuple[str, int]] = set()
    for item in read_log(path):
        if isinstance(item, Record):
            keys.add((item.entry.key, item.entry.variant))
        elif item.torn:
            yield Finding(str(path), f"{item.reason}: set aside by the next build", error=False)
    yield from _check_index(store, deck, path, keys)


def _check_index(
    store: Path, deck: AnyDeck, path: Path, keys: set[tuple[str, int]]
) -> Iterator[Finding]:
    try:
        index = Index(store, deck.id, whole=True)
    except IndexUnusableError as error:
        yield Finding(str(path), f"{error}")
        return
    meta = index.meta()
    if meta.log != log_digest(path, meta.offset).hexdigest():
        fault = "serves a log that has changed since; run: precompute check --repair"
        yield Finding(str(index.path), fault)
    if behind := _behind(meta, path):
        yield Finding(str(index.path), behind)
    found = {*index.keys(), *index.keys("held")}
    for key, _ in sorted(found - keys)[:5]:
        yield Finding(str(index.path), f"has an answer for {key}, the log has none")
    missing = keys - found
    if missing and meta.offset >= path.stat().st_size:
        yield Finding(str(index.path), f"lacks {len(missing)} entries of the log")
    index.close()


def check_entries(options: StoreOptions, deck: AnyDeck) -> Iterator[Finding]:
    """Texts in force that the present gate refuses, or that can no longer be asked for."""
    gate = kind_of(deck).gate(deck)
    for entry in in_force(log_path(options.folder, deck.id), options.sources).values():
        if entry.gone or (entry.decision and entry.decision.forced):
            continue
        refusal = refusal_of(gate, entry.query, entry.response)
        if refusal:
            gone = refusal.check == GONE
            why = "the deck no longer has one of its phrases" if gone else str(refusal)
            yield Finding(entry.key, f"stale: {why}", error=False)
