"""Storing what the cloud answered in chats at the event: `build --strategy misses` for a chat deck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.gate import TEXT, ChatGate
from app.ledger.misses import read_ledger
from app.store.entry import Entry
from app.store.in_force import rejected_texts
from app.store.index_writer import IndexWriter
from app.store.log import LogWriter
from precompute.cook.options import BuildContext, BuildOptions
from precompute.cook.report import counts, table
from precompute.learn.waiting import ASKED, is_waiting

FINGERPRINT = "learned"


def learned_entries(deck: CharacterDeck, lines: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """The newest answer to each message of a ledger, the most frequent messages first."""
    newest: dict[str, Entry] = {}
    times: Counter[str] = Counter()
    for line in lines:
        if entry := _entry(deck, line):
            times[entry.key] += 1
            newest[entry.key] = entry
    return sorted(newest.values(), key=lambda entry: -times[entry.key])


def _entry(deck: CharacterDeck, line: Mapping[str, Any]) -> Entry | None:
    """Parse a line of the ledger with the present deck; None if it has no candidate."""
    try:
        answer = line["candidate"]
        character = deck.character_by_id[line["pattern"]["character"]]
        asked = str(answer["asked"])
        query = deck.message_query(character, asked)
        return Entry(
            key=query.key,
            variant=0,
            query=query,
            response={TEXT: str(answer["text"]), ASKED: asked},
            source=str(answer["source"]),
            model=str(answer["model"]),
            fingerprint=FINGERPRINT,
            created=str(line["at"]),
            cost_usd=float(answer["cost_usd"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def passing(
    gate: ChatGate, entries: Iterable[Entry], refused: Counter[str] | None = None
) -> Iterator[Entry]:
    """The entries that pass the gate; `refused` gets the checks that refuse others."""
    for entry in entries:
        refusal = gate.examine(entry.query, entry.response)
        if refusal is None:
            yield entry
        elif refused is not None:
            refused[refusal.check] += 1


def build_learned(options: BuildOptions, context: BuildContext, deck: CharacterDeck) -> int:
    """Store learned answers and print a report."""
    settings = context.settings
    learned = learned_entries(deck, read_ledger(settings.ledger, deck.id))[: options.wanted]
    if not learned:
        context.note(
            "no candidates in the ledger: they are kept where TSUKURIOKI_CHAT_LEARN=on and "
            "TSUKURIOKI_CHAT_TIERS has cloud"
        )
    if options.dry_run:
        rows = [("candidates", f"{len(learned):,}")]
        table(context.out, "plan (nothing was taken in)", rows)
        return 0
    started = context.clock.now()
    refused: Counter[str] = Counter()
    with (
        LogWriter(settings.store, deck.id) as log,
        IndexWriter.at(settings.store_options, deck) as index,
    ):
        index.catch_up()
        new = [entry for entry in learned if not index.has(*entry.name)]
        rejected = rejected_texts(log.path)
        wanted = [e for e in new if is_waiting(e, rejected.get(e.name, ()), stored=False)]
        taken = list(passing(ChatGate(deck), wanted, refused))
        if taken:
            log.append(taken)
            index.catch_up()
    rows = [
        ("taken in", f"{len(taken):,}"),
        ("already there", f"{len(learned) - len(new):,}"),
        ("refused by the gate", f"{refused.total():,} ({counts(refused)})"),
        ("rejected by a person", f"{len(new) - len(wanted):,}"),
        ("not taken in", f"{len(new) - len(taken):,}"),
        ("time", f"{context.clock.now() - started:.1f} s"),
    ]
    table(context.out, f"deck {deck.id}", rows)
    return 0
