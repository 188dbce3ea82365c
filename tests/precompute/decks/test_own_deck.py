"""What stood in the way of those who made a deck of their own, each as a rule for any deck."""

from __future__ import annotations

import ast
import csv
import os
import random
import re
import shlex
import shutil
import tarfile
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kinds.cards.deck import MEMBERS as CARDS_MEMBERS
from app.kinds.cards.deck import Deck
from app.kinds.cards.loading import load_deck
from app.kinds.cards.words import known_words
from app.kinds.cards.written import paragraphs, written_answers
from app.kinds.chat.deck import MEMBERS as CHAT_MEMBERS
from app.kinds.prompts.deck import MEMBERS as PROMPTS_MEMBERS
from app.settings import Settings
from app.store.decision import APPROVED, DELETED, REJECTED
from app.store.index import Index
from precompute.cli import main
from precompute.decks.new import TEMPLATES, NewDeck, languages
from precompute.review.desk import DecisionRequest, Desk, TextFilter, mark_of
from tests.making import DECKS, REPO, environment, museum, new_cards, row, write_json
from tests.test_your_own_deck import Curator

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process on a data folder of its own; its status and all that it said."""
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TSUKURIOKI_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def go(*arguments: object) -> tuple[int, str]:
        capfd.readouterr()
        status = main([str(a) for a in arguments])
        return status, "".join(capfd.readouterr())

    return go


def poem(seed: object) -> str:
    """A text that the museum's gate passes, its paragraphs on lines."""
    return "\n".join(Curator()._poem(str(seed)))


def write_answers(deck: Deck, texts: Mapping[int, str]) -> None:
    """Write `written.jsonl`: a text for some plays, by number."""
    assert deck.folder
    hand = [cards[0] for cards in deck.cards_by_category.values()][:3]
    plays = list(deck.plays_of_hand(hand))
    lines = [
        {"picks": plays[number].picks, "title": deck.titles[0], "text": text}
        for number, text in texts.items()
    ]
    (deck.folder / "written.jsonl").write_bytes(b"".join(orjson.dumps(x) + b"\n" for x in lines))


@pytest.mark.parametrize("seed", range(4))
def test_the_file_of_written_answers_says_what_is_stored(
    tmp_path: Path, run: Run, seed: int
) -> None:
    """Texts that are moved to other plays, swapped, edited, added: a build stores them as they stand now."""
    deck = museum(tmp_path / "decks" / "museum")
    rng = random.Random(seed)
    texts = {number: poem(number) for number in range(8)}
    for edition in range(3):
        write_answers(deck, texts)
        status, said = run("build", "--deck", "museum", "--provider", "written", "--n", 100)
        assert status == 0, said
        index = Index(tmp_path / "store", "museum")
        for query, response in written_answers(deck).items():
            body = index.get(bytes.fromhex(query.key))
            assert body is not None
            assert orjson.loads(body)["poem"] == response["poem"]
        assert set(index.keys()) == {(query.key, 0) for query in written_answers(deck)}
        index.close()
        assert row(said, "not cooked") == "0"
        plays = rng.sample(range(20), 8)
        moved = dict(zip(plays, rng.sample(list(texts.values()), 8), strict=True))
        texts = {**moved, plays[0]: poem(f"{seed} {edition}")}


@pytest.mark.parametrize("verdict", [APPROVED, REJECTED, DELETED])
def test_reviewers_and_the_file_get_along(tmp_path: Path, run: Run, verdict: str) -> None:
    """What a reviewer approved is replaced by an edit of the file; what was rejected stays away until
    the file has another text; what was deleted stays away."""
    deck = museum(tmp_path / "decks" / "museum")
    known = Settings.read({"TSUKURIOKI_DATA": str(tmp_path)})
    words = ("build", "--deck", "museum", "--provider", "written", "--n", 100)

    def stored() -> list[str]:
        assert run(*words)[0] == 0
        index = Index(tmp_path / "store", "museum")
        names = list(index.keys())
        bodies = [index.get(bytes.fromhex(key), variant) for key, variant in names]
        index.close()
        return sorted(orjson.loads(body)["poem"].replace("\n\n", "\n") for body in bodies if body)

    write_answers(deck, {0: poem(0), 1: poem(1)})
    assert stored() == sorted([poem(0), poem(1)])
    desk = Desk(known, deck, lambda: "2026-11-27T12:00:00Z")
    first = desk.names(TextFilter())[0]
    entry = desk.entry(first)
    assert entry
    old = entry.response["poem"].replace("\n\n", "\n")
    desk.decide(first, DecisionRequest(verdict, mark_of(entry)))
    texts = {0: poem(0), 1: poem(1)}
    gone = verdict != APPROVED
    assert stored() == sorted(text for text in texts.values() if not (gone and text == old))
    edited = {n: poem("new") if text == old else text for n, text in texts.items()}
    write_answers(deck, edited)
    expected = [text for text in edited.values() if verdict != DELETED or text != poem("new")]
    assert stored() == sorted(expected)
    # What the file no longer has is not for a reviewer to decide.
    write_answers(deck, {2: poem(2)})
    assert stored() == [poem(2)]
    assert [name for name in desk.names(TextFilter()) if name != first] == desk.names(
        TextFilter(status="open")
    )


def test_a_deck_of_own_texts_needs_no_model(tmp_path: Path, run: Run) -> None:
    """A build without a key stores them, and they are said to be their owner's, not the makers'."""
    deck = museum(tmp_path / "decks" / "museum", written_by="Grandmother")
    write_answers(deck, {0: poem(0), 1: poem(1)})
    status, said = run("build", "--deck", "museum", "--n", 2)
    assert status == 0, said
    assert "Grandmother 2" in run("stats", "--deck", "museum")[1]
    for language in languages():
        label = known_words(language)["sources"]["written"]  # type: ignore[index]
        assert not re.search("makers|language model|作り手|モデル|auteurs|modèle", label)


ANSWERS = ["card 1", "phrase 1", "card 2", "phrase 2", "card 3", "phrase 3", "title", "text"]
PLAY = ["c0a", "p0a0", "c1a", "p1a0", "c2a", "p2a0"]
WRONG_ROWS = {
    "a title that is not the deck's": ([*PLAY, "Nowhere", poem(1)], "title"),
    "a text that is too short": ([*PLAY, "Number Nine", "Too short."], "length"),
    "a text that addresses the task": (
        [*PLAY, "Number Nine", poem(1).replace("before lunch", "as requested")[:-1] + " as requested."],
        "echo",
    ),
    "a card that is none": (["none", *PLAY[1:], "Number Nine", poem(1)], "no card 'none'"),
    "a phrase of another card": (["c0b", *PLAY[1:], "Number Nine", poem(1)], "no phrase 'p0a0'"),
    "two cards of a category": (
        ["c1b", "p1b0", *PLAY[2:], "Number Nine", poem(1)], "'room 1' is there 2 times",
    ),
    "a play that stands twice": ([*PLAY[2:], *PLAY[:2], "Number Nine", poem(2)], "the same play"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_an_import_with_an_error_is_refused_whole(tmp_path: Path, run: Run, name: str) -> None:
    """Exit status 2, one line with the row of the sheet and the fault, and no file is changed."""
    deck = museum(tmp_path / "decks" / "museum")
    assert deck.folder
    before = {path.name: path.read_bytes() for path in deck.folder.iterdir()}
    wrong, fault = WRONG_ROWS[name]
    sheets = tmp_path / "sheets"
    sheets.mkdir()
    good = ["c0c", "p0c0", *PLAY[2:], "The Quiet Room", poem(9)]
    first = [*PLAY, "The Quiet Room", poem(2)] if "twice" in name else good
    with (sheets / "answers.csv").open("w", newline="") as file:
        csv.writer(file).writerows([ANSWERS, first, [], wrong])
    (sheets / "titles.csv").write_text("title\nThe Quiet Room\nNumber Nine\nNumber Ten\n")
    status, said = run("cards", "import", sheets, "--deck", "museum")
    assert status == 2
    assert len(said.splitlines()) == 1
    assert "answers row 4" in said
    assert fault in said
    assert "nothing was imported" in said
    assert {path.name: path.read_bytes() for path in deck.folder.iterdir()} == before


ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\n\r\n", " \n\t\n", "\u2028"])


@given(st.lists(st.tuples(st.sampled_from(["One.", "Two three.", "Four"]), ENDS), min_size=1))
def test_paragraphs_are_parted_by_one_blank_line(parts: list[tuple[str, str]]) -> None:
    """However their line breaks are written, none is doubled and none is lost."""
    text = paragraphs("".join(word + end for word, end in parts))
    assert text.split("\n\n") == [word for word, _ in parts]


@pytest.mark.parametrize(
    ("target", "end"),
    [
        ("sheets", "\r\n"),
        ("sheets", "\n\n"),
        ("sheets", "\r"),
        ("sheets.xlsx", "\n"),
        ("sheets.xlsx", "\r\n\r\n"),
    ],
)
def test_line_breaks_in_cells_stay_what_they_are(
    tmp_path: Path, run: Run, target: str, end: str
) -> None:
    """In texts they part paragraphs, in phrases they are left out; a second trip changes nothing."""
    deck = museum(tmp_path / "decks" / "museum")
    write_answers(deck, {0: end.join(poem(0).splitlines())})
    cards = orjson.loads((tmp_path / "decks" / "museum" / "cards.json").read_bytes())
    cards[0]["poems"][0]["poem_text"] = end.join(["It has kept its dignity", "for years"])
    write_json(tmp_path / "decks" / "museum" / "cards.json", cards)
    for number in range(2):
        assert run("cards", "export", f"{number}-{target}", "--deck", "museum")[0] == 0
        status, said = run("cards", "import", f"{number}-{target}", "--deck", "museum")
        assert status == 0, said
        assert number == 0 or "kept as" not in said
        deck = load_deck(tmp_path / "decks" / "museum")
        assert [a["poem"] for a in written_answers(deck).values()] == [
            poem(0).replace("\n", "\n\n")
        ]
        assert deck.cards[0].phrases[0].text == "It has kept its dignity for years"


def test_a_bundle_has_no_files_that_an_import_replaced(tmp_path: Path, run: Run) -> None:
    """They are the owner's, and no part of the deck."""
    museum(tmp_path / "decks" / "museum")
    (tmp_path / "cards.csv").write_text(
        "category,card,phrase 1\n"
        + "".join(
            f"room {n},A thing with {n} holes,It is number {n} of many\n" for n in range(20, 26)
        )
    )
    for times in range(2):
        for name in ("written.jsonl.before-1", "pieces.json.before", "cards.json~.before-12"):
            (tmp_path / "decks" / "museum" / name).write_text("old")
        assert run("cards", "import", "cards.csv", "--deck", "museum")[0] in (0, 2)
        assert run("bundle", f"{times}.tar", "--deck", "museum")[0] == 0
        with tarfile.open(f"{times}.tar") as tar:
            names = tar.getnames()
        assert any(name.endswith("cards.json") for name in names)
        assert [name for name in names if "before" in name] == []


def test_check_of_one_deck_says_nothing_of_others(tmp_path: Path, run: Run) -> None:
    """Not even if another cannot be read."""
    museum(tmp_path / "decks" / "museum")
    museum(tmp_path / "decks" / "attic", template={})
    assert "attic" in run("check")[1]
    for _ in range(2):
        status, said = run("check", "--deck", "museum")
        assert status == 0
        assert "attic" not in said
        (tmp_path / "decks" / "attic" / "deck.json").write_text("{")
    assert run("check", "--deck", "nowhere")[0] == 2


def recommended(said: str) -> list[list[str]]:
    """The arguments of the commands that a text recommends."""
    found = re.findall(r"precompute ((?:build|check|stats) --deck [^;,\n]+)", said)
    return [shlex.split(line) for line in found]


def test_commands_that_are_recommended_work(tmp_path: Path, run: Run) -> None:
    """On a new deck, without a key, as they stand."""
    said = run("new-deck", "mine", "--language", "en", "--hand", 3)[1]
    said += run("stats", "--deck", "mine")[1]
    commands = recommended(said)
    assert len(commands) >= 2
    for words in commands:
        status, told = run(*words)
        assert status == 0, (words, told)


def messages(path: Path) -> Iterator[str]:
    """The texts in a module, without docstrings; what is filled in is `…`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    spoken = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body
        if isinstance(node.body[0], ast.Expr)
    }
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
            yield "".join(map(str, parts))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside | spoken
        ):
            yield node.value


def test_a_build_that_is_recommended_names_its_deck_and_how_much() -> None:
    """Otherwise it would cook the settings' deck, or say that it does not know how many."""
    paths = [path for room in ("app", "precompute") for path in (REPO / room).rglob("*.py")]
    told = [text for path in paths for text in messages(path) if "precompute build " in text]
    assert len(told) >= 8
    lacking = [text for text in told if "--deck" not in text or "--n" not in text]
    assert lacking == []


# What a text sells or praises, in which only some decks are at home.
SELLING = {
    "en": r"\b(?:price|sold|sale|buy|owner|luxury|home|neighbours?|wrap|exchange|trouble|second-hand)\b",
    "ja": "値|売|買|取り引き|持ち主|新品|包|となりの人|家",
    "fr": r"\b(?:prix|vendu|servi|propriétaire|achet\w*|neuf|emball\w*|maison|voisins|emportez|échange)\b",
}


@pytest.mark.parametrize("language", languages())
def test_the_frames_of_a_new_deck_are_for_any_deck(language: str) -> None:
    """Its titles, frames and pages offer nothing for sale: a museum's owner need not rewrite them."""
    starter = orjson.loads((TEMPLATES / "cards" / language / "starter.json").read_bytes())
    said = orjson.dumps([starter["titles"], starter["template"], starter["words"]]).decode()
    assert re.findall(SELLING[language], said, re.IGNORECASE) == []


def misspelt(name: str) -> str:
    """A name with a letter too few."""
    return name[:-2] + name[-1] if len(name) > 2 else name + name[-1]


KINDS: Mapping[str, tuple[Path, Mapping[str, str]]] = {
    "cards": (DECKS / "poem", CARDS_MEMBERS),
    "chat": (DECKS / "harbour", CHAT_MEMBERS),
    "prompts": (DECKS / "none", PROMPTS_MEMBERS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_misspelt_member_is_named_with_the_nearest(tmp_path: Path, run: Run, kind: str) -> None:
    """In the deck file of every kind: it would have no effect, and nobody would notice."""
    source, members = KINDS[kind]
    folder = tmp_path / "decks" / "mine"
    folder.mkdir(parents=True)
    root: dict[str, Any] = {"id": "mine", "kind": "prompts"}
    if source.exists():
        root = {**orjson.loads((source / "deck.json").read_bytes()), "id": "mine"}
    for name in members:
        write_json(folder / "deck.json", {**root, misspelt(name): 1})
        status, said = run("check", "--deck", "mine")
        assert status == 2
        assert f"no such member: {misspelt(name)!r}; did you mean {name!r}?" in said, said


def folder_of(kind: str, target: Path) -> Path:
    """A small deck of a kind, with every file that a person may write for it."""
    if kind == "chat":
        shutil.copytree(DECKS / "harbour", target)
        root = orjson.loads((target / "deck.json").read_bytes())
        write_json(target / "deck.json", {**root, "id": target.name})
        return target
    if kind == "cards":
        deck = new_cards(target.parent, NewDeck(target.name, "fr", 3))
        write_answers(deck, {})
        assert deck.folder
        return deck.folder
    write_json(target / "deck.json", {"kind": "prompts", "id": target.name})
    message = {"role": "user", "content": "Décris {a}."}
    write_json(target / "template.json", {"template": [message], "slots": {"a": ["été"]}})
    body = {"model": "m", "messages": [{"role": "user", "content": "Où ?"}]}
    write_json(target / "prompts.jsonl", body)
    return target


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_another_name_is_told(tmp_path: Path, run: Run, kind: str) -> None:
    """Commands and pages know a deck by its id; whoever looks for it looks for a folder."""
    folder_of(kind, tmp_path / "decks" / "mine").rename(tmp_path / "decks" / "yours")
    status, said = run("check", "--deck", "mine")
    assert status == 0
    assert "deck.json: id: 'mine' is in the folder 'yours'" in said


ENCODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "Latin-1": lambda data: data.replace(b'"', b'"\xe9', 1) if b'"' in data else data + b"\xe9",
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_file_of_a_deck_may_begin_with_a_byte_order_mark(
    tmp_path: Path, run: Run, kind: str
) -> None:
    """Editors on Windows write one; all files at once make no difference to what is said."""
    folder = folder_of(kind, tmp_path / "decks" / "mine")
    before = run("check", "--deck", "mine")
    for path in folder.rglob("*.*"):
        path.write_bytes(BOM_UTF8 + path.read_bytes())
    assert run("check", "--deck", "mine") == before
    assert before[0] == 0


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_another_encoding_is_told_with_what_to_do(
    tmp_path: Path, run: Run, kind: str, encoding: str
) -> None:
    """For each file of a deck that is read: the file, and "save it as UTF-8"; never a traceback."""
    folder = folder_of(kind, tmp_path / "decks" / "mine")
    # The classifiers are learned, not written, and examples.jsonl and tones.jsonl are for learning them.
    files = [
        p
        for p in folder.rglob("*.*")
        if p.suffix != ".md" and p.name not in ("training.json", "tones.jsonl")
    ]
    assert len(files) >= 3
    for path in files:
        data = path.read_bytes()
        path.write_bytes(ENCODINGS[encoding](data))
        status, said = run("check", "--deck", "mine")
        path.write_bytes(data)
        assert status in (1, 2), (path, said)
        assert f"{path.name}: " in said
        assert "save it as UTF-8" in said
