"""The intake of cooked pieces: keeps those that pass the checks for single texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.kinds.cards.deck import Card
from app.kinds.cards.gate import Gate
from app.kinds.refusal import Refusal
from app.kinds.tasks import Draft, Drafts, Task
from app.providers.model_json import cleaned_text
from app.providers.prices import Price
from app.store.entry import Bill, Usage
from app.store.log import LogWriter
from precompute.cook.report import Report
from precompute.files import append_lines, json_line
from precompute.pieces.store import Kind, PieceStore
from precompute.pieces.writer import card_of, phrase_names


class _Piece(NamedTuple):
    kind: Kind
    text: str


@dataclass
class PieceIntake:
    """Takes pieces in. `source` is the provider's name and fingerprint; the log gets the bill."""

    kept: PieceStore
    log: LogWriter
    source: tuple[str, str]
    stamp: Callable[[], str]
    price: Price | None
    report: Report

    def __post_init__(self) -> None:
        self._gate = Gate.of(self.kept.deck)
        self._owed = Usage()
        self._model = ""

    def settle(self) -> float:
        """Log a bill for all pieces of the run; returns in USD what was paid for refused ones only."""
        report = self.report
        if report.usage != Usage():
            bill = Bill(self.source[0], self._model, self.stamp(), report.usage, report.cost_usd)
            self.log.append([bill])
        return self.price.cost(self._owed) if self.price else 0.0

    def set_reply_aside(self, tasks: Sequence[Task], fault: str, reply: str) -> None:
        """Write an unreadable reply to a side file of the pieces."""
        record = {"fault": fault, "reply": cleaned_text(reply)[:20_000]}
        append_lines(self.kept.path.with_suffix(".refused.jsonl"), [json_line(record)])

    def take(self, tasks: Sequence[Task], written: Drafts) -> list[Task]:
        """Keep the pieces that pass; returns the tasks of cards that still lack pieces."""
        report = self.report
        if written.usage:
            report.usage += written.usage
            self._owed += written.usage
            self._model = written.model
            report.cost_usd += self.price.cost(written.usage) if self.price else 0.0
        if written.reply:
            self.set_reply_aside(tasks, written.fault, written.reply)
        if written.fault:
            report.faults[written.fault] += 1
        reasons: dict[str, list[Refusal]] = defaultdict(list)
        records: list[dict[str, Any]] = []
        for draft in written.drafts:
            card = self.kept.deck.card_by_id[card_of(draft.task)]
            for piece in self._pieces(draft, card):
                reason = self._refusal(card, piece)
                report.first_drafts += not draft.task.refusals
                if reason:
                    report.refused[reason.check] += 1
                    reasons[card.id].append(reason)
                    continue
                report.first_try += not draft.task.refusals
                self.kept.texts.add(piece.text)
                records.append(self._record(card, piece, written.model))
        self._keep(records)
        again = []
        for task in tasks:
            if not self.kept.lacks(card_of(task)):
                report.cooked += 1
                continue
            why = reasons[card_of(task)] or [Refusal(written.fault or "missing")]
            again.append(task.refused(tuple(why[:3])))
        return again

    def _keep(self, records: list[dict[str, Any]]) -> None:
        if not records:
            return
        share = self._owed.share(len(records))
        cost = self.price.cost(share) if self.price else 0.0
        self._owed = Usage()
        usage = {"prompt": share.prompt, "output": share.output, "thoughts": share.thoughts}
        self.kept.append([record | {"usage": usage, "cost_usd": cost} for record in records])

    def _record(self, card: Card, piece: _Piece, model: str) -> dict[str, Any]:
        phrase, idea = piece.kind
        return {
            "card": card.id,
            "phrase": phrase,
            "idea": idea,
            "text": piece.text,
            "source": self.source[0],
            "model": model,
            "fingerprint": self.source[1],
            "created": self.stamp(),
        }

    def _pieces(self, draft: Draft, card: Card) -> Iterator[_Piece]:
        """The pieces in a draft that the card still lacks; malformed ones are skipped."""
        lacks = set(self.kept.lacks(card.id))
        phrases = {name: phrase.id for name, phrase in phrase_names(card)}
        for item in _objects(draft.response.get("sentences")):
            kind = phrases.get(str(item.get("phrase")), ""), str(item.get("idea"))
            if kind in lacks:
                yield _Piece(kind, _text(item))

    def _refusal(self, card: Card, piece: _Piece) -> Refusal | None:
        """Why a piece is refused; None if it passes."""
        if piece.text in self.kept.texts:
            return Refusal("near-copy", "100%", piece.text[:12])
        deck = self.kept.deck
        least, most = next(i.wanted.length for i in deck.pieces.ideas if i.id == piece.kind[1])
        if not least <= len(piece.text) <= most:
            return Refusal("length", str(len(piece.text)), f"{least}-{most} characters")
        if not piece.text.endswith(tuple(deck.lang.stops)):
            return Refusal("truncated")
        # Other cards of the same category are never in the same hand.
        together = [c for c in deck.cards if c is card or c.category != card.category]
        phrases = [one.text for one in card.phrases]
        return next(iter(self._gate.examine_text(piece.text, together, phrases)), None)


def _objects(value: object) -> Iterator[dict[str, Any]]:
    items = value if isinstance(value, list) else ()
    return (item for item in items if isinstance(item, dict))


def _text(item: dict[str, Any]) -> str:
    text = item.get("text")
    return text.strip() if isinstance(text, str) else ""
