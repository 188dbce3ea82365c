"""The learned part of reading: what it is learned from, what it may decide, and what it costs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.errors import DeckError
from app.kinds.chat.by_example import INTENTS_FOLDER
from app.kinds.chat.classifier import (
    BUCKETS,
    BY_EXAMPLE_FILE,
    CLASSIFIER_FILE,
    DANGER,
    NONE,
    Runs,
    load_classifier,
    packed,
    unpacked,
)
from app.kinds.chat.deck import CharacterDeck, load_character_deck
from app.kinds.chat.message import normalise
from app.kinds.chat.recognition import main_hit
from precompute.decks.new import TEMPLATES
from precompute.learn import classifier as learning
from tests.kinds.chat import kit
from tests.kinds.chat.test_reading import utterances
from tests.making import REPO

LIMITS = {
    "sure": 0.0,
    "lead": 1.0,
    "contradicts": 1.0,
    "danger": 0.0,
    "certain": 1.0,
    "grave": 0.0,
    "harmless": -3.0,
}


def main_of(deck: CharacterDeck, text: str) -> tuple[str | None, bool]:
    """The main intent of a message, and whether the classifier found it."""
    hit = main_hit(deck.recognise(text))
    return (hit.intent.id, hit.learned) if hit else (None, False)


def test_the_classifier_belongs_to_the_examples(deck: CharacterDeck) -> None:
    """Who changes an example learns the classifier again, with the command that docs/chat.md names."""
    tones = deck.talks["botan"].tones
    for classifier in (deck.reader.classifier, deck.reader.by_example, tones):
        assert classifier
        assert classifier.examples == learning.checksum(kit.DECK)


def test_what_is_likely_needs_less() -> None:
    """A class that is likely is found with a lower score, and takes the place of another that is as good."""
    learned = unpacked(
        packed(
            ["glad", "low", "none"],
            [-0.4, -0.5, -3.0],
            [{0: 1.0}, {}, {}],
            {**LIMITS, "lead": 0.0, "clear": 1.0},
            Runs((), (1,)),
            "",
        )
    )
    assert learned.best("x") is None
    assert learned.best("x", likely={"low"}) == ("low", False)
    assert learned.best("x", likely={"glad", "low"}) == ("glad", False)


def test_every_tone_has_examples_and_lines(deck: CharacterDeck) -> None:
    """Of each tone there are 150 messages at least, and each character has eight lines for it."""
    tones = deck.talks["botan"].tones
    assert tones
    rows = learning.tones(kit.DECK)
    for tone in set(tones.classes) - {"none"}:
        assert sum(row.name == tone and row.written for row in rows) >= 150, tone
        for character in deck.characters:
            assert len(deck.lines[character.id][f"tone_{tone}"]) >= 8, (character.id, tone)


def test_there_are_thousands_of_examples(deck: CharacterDeck) -> None:
    """Every intent that an expression can miss has 200 examples at least, all together 15,000."""
    rows = learning.examples(kit.DECK)
    assert len(rows) >= 15_000
    assert len({row.text for row in rows}) >= 15_000
    by_example = {intent.id for intent in deck.intents if intent.narrow}
    broad = [intent for intent in deck.intents if intent.id not in by_example]
    small_talk = {intent.id for intent in broad if not (intent.careful or intent.aside)}
    for name in small_talk:
        assert sum(row.name == name for row in rows) >= 100, name


def test_alone_it_reads_most_of_what_it_has_not_seen(deck: CharacterDeck) -> None:
    """Without expressions, four in five of the held-out messages are read right, and none in thirty wrong."""
    assert deck.reader.classifier
    rows = utterances("utterances.held_out.jsonl")
    found = [(wanted, deck.reader.classifier.guess(normalise(text))) for text, wanted in rows]
    right = sum(wanted == guess for wanted, guess in found)
    wrong = sum(guess not in (wanted, None) for wanted, guess in found)
    print(f"\nclassifier alone, held out: {right} of {len(rows)} right, {wrong} wrong")
    assert right >= 0.8 * len(rows)
    assert wrong <= len(rows) / 30


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("うん今日ほんと眠い", "sleepy"),
        ("え待ってお腹すいた", "hungry"),
        ("ごめん寝る", "goodnight"),
        ("ごめん昨日寝落ちした w", "sorry"),
        ("うん、ありがとう笑", "thanks"),
        ("それな、学校だるい", "school_moan"),
        ("えっ、AIなの？", "are_you_ai"),
        ("はい、疲れましたw", "tired"),
        ("うんうん", "backchannel"),
        ("りょ", "acknowledge"),
        ("ほんとそれｗ", "opinion_agree"),
        ("え、まじ？", "surprise"),
        ("草", "laugh"),
        ("ごめんね", "sorry"),
    ],
)
def test_content_decides(deck: CharacterDeck, text: str, intent: str) -> None:
    """An interjection, a backchannel or laughter is answered only if the message says nothing else."""
    assert main_of(deck, text)[0] == intent


@pytest.mark.parametrize(
    "aside", ["うん", "え、", "えっ", "ごめん、", "www ", "それな、", "へえ、", "ねえ", "あ、"]
)
@pytest.mark.parametrize(
    "content", ["財布が見当たらない", "切手の裏に地図が印刷してある", "カーテンを緑に変えた"]
)
def test_an_aside_changes_nothing_of_the_content(
    deck: CharacterDeck, aside: str, content: str
) -> None:
    """Content is read as if it stood alone, and where it is not understood the aside is not answered."""
    alone = main_of(deck, content)[0]
    for text in (f"{aside}{content}", f"{aside}{content}w", f"{aside}{content}笑"):
        assert main_of(deck, text)[0] == alone, text


def test_expressions_win(deck: CharacterDeck) -> None:
    """What an expression finds in the deck's own examples is never replaced by the classifier's guess."""
    said = json.loads((kit.DECK / "said.json").read_text())
    texts = [text for intent in said.values() for text in intent["said"]]
    by_rules = sum(not main_of(deck, text)[1] for text in texts)
    assert by_rules >= 0.97 * len(texts)


def test_a_deck_without_a_classifier_is_read_by_expressions(tmp_path: Path) -> None:
    """The classifier is data of a deck that may be missing."""
    without = shutil.ignore_patterns(CLASSIFIER_FILE)
    folder = shutil.copytree(kit.ENGLISH, tmp_path / "harbour", ignore=without)
    deck = load_character_deck(folder)
    assert deck.reader.classifier is None
    assert main_hit(deck.recognise("Well, I am so tired today"))


def test_packing_keeps_what_was_learned() -> None:
    """Weights come back within their 8 bits, and a run that no example had weighs nothing."""
    weights = [{1: 2.0, 7: -4.0}, {7: 1.0, BUCKETS - 1: 0.5}]
    model = unpacked(packed(["a", "b"], [0.5, -1.0], weights, LIMITS, Runs(), "x"))
    assert model.classes == ("a", "b")
    text = "今日"
    assert model.scores(text) == pytest.approx([0.5, -1.0], abs=4.1)
    assert model.scores("") == pytest.approx([0.5, -1.0], abs=4.1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cells": "AAAA"}, "learn it again"),
        ({"cells": 1}, "learn it again"),
        ({"classes": ["weather"], "bias": [0.0]}, "weather"),
        ({"bias": []}, "learn it again"),
        ({"limits": {}}, "learn it again"),
        ({"runs": [[10**18], []]}, "a run has 1 to 16 characters"),
        ({"runs": [[1, 2], [0]]}, "a run has 1 to 16 characters"),
    ],
)
def test_a_damaged_classifier_is_refused(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    """An error names the file and says what to do."""
    content = packed(["hello"], [0.0], [{3: 1.0}], LIMITS, Runs(), "x")
    (tmp_path / CLASSIFIER_FILE).write_text(json.dumps({**content, **change}))
    with pytest.raises(DeckError) as caught:
        load_classifier(tmp_path, CLASSIFIER_FILE, {"hello"})
    assert CLASSIFIER_FILE in str(caught.value)
    assert told in str(caught.value)


def test_it_is_small(deck: CharacterDeck) -> None:
    """The files have less than 400 KB and 1.3 MB; in memory they have less than 1.2 MB and 4 MB."""
    limits = [
        (CLASSIFIER_FILE, deck.reader.classifier, 400_000, 1_200_000),
        (BY_EXAMPLE_FILE, deck.reader.by_example, 1_300_000, 4_000_000),
    ]
    for name, classifier, on_disk, in_memory in limits:
        assert (kit.DECK / name).stat().st_size < on_disk
        assert classifier
        assert classifier.memory < in_memory


def test_weights_in_lanes_are_the_same_weights() -> None:
    """A run that many classes have is added up as one number; the scores are those of each weight."""
    bucket = min(Runs().buckets("今日"))
    weights = [{bucket: number - 150.5} for number in range(300)]
    names = [f"class {number}" for number in range(300)]
    model = unpacked(packed(names, [0.0] * 300, weights, LIMITS, Runs(), "x"))
    for number in (0, 75, 150, 299):
        one = unpacked(packed(["one"], [0.0], [weights[number]], LIMITS, Runs(), "x"))
        for text in ("今日", "今日は", "あ", ""):
            assert one.scores(text)[0] == pytest.approx(model.scores(text)[number], abs=1.3)


def test_an_intent_by_example_is_found_in_other_words(deck: CharacterDeck) -> None:
    """Of messages that no example has, most are read as the narrow intent that they mean."""
    wanted = {
        "お昼は社食でカツカレー食べてきた": "lunch_eaten",
        "部長に企画書のことで怒られたんだけど": "boss_scolded",
        "明日英語の小テストあるんだよね": "test_tomorrow",
        "うちの柴犬が布団に入ってくる": "pet_cute",
        "彼氏にLINE既読無視されてる": "left_on_read",
        "終電逃したわ": "missed_last_train",
        "今日はどんな服着てるの？": "her_wearing_q",
    }
    read = [main_of(deck, text)[0] == intent for text, intent in wanted.items()]
    assert sum(read) >= 6


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": "morning"}, "stands in intents too"),
        ({"sayd": []}, "said"),
        ({"said": "one"}, "said"),
        ({"lines": {"nobody": ["こんにちは！"]}}, "nobody"),
        ({"lines": {"botan": []}}, "needs a line"),
        ({"lines": []}, "lines"),
    ],
)
def test_a_faulty_intent_by_example_is_refused(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    """An error names the file, the intent, and what is wrong."""
    folder = tmp_path / "deck"
    shutil.copytree(
        kit.DECK, folder, ignore=shutil.ignore_patterns(INTENTS_FOLDER, BY_EXAMPLE_FILE)
    )
    (folder / INTENTS_FOLDER).mkdir()
    intent = {"id": "new", "name": "new", "said": ["a"], "lines": {"botan": ["いいね！"]}}
    content = {"blocks": {}, "intents": [{**intent, **change}]}
    (folder / INTENTS_FOLDER / "some.json").write_text(json.dumps(content))
    with pytest.raises(DeckError) as caught:
        load_character_deck(folder)
    assert told in str(caught.value)


def test_a_file_of_intents_is_read_as_a_whole(tmp_path: Path) -> None:
    """A member that a file of the folder does not have is told."""
    folder = tmp_path / "deck"
    shutil.copytree(kit.DECK, folder, ignore=shutil.ignore_patterns(BY_EXAMPLE_FILE))
    (folder / INTENTS_FOLDER / "some.json").write_text('{"more": [], "intents": []}')
    with pytest.raises(DeckError) as caught:
        load_character_deck(folder)
    assert "some.json: no such member: 'more'" in str(caught.value)


@pytest.mark.long
def test_the_command_makes_it_again(
    tmp_path: Path, deck: CharacterDeck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Learning again gives classes that score 99 of 100 examples as those in the deck do.

    Each class is learned by itself, against all messages of others: some show that all are.
    """
    kept = deck.reader.classifier
    assert kept
    few = {DANGER, *kept.classes[::8]} - {NONE}
    every = [
        row if row.name in {*few, learning.HARMLESS} else row._replace(name=NONE)
        for row in learning.examples(kit.DECK)
    ]
    monkeypatch.setattr(learning, "examples", lambda _folder: every)
    some = [NONE, *(intent.id for intent in deck.intents if intent.narrow)][:20]
    rows = [row for row in learning.narrow(kit.DECK) if row.name in some]
    monkeypatch.setattr(learning, "narrow", lambda _folder: rows)
    folder = tmp_path / "deck"
    shutil.copytree(kit.DECK, folder)
    (folder / CLASSIFIER_FILE).unlink()
    result = CliRunner().invoke(learning.main, [str(folder)])
    assert result.exit_code == 0, result.output
    assert f"{BY_EXAMPLE_FILE}: {len(rows):,} examples, {len(some)} classes" in result.output
    again = load_character_deck(folder).reader.classifier
    assert again
    assert set(again.classes) == {NONE, *few}
    texts = [normalise(row.text) for row in every[::20]]
    pairs = [(again.classes.index(name), kept.classes.index(name)) for name in few]
    same = [
        (again.scores(text)[new] > 0) == (kept.scores(text)[old] > 0)
        for text in texts
        for new, old in pairs
    ]
    assert sum(same) >= 0.99 * len(same)


@pytest.mark.long
@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_command_makes_the_classifiers_of_danger_again(tmp_path: Path, language: str) -> None:
    """`--danger` gives a classifier that finds danger as the one of new characters does, and needs --also only there."""
    folder = TEMPLATES / "chat" / language
    of = kit.ENGLISH if language == "en" else folder
    also = REPO / "data" / "danger" / f"{language}.jsonl"
    arguments = [str(of), "--also", str(also)]
    result = CliRunner().invoke(learning.main, arguments)
    assert result.exit_code == 2
    assert "--also goes with --danger" in result.output
    result = CliRunner().invoke(
        learning.main, [*arguments, "--danger", str(tmp_path / "made.json")]
    )
    assert result.exit_code == 0, result.output
    again = unpacked(json.loads((tmp_path / "made.json").read_text()))
    kept = unpacked(json.loads((folder / CLASSIFIER_FILE).read_text()))
    texts = [normalise(json.loads(line)["text"]) for line in also.read_text().splitlines()]
    same = sum((again.danger_of(text) > 0) == (kept.danger_of(text) > 0) for text in texts)
    assert same >= 0.99 * len(texts)
