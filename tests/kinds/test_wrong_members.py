"""A member of any file of a deck that has a wrong type or value: one sentence that names the file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from app.errors import OperatorError
from app.kinds.decks import load_folder
from precompute.decks.new import NewDeck, new_deck
from precompute.review.kinds import review_of
from tests.making import REPO

WRONG: tuple[Any, ...] = (None, True, -1, 0, 10**18, "", " ", "(", [], {}, [None], {"x": None})
# Contents that are no JSON at all.
RUINED = (b"", b"\x00" * 10, b"[" * 5000, bytes(range(256)), "{}".encode("utf-16"), b'{"id": "x')
KINDS = ("cards", "chat", "prompts")
# Replaced members of a file, of some hundred, that are tried each time; all with `-m long`.
SOME = 10


@pytest.fixture(scope="module")
def decks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new deck of each kind, in English."""
    folder = tmp_path_factory.mktemp("decks")
    for kind in KINDS:
        cards = REPO / "docs" / "museum.csv" if kind == "cards" else None
        new_deck(folder, NewDeck(kind, "en", 3, source=cards, kind=kind))
    return folder


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value; of the items of a list, the first stands for all."""
    yield place
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*place, name))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*place, 0))


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """The value with something else at a place."""
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = put(copy[place[0]], place[1:], new)
    return copy


def ruined(path: Path) -> Iterator[tuple[object, bytes]]:
    """What a file may wrongly hold, with what is wrong."""
    raw = path.read_bytes()
    yield from ((data[:10], data) for data in (*RUINED, raw[: len(raw) // 2]))
    if path.suffix not in (".json", ".jsonl"):
        return
    first, *rest = raw.split(b"\n") if path.suffix == ".jsonl" else [raw]
    value = orjson.loads(first)
    for place in places(value):
        for wrong in WRONG:
            yield (place, wrong), b"\n".join([orjson.dumps(put(value, place, wrong)), *rest])


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_file_holds_the_fault_is_a_sentence_with_its_name(
    kind: str, every: bool, decks: Path, tmp_path: Path
) -> None:
    """Each member of each file of a deck, replaced by values of other types: DeckError or a good deck."""
    folder = shutil.copytree(decks / kind, tmp_path / kind)
    files = [
        path for path in sorted(folder.rglob("*")) if path.suffix in (".json", ".jsonl", ".txt")
    ]
    assert len(files) >= 3
    said: dict[tuple[str, str], str] = {}
    for path in files:
        raw = path.read_bytes()
        cases = list(ruined(path))
        always, members = cases[: len(RUINED) + 1], cases[len(RUINED) + 1 :]
        some = members if every else Random(path.name).sample(members, min(SOME, len(members)))
        for what, data in (*always, *some):
            path.write_bytes(data)
            said[path.name, str(what)] = fault(folder, (path.name, what), checked=every)
        path.unlink()
        path.mkdir()
        said[path.name, "a folder"] = fault(folder, (path.name, "a folder"), checked=every)
        path.rmdir()
        path.write_bytes(raw)
    refused = {what: sentence for what, sentence in said.items() if sentence}
    assert len(refused) > len(said) / 3
    for what, sentence in refused.items():
        assert sentence.startswith(str(folder)), (what, sentence)
        assert "\n" not in sentence, what


def fault(folder: Path, what: object, *, checked: bool) -> str:
    """The sentence with which a deck is refused; empty if it is loaded."""
    try:
        deck = load_folder(folder)
        if checked:
            list(review_of(deck).check(deck))
    except OperatorError as error:
        return str(error)
    except Exception as error:
        raise AssertionError(what) from error
    return ""
