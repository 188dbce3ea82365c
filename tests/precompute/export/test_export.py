"""Data sets for fine-tuning, made by the command from the box and from a store."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import DeckError, PlanError
from app.kinds.chat.deck import load_character_deck
from app.kinds.chat.message import spelling
from app.settings import Settings
from app.store.entry import Entry
from precompute.export.anonymise import Anonymiser
from precompute.export.checker import check_file
from precompute.export.circumstances import augmented as augment
from precompute.export.circumstances import circumstances
from precompute.export.formats import FORMS
from precompute.export.material import RowOptions, StoredAnswers, material_of
from tests.kit import poem_deck
from tests.making import DECKS, write_json
from tests.precompute.export.kit import Place, lines, manifest, other, poems
from tests.precompute.export.model import a_model
from tests.web.clients.test_conformance import ODD, places

ROWS = sorted(name for name, form in FORMS.items() if not form.pairs)
SIDES = ("train", "validation")
PAIRS = sorted(name for name, form in FORMS.items() if form.pairs)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, {})


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A folder in which nothing was cooked: what is exported is in the box."""
    return Place(tmp_path_factory.mktemp("box"), {})


def turned(entry: Entry) -> dict[str, str]:
    """The same poem with its paragraphs in the opposite order, which the gate passes as well."""
    title, poem = entry.response["title"], entry.response["poem"]
    return {"title": title, "poem": "\n\n".join(reversed(poem.split("\n\n")))}


def checked(out: Path) -> int:
    """The records of all files of a data set, none of which has a fault."""
    records = 0
    for name in manifest(out)["files"]:
        if "metadata" in name or name in ("axolotl.yaml", "dataset_info.json"):
            continue
        found = check_file(out / name)
        assert not found.findings, (name, found.findings[:3])
        records += found.records
    return records


@pytest.mark.parametrize(
    ("deck", "form"), [*(("poem", form) for form in ROWS), ("chat", "trl"), ("harbour", "alpaca")]
)
def test_the_box_exports_in_every_form(box: Place, deck: str, form: str) -> None:
    """Without key and build, each deck of the box is a data set whose files pass their checker."""
    out = box.export(form, deck=deck)
    told = manifest(out)
    rows = sum(told["rows"].values())
    assert checked(out) == rows * (2 if form == "trl" else 1)
    assert rows > 100
    for name, file in told["files"].items():
        content = (out / name).read_bytes()
        assert file == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A deck of prompts with replies that other tools recorded: with and without system and history."""
    folder = tmp_path_factory.mktemp("recorded")
    place = Place(folder / "data", {"TSUKURIOKI_DECKS": folder / "decks"})
    write_json(folder / "decks" / "recorded" / "deck.json", {"kind": "prompts", "id": "recorded"})
    short: list[dict[str, Any]] = [
        {"match": {"userMessage": f"question {n}"}, "response": {"content": f"Answer {n}."}}
        for n in range(12)
    ]
    tool = {"toolCalls": [{"name": "weather", "arguments": "{}"}]}
    short.append({"match": {"userMessage": "weather"}, "response": tool})
    write_json(folder / "fixtures.json", {"fixtures": short})
    whole = []
    for n in range(12):
        said = ("system", "Be brief."), ("user", f"Hi {n}"), ("assistant", "Yes?"), ("user", "And?")
        body = {"model": "m", "messages": [{"role": r, "content": c} for r, c in said]}
        message = {"role": "assistant", "content": f"It is {n}."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        reply = {"object": "chat.completion", "model": "m", "choices": [choice]}
        named = {"custom_id": f"r{n}"}
        whole += [
            {**named, "method": "POST", "url": "/v1/chat/completions", "body": body},
            {**named, "response": {"status_code": 200, "body": reply}},
        ]
    batch = folder / "batch.jsonl"
    batch.write_text("".join(json.dumps(line) + "\n" for line in whole), "utf-8")
    for kind, path in (("aimock", folder / "fixtures.json"), ("batch", batch)):
        done = place.run("import", "--from", kind, path)
        assert done.returncode == 0, done.stderr
    return place


@pytest.mark.parametrize("form", ["trl", "alpaca", "llamafactory", "conversations"])
def test_recorded_prompts_export_too(recorded: Place, form: str) -> None:
    """Chats of texts, with and without system and history, pass the checker; a call of tools is left out."""
    out = recorded.export(form, "--restricted", deck="recorded")
    told = manifest(out)
    assert told["sources"] == {"aimock": 12, "openai": 12}
    assert told["left_out"] == {"no chat of texts with one answer": 1}
    assert checked(out) == 24 * (2 if form == "trl" else 1)


def test_a_hand_stands_on_one_side(box: Place) -> None:
    """Plays of one hand are never both learned and held out."""
    sides = [
        {row["group"] for row in csv.DictReader(text.splitlines())}
        for text in ((box.export("csv") / f"{side}.csv").read_text("utf-8-sig") for side in SIDES)
    ]
    assert all(sides)
    assert not sides[0] & sides[1]


def test_a_system_text_says_what_the_answer_depends_on(talk: list[Any]) -> None:
    """The character, the time of a line for that time, and the mood of a message that has one."""
    texts = json.loads((DECKS / "harbour" / "training.json").read_bytes())
    systems = Counter(row["messages"][0]["content"] for row in talk)
    low = texts["mood"]["low"]
    said = json.loads((DECKS / "harbour" / "said.json").read_bytes())
    sad = {text for intent in ("sad", "tired") for text in said[intent]["said"]}
    for row in talk:
        system, asked, _ = (message["content"] for message in row["messages"])
        assert system.startswith("You are ")
        assert (low in system) == (asked in sad), asked
    assert sum(count for text, count in systems.items() if low in text) > 3


@pytest.fixture(scope="module", params=["harbour", pytest.param("chat", marks=pytest.mark.long)])
def augmented(request: pytest.FixtureRequest, box: Place) -> tuple[str, list[list[Any]]]:
    """A deck of characters, and its conversations with others under two circumstances, by side."""
    deck = str(request.param)
    out = box.export("conversations", "--augment", 2, deck=deck)
    assert checked(out) == sum(manifest(out)["rows"].values())
    both = [json.loads((out / f"{side}.json").read_bytes())["conversations"] for side in SIDES]
    assert manifest(out)["augmented"] == sum(
        "augmented" in row["metadata"] for rows in both for row in rows
    )
    return deck, both


def test_nothing_that_was_said_stands_on_both_sides(augmented: tuple[str, list[list[Any]]]) -> None:
    """No message, in no spelling that is read as the same, and no line is both learned and held out."""
    deck = load_character_deck(DECKS / augmented[0])

    def spelt(message: dict[str, str]) -> tuple[str, str]:
        text = message["content"]
        for character in deck.characters if message["role"] == "user" else ():
            text = spelling(text, character.called)
        return message["role"], text

    learned, held_out = (
        {spelt(message) for row in rows for message in row["messages"]} for rows in augmented[1]
    )
    assert len(held_out) > 30
    assert not learned & held_out


def test_lines_come_after_what_was_said_before(augmented: tuple[str, list[list[Any]]]) -> None:
    """Conversations have one to three exchanges; the character reads their answers as we meant them."""
    deck = load_character_deck(DECKS / augmented[0])
    rows = [row for side in augmented[1] for row in side if "augmented" not in row["metadata"]]
    exchanges = Counter(len(row["messages"]) // 2 for row in rows)
    assert set(exchanges) == {1, 2, 3}
    assert exchanges[2] > len(rows) / 10
    answered = recalled = 0
    for row in rows:
        character, pool, _ = row["metadata"]["id"].split("/")
        talk = deck.talks[character]
        mention = deck.character_by_id[character].mention
        said = [one["content"] for one in row["messages"]]
        topic, _, kind = pool.partition(".")
        if pool.startswith("recall_"):
            recalled += 1
            intent = frozenset(row["metadata"]["topics"][:1])
            heard = talk.hearing.text(said[0], mention)
            told = {what for what, _ in talk.hearing.told(heard, intent)}
            assert pool.removeprefix("recall_") in told
        elif kind and kind != "opener":
            answered += 1
            answer = talk.hearing.answers.to(
                talk.topics[topic], talk.hearing.text(said[-2], mention)
            )
            assert answer
            assert answer.kind == kind
            asking = {
                line.text.rpartition("}")[2]
                for name, lines in deck.lines[character].items()
                for line in lines
                if line.asks == topic or name == f"{topic}.opener"
            }
            assert any(said[-3].endswith(end) for end in asking)
    assert answered > 50
    assert recalled > 3


def test_answers_under_a_circumstance_carry_it(augmented: tuple[str, list[list[Any]]]) -> None:
    """The same messages with an emotion, a relationship or a memory get another line, which has it."""
    deck, sides = augmented
    listed = json.loads((DECKS / deck / "training.json").read_bytes())["scenarios"]
    names = {"emotions": "emotions", "relationships": "affection_level", "memories": "memories"}
    used: Counter[tuple[str, str]] = Counter()
    for rows in sides:
        first = {row["metadata"]["id"]: row for row in rows}
        for row in (row for row in rows if "augmented" in row["metadata"]):
            source = first[row["metadata"]["id"].partition("/augmented/")[0]]
            assert row["messages"][:-1] == source["messages"][:-1]
            assert row["messages"][-1] != source["messages"][-1]
            added = row["system"].removeprefix(source["system"])
            kind, name, circumstance = next(
                (kind, name, value)
                for kind in names
                for name, value in listed[kind].items()
                if isinstance(value, dict) and value["text"] == added
            )
            assert row["metadata"][names[kind]] in (name, [name])
            assert re.search(circumstance.get("says", ""), row["messages"][-1]["content"])
            used[kind, name] += 1
    assert {kind for kind, _ in used} == set(names)
    assert len(used) > 8
    assert max(used.values()) < sum(used.values()) / 2


FAULTS_OF_CIRCUMSTANCES = {
    "a pool that is not there": ({"text": "x", "lines": ["none"]}, "names of pools"),
    "another member": ({"text": "x", "say": "y"}, "'say' is none of text, lines, says, it"),
    "no text": ({"says": "y"}, "expected a text"),
    "no expression": ({"text": "x", "says": "("}, "says: "),
}


@pytest.mark.parametrize("fault", FAULTS_OF_CIRCUMSTANCES)
def test_faults_of_circumstances_name_them(tmp_path: Path, fault: str) -> None:
    """What training.json says wrongly of a circumstance is an error with its name."""
    value, said = FAULTS_OF_CIRCUMSTANCES[fault]
    texts = json.loads((DECKS / "harbour" / "training.json").read_bytes())
    texts["scenarios"]["emotions"]["happy"] = value
    write_json(tmp_path / "training.json", texts)
    deck = replace(load_character_deck(DECKS / "harbour"), folder=tmp_path)
    with pytest.raises(DeckError, match=f"emotions: happy: .*{re.escape(said)}"):
        circumstances(deck)


def test_whatever_stands_in_training_json_is_read_or_named(tmp_path: Path) -> None:
    """Changed and missing members: rows are made, or one sentence names the file and the member."""
    shutil.copytree(DECKS / "harbour", tmp_path, dirs_exist_ok=True)
    deck = replace(load_character_deck(DECKS / "harbour"), folder=tmp_path)
    whole = json.loads((tmp_path / "training.json").read_bytes())
    stored = StoredAnswers(Settings.read({"TSUKURIOKI_DATA": str(tmp_path / "data")}), deck.id)
    rng, faults = random.Random(17), list[str]()
    for _ in range(40):
        value = deepcopy(whole)
        for _ in range(rng.choice((1, 2))):
            container, key = rng.choice(list(places(value)))
            container[key] = deepcopy(rng.choice((*ODD, "(", "{name}")))
        (tmp_path / "training.json").write_text(json.dumps(value), "utf-8")
        try:
            rows = list(material_of(deck, RowOptions()).rows(stored, Counter()))
            list(augment(deck, rows, 1, 0, lambda group: "train"))
        except DeckError as error:
            faults.append(str(error))
    assert 5 < len(faults) < 40
    assert all("training.json" in fault and "\n" not in fault for fault in faults)


@pytest.mark.parametrize(("deck", "more"), [("poem", ()), ("harbour", ("--augment", 2))])
def test_the_same_seed_gives_the_same_files(
    box: Place, deck: str, more: tuple[object, ...]
) -> None:
    """An export can be made again byte for byte by another process; another seed splits otherwise."""
    first = manifest(box.export("openai", *more, deck=deck, PYTHONHASHSEED=1))["files"]
    assert manifest(box.export("openai", *more, deck=deck, PYTHONHASHSEED=2))["files"] == first
    assert manifest(box.export("openai", *more, "--seed", 1, deck=deck))["files"] != first


def test_what_a_row_says_is_what_the_game_asks(box: Place) -> None:
    """A poem's row has the phrases and 20 titles, one of them the answer's, and JSON as the answer."""
    deck = poem_deck()
    for row in lines(box.export("trl") / "validation.jsonl"):
        asked, answer = row["prompt"][1]["content"], json.loads(row["completion"][0]["content"])
        titles = asked.split("題の候補\n")[1].splitlines()
        assert len(titles) == 20
        assert answer["title"] in titles
        picked = {(pick["card"], pick["phrase"]) for pick in row["metadata"]["query"]["hand"]}
        assert all(deck.phrase_by_id[ids].text in asked for ids in picked)


def test_sources_that_may_not_be_trained_on_are_left_out(place: Place) -> None:
    """Answers of a service whose terms may forbid it, and composed ones, are left out and counted."""
    place.store(*poems(3, "gemini"), *poems(2, "composer"), *poems(4, "ollama"))
    told = manifest(place.export("openai"))
    assert told["sources"] == {"written": 999, "ollama": 4}
    assert {reason.split(":")[0]: n for reason, n in told["left_out"].items()} == {
        "source gemini": 3,
        "source composer": 2,
    }
    asked = manifest(place.export("openai", "--restricted", "--sources", "gemini,composer"))
    assert asked["sources"] == {"gemini": 3, "composer": 2}


def test_what_the_gate_refuses_is_left_out(place: Place) -> None:
    """Only what the deck's gate passes today is learned."""
    good, bad = poems(2)
    place.store(good, other(bad, {"title": "題にない題", "poem": bad.response["poem"]}))
    told = manifest(place.export("openai", "--sources", "ollama"))
    assert told["sources"] == {"ollama": 1}
    assert told["left_out"]["refused by the gate"] == 1


def test_preferences_come_from_votes_edits_and_refusals(place: Place) -> None:
    """Liked against disliked, edited against before, passed against refused: each is a pair."""
    liked, edited, refused = poems(3)
    worse = other(liked, turned(liked), variant=1)
    again = other(edited, turned(edited), source="edited")
    place.store(liked, worse, edited, again, refused)
    place.vote(liked, "up")
    place.vote(worse, "down")
    side = place.data / "store" / "poem.refused.jsonl"
    record = {
        "key": refused.key,
        "variant": 0,
        "refusals": ["length: 12 (limit: 180-240)"],
        "response": {"title": "短い", "poem": "短い詩。"},
    }
    side.write_text(json.dumps(record) + "\nno JSON\n", "utf-8")
    out = place.export("dpo", "--validation", 0)
    pairs = lines(out / "train.jsonl")
    why = {pair["metadata"]["because"]: pair for pair in pairs}
    assert set(why) == {"votes", "edited", "refused: length"}
    chosen = {name: json.loads(pair["chosen"][0]["content"]) for name, pair in why.items()}
    assert chosen["votes"] == liked.response
    assert chosen["edited"] == again.response
    assert chosen["refused: length"] == refused.response
    assert not check_file(out / "train.jsonl").findings


def test_a_judge_is_asked_in_both_orders_and_only_agreement_counts(place: Place) -> None:
    """A judge that always says A makes no pair; one that prefers a text makes it the chosen one."""
    first = poems(1)[0]
    second = other(first, {**first.response}, variant=1, source="written")
    around = turned(first)
    third = other(first, around, variant=2)
    place.store(first, second, third)
    with a_model(lambda _: '{"why": "the first", "winner": "A"}') as judge:
        done = place.run(
            "export", "--format", "dpo", "--out", place.data / "a", "--judge", "openai",
            "--sources", "ollama", OPENAI_BASE_URL=judge.url,
        )  # fmt: skip
        asked = len(judge.prompts)
    assert done.returncode == 2
    assert "nothing to export" in done.stderr
    assert asked == 2

    def prefers(prompt: str) -> str:
        turned_at = prompt.index(json.dumps(around["poem"], ensure_ascii=False))
        winner = "A" if turned_at < prompt.index("■ B") else "B"
        return json.dumps({"why": "turned", "winner": winner})

    with a_model(prefers) as judge:
        arguments = (
            "export", "--format", "kto", "--out", place.data / "b", "--validation", 0,
            "--judge", "openai", "--sources", "ollama",
        )  # fmt: skip
        done = place.run(*arguments, OPENAI_BASE_URL=judge.url)
        assert done.returncode == 0, done.stderr
        rows = lines(place.data / "b" / "train.jsonl")
        labels = {
            json.loads(row["completion"][0]["content"])["poem"] == around["poem"]: row["label"]
            for row in rows
        }
        assert labels == {True: True, False: False}
        asked = len(judge.prompts)
        # What was said is kept: nothing is asked for twice.
        assert place.run(*arguments, OPENAI_BASE_URL=judge.url).returncode == 0
        assert len(judge.prompts) == asked == 2


WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "no messages": (lambda row: row.pop("messages"), "messages"),
    "no content": (lambda row: row["messages"][1].pop("content"), "messages[1]"),
    "a number": (lambda row: row["messages"][1].update(content=3), "messages[1].content"),
    "an empty answer": (lambda row: row["messages"][2].update(content=" "), "messages[2].content"),
    "no such role": (lambda row: row["messages"][1].update(role="bot"), "messages[1].role"),
    "the system last": (lambda row: row["messages"].append(row["messages"][0]), "messages[3].role"),
    "nobody answers": (lambda row: row["messages"].pop(), "messages[1].role"),
    "two questions": (
        lambda row: row["messages"].insert(1, row["messages"][1]), "messages[2].role"
    ),
    "a rendered template": (
        lambda row: row["messages"][1].update(content="<|im_start|>user"), "messages[1].content"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def talk(box: Place) -> list[Any]:
    """The rows of a chat deck in which one message is answered."""
    rows = lines(box.export("openai", deck="harbour") / "train.jsonl")
    return [row for row in rows if len(row["messages"]) == 3]


@pytest.mark.parametrize("kind", WRONG)
def test_the_checker_names_line_and_field(box: Place, talk: list[Any], kind: str) -> None:
    """A fault in any line is named with its line and its field, by exit status 1."""
    harm, field = WRONG[kind]
    rows = json.loads(json.dumps(talk))
    number = random.Random(kind).randrange(1, len(rows))
    harm(rows[number])
    path = box.data / "harmed.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    done = box.run("export", "--check", path)
    assert done.returncode == 1
    assert f"line {number + 1}: {field}: " in done.stdout
    assert "Traceback" not in done.stderr


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of the values in a record that hold no others."""
    items: Iterable[Any] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        yield path
    for key, one in items:
        yield from leaves(one, (*path, key))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A store with two answers to each of three plays, of which players prefer one."""
    place = Place(tmp_path_factory.mktemp("judged"), {})
    for liked in poems(3):
        worse = other(liked, turned(liked), variant=1)
        place.store(liked, worse)
        place.vote(liked, "up")
        place.vote(worse, "down")
    return place


@pytest.mark.parametrize("form", [form for form in FORMS if form != "csv"])
def test_no_harm_in_any_form_is_missed(judged: Place, form: str) -> None:
    """Whatever value of a record is replaced by another type, its line and its field are named."""
    out = judged.export(form, "--validation", 0)
    files = [p for p in out.glob("train*.json*") if "metadata" not in p.name]
    assert files
    rng = random.Random(form)
    for path in files:
        lined = path.suffix == ".jsonl"
        value = lines(path) if lined else json.loads(path.read_bytes())
        records = value["conversations"] if isinstance(value, dict) else value
        # A few are as good as all, and quickly written.
        del records[40:]
        for _ in range(60):
            number = rng.randrange(len(records))
            before = json.dumps(records[number])
            place = rng.choice([p for p in leaves(records[number]) if p[0] != "metadata"])
            target = records[number]
            for step in place[:-1]:
                target = target[step]
            target[place[-1]] = rng.choice([7, None, [], {"a": 1}])
            harmed = judged.data / f"harmed{path.suffix}"
            text = "".join(json.dumps(r) + "\n" for r in records) if lined else json.dumps(value)
            harmed.write_text(text, "utf-8")
            found = check_file(harmed).findings
            where = f"{'line' if lined else 'item'} {number + 1}"
            fields = [finding.field for finding in found if finding.place == where]
            assert len(found) == len(fields), (path.name, place)
            assert any(field.startswith(str(place[0])) for field in fields), (path.name, place)
            records[number] = json.loads(before)


def test_the_checker_bears_anything(tmp_path: Path) -> None:
    """Whatever stands in a file, the checker says what is wrong and raises nothing."""
    rng = random.Random(7)
    values: list[Any] = [None, 1, "x", [], {}, [[]], [{"role": "user"}], {"role": 1, "content": 2}]
    members = ("messages", "prompt", "completion", "chosen", "rejected", "label", "conversations",
               "system", "metadata", "instruction", "input", "output", "history")  # fmt: skip
    path = tmp_path / "any.jsonl"
    for _ in range(300):
        rows = [
            {name: rng.choice(values) for name in rng.sample(members, rng.randint(0, 6))}
            if rng.random() < 0.9
            else rng.choice(values)
            for _ in range(4)
        ]
        path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
        with contextlib.suppress(PlanError):
            assert check_file(path).records <= len(rows)


MISUSES: dict[str, tuple[tuple[object, ...], str]] = {
    "nothing said": ((), "--format and --out"),
    "a judge of no preferences": (
        ("--format", "trl", "--out", "x", "--judge", "openai"), "--judge makes preferences"
    ),
    "a judge's option alone": (("--format", "dpo", "--out", "x", "--rpm", 3), "say --judge or --writer"),
    "a folder of somebody else's": (("--format", "trl", "--out", "data"), "not empty"),
    "no preferences": (("--format", "dpo", "--out", "{tmp}/x"), "votes, edits and refusals"),
    "scenarios of nobody": (("--format", "trl", "--out", "x", "--scenarios", 3), "say both"),
    "a writer of nothing": (("--format", "trl", "--out", "x", "--writer", "ollama"), "say both"),
    "circumstances of cards": (
        ("--format", "trl", "--out", "{tmp}/x", "--augment", 2), "'poem' has no characters"
    ),
    "no such deck": (("--format", "trl", "--out", "{tmp}/x", "--deck", "none"), "no deck 'none'"),
    "a file that is no data set": (("--check", "README.md"), "README.md"),
}  # fmt: skip


@pytest.mark.parametrize("misuse", MISUSES)
def test_every_wrong_use_of_export_is_one_line(place: Place, misuse: str) -> None:
    """What a person can correct ends with status 1 or 2 and a line that says what to do."""
    arguments, said = MISUSES[misuse]
    done = place.run("export", *(str(a).replace("{tmp}", str(place.data)) for a in arguments))
    assert done.returncode in (1, 2)
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_what_was_exported_before_is_replaced(place: Place) -> None:
    """The same folder can be written again in another form; files of the earlier one go."""
    out = place.export("trl", deck="harbour")
    done = place.run("export", "--deck", "harbour", "--format", "alpaca", "--out", out)
    assert done.returncode == 0
    assert {path.name for path in out.iterdir()} == {
        "train.json", "validation.json", "manifest.json",
    }  # fmt: skip


# Members of dataset_info.json by LLaMA-Factory's data/README.md, as far as text needs them.
DESCRIBED = {"file_name", "formatting", "ranking", "columns", "tags"}
COLUMNS = {
    "prompt",
    "query",
    "response",
    "history",
    "messages",
    "system",
    "chosen",
    "rejected",
    "kto_tag",
}
TAGS = {"role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag"}  # fmt: skip


@pytest.mark.parametrize("deck", ["poem", "harbour"])
def test_llamafactory_finds_what_its_documentation_describes(place: Place, deck: str) -> None:
    """dataset_info.json has known members only; its columns, tags and order of roles are the data's."""
    if deck == "poem":
        (liked,) = poems(1)
        worse = other(liked, turned(liked), variant=1)
        place.store(liked, worse)
        place.vote(liked, "up")
        place.vote(worse, "down")
    out = place.export("llamafactory", "--validation", 0, deck=deck)
    info = json.loads((out / "dataset_info.json").read_bytes())
    written = {path.name for path in out.iterdir()} - {"dataset_info.json", "manifest.json"}
    assert {one["file_name"] for one in info.values()} == written
    ranked = [one for one in info.values() if one.get("ranking")]
    assert len(ranked) == (deck == "poem")
    for one in info.values():
        assert set(one) <= DESCRIBED
        assert one["formatting"] == "sharegpt"
        columns, tags = one["columns"], one["tags"]
        assert set(columns) <= COLUMNS
        assert set(tags) <= TAGS
        role, content = tags["role_tag"], tags["content_tag"]
        sides = (tags["user_tag"], tags["assistant_tag"])
        for row in json.loads((out / one["file_name"]).read_bytes()):
            assert isinstance(row[columns["system"]], str)
            said = list(row[columns["messages"]])
            if one.get("ranking"):
                for name in ("chosen", "rejected"):
                    assert row[columns[name]][role] == tags["assistant_tag"]
                    assert row[columns[name]][content]
                said.append(row[columns["chosen"]])
            # The user in odd positions, the model in even ones, and the model last.
            assert [turn[role] for turn in said] == [sides[n % 2] for n in range(len(said))]
            assert len(said) % 2 == 0
            assert all(isinstance(turn[content], str) and turn[content] for turn in said)


@pytest.mark.parametrize("form", PAIRS)
def test_forms_of_preferences_need_some(box: Place, form: str) -> None:
    """Without votes, edits and refusals there are no preferences, and the sentence says so."""
    done = box.run("export", "--format", form, "--out", box.data / "none")
    assert done.returncode == 2
    assert "preferences come of votes" in done.stderr


@pytest.mark.long
def test_conversations_are_written_gated_and_kept(place: Place) -> None:
    """A model writes them by scenario; one with a line that the gate refuses is left out whole."""
    hers: dict[str, int] = {}

    def write(prompt: str) -> str:
        assert "場面：" in prompt
        if "牡丹" not in prompt:
            return '{"messages": []}'
        good = "おっはよー！起きれたの普通にえらくない？"
        last = "本日は晴天です。" if hers.setdefault(prompt, len(hers)) == 1 else good
        said = [
            ("user", "おはよー"),
            ("assistant", good),
            ("user", "おはよう！"),
            ("assistant", last),
        ]
        return json.dumps({"messages": [{"role": r, "content": c} for r, c in said]})

    arguments = (
        "export", "--deck", "chat", "--format", "conversations", "--out", place.data / "s",
        "--scenarios", 9, "--turns", 4, "--writer", "openai", "--sources", "openai",
    )  # fmt: skip
    with a_model(write) as model:
        refused = place.run(*arguments, OPENAI_BASE_URL=model.url)
        assert refused.returncode == 2
        assert "--restricted" in refused.stderr
        assert not model.prompts, "nothing is paid for that would be left out"
        done = place.run(*arguments, "--restricted", OPENAI_BASE_URL=model.url)
        assert done.returncode == 0, done.stderr
        asked = len(model.prompts)
        assert place.run(*arguments, "--restricted", OPENAI_BASE_URL=model.url).returncode == 0
    told = manifest(place.data / "s")
    # Three of nine are hers, of which one has a line out of voice.
    assert told["sources"] == {"openai": 2}
    assert told["left_out"]["conversations that were not written"] == 6
    assert sum("refused by the gate" in reason for reason in told["left_out"]) == 1
    assert asked < 9 * 5
    (record, *_) = json.loads((place.data / "s" / "train.json").read_bytes())["conversations"]
    assert {"affection_level", "topics", "emotions", "memories"} <= record["metadata"].keys()
    assert [m["role"] for m in record["messages"]] == ["user", "assistant"] * 2


def test_what_says_who_somebody_is_is_taken_out_and_listed() -> None:
    """Addresses, numbers, links, handles and names before an honorific; names of characters stay."""
    anonymise = Anonymiser({"牡丹"})
    text = (
        "田中さんと牡丹ちゃんへ。090-1234-5678 か a.b@example.jp、〒123-4567、@taro_x、"
        "https://example.jp/x、番号は123456、3時に"
    )
    assert anonymise(text, "row 1") == (
        "<name>さんと牡丹ちゃんへ。<phone> か <email>、<postcode>、<handle>、<link>、"
        "番号は<number>、3時に"
    )
    assert [one.kind for one in anonymise.replaced] == [
        "link", "email", "handle", "phone", "postcode", "number", "name",
    ]  # fmt: skip
    assert all(one.row == "row 1" and one.text in text for one in anonymise.replaced)
