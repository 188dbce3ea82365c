"""A member of any file of a deck that has a wrong type or value: one sentence that names the file."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from app.errors import OperatorError
from app.kinds.chat import deck as chat_deck
from app.kinds.chat.by_example import ByExample
from app.kinds.chat.intents import INTENTS_FILE, Intents, load_intents
from app.kinds.decks import load_folder
from precompute.decks.new import NewDeck, new_deck
from precompute.review import tiers
from precompute.review.kinds import review_of
from tests.making import REPO

WRONG: tuple[Any, ...] = (None, True, -1, 0, 10**18, "", " ", "(", [], {}, [None], {"x": None})
# Contents that are no JSON at all.
RUINED = (b"", b"\x00" * 10, b"[" * 5000, bytes(range(256)), "{}".encode("utf-16"), b'{"id": "x')
KINDS = ("cards", "chat", "prompts")
# Replaced members of a file, of some hundred, that are tried each time; all with `-m long`.
SOME = 10
# From so many members of one type on, a JSON object is a table of things that are alike.
MANY = 7
# Hands that a check plays. It plays a thousand to count those that get no answer; what a wrong member does to
# a play shows in each.
HANDS = 20


@pytest.fixture(scope="module")
def decks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new deck of each kind, in English."""
    folder = tmp_path_factory.mktemp("decks")
    for kind in KINDS:
        cards = REPO / "docs" / "museum.csv" if kind == "cards" else None
        new_deck(folder, NewDeck(kind, "en", 3, source=cards, kind=kind))
    # A check reads every message that an intent has, to count: one for and one against it are enough here.
    path = folder / "chat" / "said.json"
    said = orjson.loads(path.read_bytes())
    few = {name: {side: texts[:1] for side, texts in of.items()} for name, of in said.items()}
    path.write_bytes(orjson.dumps(few))
    return folder


@pytest.fixture
def _cheap_decks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of decks are loaded and checked that differ in one member each.

    Intents are made once for each content of their file: compiling their expressions is most of loading.
    """
    made: dict[bytes, Intents] = {}

    def once(folder: Path, by_example: Iterable[ByExample] = ()) -> Intents:
        path, more = folder / INTENTS_FILE, tuple(by_example)
        raw = path.read_bytes() if path.is_file() else b""
        if more or raw not in made:
            found = load_intents(folder, more)
            made.clear()
            made[raw] = found
        return made[raw]

    monkeypatch.setattr(chat_deck, "load_intents", once)
    monkeypatch.setattr(tiers, "HANDS", HANDS)


def places(value: Any) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Where something stands in a JSON value, and the places that are alike, which have one form.

    Of the items of a list, the first stands for all. Many members of one type (the intents of `said.json`)
    are alike.
    """
    yield (), ()
    if isinstance(value, dict):
        alike = len(value) >= MANY and len({type(inner) for inner in value.values()}) == 1
        for name, inner in value.items():
            for place, form in places(inner):
                yield (name, *place), ("*" if alike else name, *form)
    elif isinstance(value, list) and value:
        for place, form in places(value[0]):
            yield (0, *place), (0, *form)


def replaced(value: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every place, and what it is to hold: every other wrong value, the others at the next place; or of
    many places that are alike each three or more in turn, so that three or more of them get each."""
    seen: Counter[tuple[Any, ...]] = Counter()
    of_form = Counter(form for _, form in places(value))
    for number, (place, form) in enumerate(places(value)):
        turns = max(2, min(len(WRONG) // 3, of_form[form] // 3))
        turn = number if of_form[form] == 1 else seen[form]
        for wrong in WRONG[turn % turns :: turns]:
            yield place, wrong
        seen[form] += 1


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
    for place, wrong in replaced(value):
        yield (place, wrong), b"\n".join([orjson.dumps(put(value, place, wrong)), *rest])


@pytest.mark.usefixtures("_cheap_decks")
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
