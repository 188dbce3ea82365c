"""Taking what the server recorded into the store."""

from __future__ import annotations

from pathlib import Path

from app.kinds.prompts.deck import PromptDeck
from app.kinds.prompts.gate import PromptGate
from app.kinds.prompts.recordings import recordings_folder
from app.settings import Settings
from app.store.entry import Entry
from app.store.holder import publish
from app.store.index_writer import IndexWriter
from app.store.log import LogWriter, log_path, read_records


def take_in(ledger: Path, deck: str, gate: PromptGate, log: LogWriter) -> int:
    """Append the recordings that are not in the store yet and pass the gate; returns how many.

    The log of recordings stays as it is, because servers go on reading it: nothing is ever missing
    between the two, and taking in twice is the same as once.
    """
    path = log_path(recordings_folder(ledger), deck)
    fresh: list[Entry] = []
    known: set[tuple[str, int, str, str]] = set()
    for item in read_records(log.path):
        known |= _names(item.entry)
    for item in read_records(path):
        new = not _names(item.entry) <= known
        if new and gate.examine(item.entry.query, item.entry.response) is None:
            fresh.append(item.entry)
    if fresh:
        log.append(fresh)
    return len(fresh)


def take_deck_in(settings: Settings, deck: PromptDeck) -> int:
    """Take a deck's recordings into its store and index; returns how many were new."""
    if not log_path(recordings_folder(settings.ledger), deck.id).exists():
        return 0
    with (
        LogWriter(settings.store, deck.id) as log,
        IndexWriter.at(settings.store_options, deck) as index,
    ):
        taken = take_in(settings.ledger, deck.id, PromptGate(deck.checks), log)
        index.catch_up()
    publish(settings.store_options, deck.id)
    return taken


def _names(entry: Entry) -> set[tuple[str, int, str, str]]:
    """The texts that a line is of: its own, and the one that it is an edit of."""
    found = {(*entry.name, entry.created, entry.source)}
    if entry.decision and entry.decision.writer:
        found.add((*entry.name, entry.decision.written, entry.decision.writer))
    return found
