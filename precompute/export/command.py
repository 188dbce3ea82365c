"""`precompute export`: rows of a deck, in the form of a trainer, split, with a manifest."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.errors import PlanError, StoreWriteError
from app.kinds.chat.deck import CharacterDeck
from app.kinds.decks import kind_of
from app.kinds.kind import AnyDeck, AnyGate
from precompute.cook.kinds import refusal_of
from precompute.cook.options import BuildContext, BuildOptions
from precompute.cook.report import table
from precompute.export.anonymise import Anonymiser
from precompute.export.circumstances import augmented
from precompute.export.formats import FORMS, Files, Format, dataset_info
from precompute.export.material import (
    RESTRICTED,
    RowOptions,
    StoredAnswers,
    material_of,
    training_texts,
)
from precompute.export.pairs import known_pairs
from precompute.export.rows import SYSTEM, USER, Item, Message, Origin, Pair, Row
from precompute.export.scenarios import ScenarioOptions, write_scenarios
from precompute.export.split import TRAIN, VALIDATION, side, split
from precompute.export.verdicts import Comparison, compare
from precompute.files import write_whole

MANIFEST = "manifest.json"
VERDICTS, SCENARIOS = "verdicts.jsonl", "scenarios.jsonl"
# What was taken out of people's messages. For the owner's eyes: not a part of the data set.
REPLACED = "replaced.json"
# Characters of an answer in a bar of the histogram.
_BAR = 50
# Left out unless asked for: composed texts are assembled of pieces, which a model would learn.
_COMPOSER = "composer"
# Fewer rows than this teach nothing that one could judge by.
FEW = 100
# Most answers to one prompt in a round robin: eight make 28 pairs, each asked twice.
MOST_ANSWERS = 8


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The options of the command line. `sources` limits the sources; empty means all but composer.

    `restricted` takes in sources whose terms may forbid training. `validation` is a share of groups.
    `scenarios` is how many conversations of `turns` messages a model writes; `augment` how many more
    rows each answer becomes, under other circumstances.
    """

    form: str
    out: Path
    sources: tuple[str, ...] = ()
    restricted: bool = False
    system: str = "short"
    validation: float = 0.1
    seed: int = 0
    scenarios: int | None = None
    turns: int = 6
    anonymise: bool = False
    augment: int | None = None


class ExportModels(NamedTuple):
    """The models that an export asks: to compare answers, to write conversations."""

    judge: BuildOptions | None = None
    writer: BuildOptions | None = None


def export(options: ExportOptions, asked: ExportModels, context: BuildContext) -> None:
    """Write the data set. Raises OperatorError."""
    form, deck = FORMS[options.form], context.deck
    _prepare(options.out)
    material = material_of(deck, RowOptions(options.system, options.seed, options.validation))
    gate = kind_of(deck).gate(deck)
    stored = StoredAnswers(context.settings, deck.id)
    left_out: Counter[str] = Counter()
    rows = list(_allowed(material.rows(stored, left_out), options, gate, left_out))
    if options.augment:
        side_of = partial(side, share=options.validation, seed=options.seed)
        rows += list(augmented(deck, rows, options.augment, options.seed, side_of))
    if asked.writer:
        rows += _written(options, asked.writer, context, left_out)
    characters = deck.characters if isinstance(deck, CharacterDeck) else ()
    anonymiser = Anonymiser(name for character in characters for name in character.names)
    if options.anonymise:
        rows = [_anonymous(row, anonymiser) for row in rows]
    pairs: list[Pair] = []
    if form.pairs or form.name == "llamafactory":
        found = known_pairs(material, stored, gate, left_out)
        pairs = list(_permitted(found, options, left_out))
        if asked.judge:
            pairs += _judged(options, asked.judge, context, rows, left_out)
    items: list[Item] = [*pairs] if form.pairs else [*rows, *pairs]
    if not items:
        raise PlanError(_nothing(form, deck, left_out))
    files = _files(form, deck, split(items, options.validation, options.seed))
    _write(options.out, files)
    manifest = _manifest(options, deck, items, files, left_out)
    if options.anonymise:
        listed = [one._asdict() for one in anonymiser.replaced]
        _write(options.out, {REPLACED: orjson.dumps(listed, option=orjson.OPT_INDENT_2)})
    _write(options.out, {MANIFEST: orjson.dumps(manifest, option=orjson.OPT_INDENT_2)})
    _print(context, options, manifest)


def _written(
    options: ExportOptions, writer: BuildOptions, context: BuildContext, left_out: Counter[str]
) -> Iterator[Row]:
    """Conversations that a model writes. Raises PlanError before it is asked in vain."""
    fault = _source_fault(Origin(str(writer.provider), "", ""), options)
    if fault:
        raise PlanError(f"--scenarios: {fault}")
    wanted = ScenarioOptions(options.scenarios or 0, options.turns, options.seed)
    path = options.out / SCENARIOS
    return write_scenarios(context.deck, wanted, writer, context, path, left_out)


def _anonymous(row: Row, anonymiser: Anonymiser) -> Row:
    """The row without what may say who somebody is; what the makers wrote stays as it is."""
    if row.vetted:
        return row
    turns = tuple(
        Message(
            turn.role, turn.content if turn.role == SYSTEM else anonymiser(turn.content, row.id)
        )
        for turn in row.turns
    )
    return replace(row, turns=turns)


def _prepare(out: Path) -> None:
    """Make the folder. Raises PlanError if it holds something else than an earlier export."""
    if out.exists() and not out.is_dir():
        raise PlanError(f"--out {out}: a file is there; name a folder")
    there = {path.name for path in out.iterdir()} if out.exists() else set()
    if there - {VERDICTS, SCENARIOS} and MANIFEST not in there:
        raise PlanError(f"--out {out}: the folder is not empty and holds no export; name another")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if MANIFEST in there:
            for name in orjson.loads((out / MANIFEST).read_bytes())["files"]:
                (out / Path(name).name).unlink(missing_ok=True)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise PlanError(f"--out {out}: its {MANIFEST} is damaged; name another folder") from None
    except OSError as error:
        raise StoreWriteError(f"{out}: cannot be written: {error.strerror}") from None


def _allowed(
    rows: Iterator[Row], options: ExportOptions, gate: AnyGate, left_out: Counter[str]
) -> Iterator[Row]:
    for row in rows:
        reason = _source_fault(row.origin, options)
        if not reason and not row.vetted and refusal_of(gate, row.query, row.response):
            reason = "refused by the gate"
        if reason:
            left_out[reason] += 1
        else:
            yield row


def _permitted(
    pairs: Iterator[Pair], options: ExportOptions, left_out: Counter[str]
) -> Iterator[Pair]:
    for pair in pairs:
        if reason := _source_fault(pair.origin, options):
            left_out[f"pairs, {reason}"] += 1
        else:
            yield pair


def _source_fault(origin: Origin, options: ExportOptions) -> str:
    """Why rows of a source are left out; empty if they are not."""
    source = origin.source
    if options.sources and source not in options.sources:
        return f"source {source}: not among --sources"
    if not options.sources and source == _COMPOSER:
        return f"source {source}: composed of pieces; name it with --sources to take it in"
    writer = origin.edited_from or source
    if writer in RESTRICTED and not options.restricted:
        return f"source {writer}: {RESTRICTED[writer]}; --restricted takes it in"
    return ""


def _judged(
    options: ExportOptions,
    judge: BuildOptions,
    context: BuildContext,
    rows: Sequence[Row],
    left_out: Counter[str],
) -> Iterator[Pair]:
    """Pairs from a round robin over the answers to one query, ranked by their shares of wins."""
    text = training_texts(context.deck.folder, {"compare": str})["compare"]
    by_query: dict[tuple[str, Sequence[Message]], list[Row]] = {}
    for row in rows:
        # What was said before belongs to what is answered.
        by_query.setdefault((row.query.key, row.earlier), []).append(row)
    several = {key: found[:MOST_ANSWERS] for key, found in by_query.items() if len(found) > 1}
    left_out["queries with one answer, which nothing can be compared with"] += len(by_query) - len(
        several
    )
    games = {
        key: [
            Comparison(_asked(one), one.answer, two.answer)
            for one, two in itertools.combinations(found, 2)
            if one.answer != two.answer
        ]
        for key, found in several.items()
    }
    every = itertools.chain.from_iterable(games.values())
    verdicts, report = compare(judge, context, text, every, options.out / VERDICTS)
    left_out["comparisons without a verdict"] += len(report.unmet)
    for key, found in several.items():
        results = [verdicts.better(game) for game in games[key]]
        left_out["comparisons in which the two orders disagree"] += results.count(None)
        wins = Counter(result for result in results if result is not None)
        ranked = sorted(found, key=lambda row: -wins[row.answer])
        for best, worse in itertools.combinations(ranked, 2):
            if wins[best.answer] > wins[worse.answer]:
                yield Pair(
                    best.id, best.group, best.prompt, best.answer, worse.answer, "judge",
                    best.origin,
                )  # fmt: skip


def _asked(row: Row) -> str:
    return next(turn.content for turn in reversed(row.prompt) if turn.role == USER)


def _files(form: Format, deck: AnyDeck, sides: dict[str, list[Item]]) -> Files:
    files: Files = {}
    for name in (TRAIN, VALIDATION):
        files |= form.write(name, sides[name])
    if form.name == "llamafactory":
        info = dataset_info(deck.id, files)
        files["dataset_info.json"] = orjson.dumps(info, option=orjson.OPT_INDENT_2)
    if form.name in ("trl", "openai"):
        files["axolotl.yaml"] = _axolotl(form).encode()
    return files


def _axolotl(form: Format) -> str:
    name = "messages.jsonl" if form.name == "trl" else "jsonl"
    return (
        "# For axolotl: https://docs.axolotl.ai/docs/dataset-formats/conversation.html\n"
        "datasets:\n"
        f"  - path: {TRAIN}.{name}\n"
        "    ds_type: json\n"
        "    type: chat_template\n"
        "    field_messages: messages\n"
        "    roles_to_train: [assistant]\n"
        "test_datasets:\n"
        f"  - path: {VALIDATION}.{name}\n"
        "    ds_type: json\n"
        "    split: train\n"
        "    type: chat_template\n"
        "    field_messages: messages\n"
    )


def _write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        write_whole(folder / name, content)


def _manifest(
    options: ExportOptions,
    deck: AnyDeck,
    items: Sequence[Item],
    files: Files,
    left_out: Counter[str],
) -> dict[str, Any]:
    """What stands in the data set: checksums, counts by source, lengths, what was left out."""
    sides = split(items, options.validation, options.seed)
    lengths = Counter(
        len(item.answer if isinstance(item, Row) else item.chosen) // _BAR * _BAR for item in items
    )
    return {
        "deck": deck.id,
        "format": options.form,
        "seed": options.seed,
        "system": options.system,
        "rows": {name: len(found) for name, found in sides.items()},
        "groups": {name: len({item.group for item in found}) for name, found in sides.items()},
        "augmented": sum("augmented" in item.about for item in items if isinstance(item, Row)),
        "sources": dict(Counter(item.origin.source for item in items).most_common()),
        "licences": dict(Counter(item.origin.licence for item in items).most_common()),
        "characters": {f"{least}-{least + _BAR - 1}": lengths[least] for least in sorted(lengths)},
        "left_out": {reason: count for reason, count in left_out.most_common() if count},
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in sorted(files.items())
        },
    }


def _nothing(form: Format, deck: AnyDeck, left_out: Counter[str]) -> str:
    why = "; ".join(f"{count} {reason}" for reason, count in left_out.most_common(3) if count)
    if form.pairs:
        hint = (
            "preferences come of votes, edits and refusals, or of --judge with several answers "
            "to a query"
        )
    else:
        hint = f"cook something first: precompute build --deck {deck.id} --n 1000"
    return f"nothing to export of deck {deck.id!r}{f' ({why})' if why else ''}; {hint}"


def _print(context: BuildContext, options: ExportOptions, manifest: dict[str, Any]) -> None:
    rows = manifest["rows"]
    sources = ", ".join(f"{name} {count:,}" for name, count in manifest["sources"].items())
    shown: list[tuple[str, object]] = [
        ("rows", ", ".join(f"{name} {count:,}" for name, count in rows.items())),
        ("by source", sources),
        *((f"left out: {reason}", f"{count:,}") for reason, count in manifest["left_out"].items()),
        ("files", ", ".join(manifest["files"])),
    ]
    table(context.out, f"{options.form} of deck {manifest['deck']}, in {options.out}", shown)
    if rows[TRAIN] < FEW:
        few = f"{rows[TRAIN]} rows are too few to judge a trained model by"
        context.note(f"note: {few}; docs/fine-tuning.md")
