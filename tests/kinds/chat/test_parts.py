"""The parts below the routes: rotation, shared tables, rate limit, breaker, tally, gate, decks."""

from __future__ import annotations

import datetime
import errno
import itertools
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DeckError, SettingError
from app.kinds.chat import rotation
from app.kinds.chat.deck import CharacterDeck, load_character_deck
from app.kinds.chat.gate import ChatGate
from app.kinds.chat.retelling import REPEATING
from app.kinds.chat.things import THING
from app.providers.guards import Breaker
from app.providers.prices import load_prices
from app.store.lock import FileLock
from tests.kinds.chat import kit


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(2, 20), st.text(max_size=5))
def test_all_lines_before_any_repeats(count: int, seed: str) -> None:
    """Each round has every line once, no line comes twice in a row, the same seed gives the same."""
    rounds = []
    for _ in range(2):
        state = bytearray(rotation.SIZE)
        rounds.append(
            [rotation.next_line(state, count, range(count), seed) for _ in range(4 * count)]
        )
    given_lines = rounds[0]
    assert rounds[0] == rounds[1]
    assert all(a != b for a, b in itertools.pairwise(given_lines))
    for start in range(0, 4 * count, count):
        assert sorted(given_lines[start : start + count]) == list(range(count))


@given(st.lists(st.sets(st.integers(0, 9), min_size=1), min_size=1, max_size=40))
def test_lines_that_come_and_go(fitting: list[set[int]]) -> None:
    """Whatever fits at the moment, a line that fits is said, and never one twice in a row in vain."""
    state = bytearray(rotation.SIZE)
    last = -1
    for now in fitting:
        line = rotation.next_line(state, 10, sorted(now), "s")
        assert line in now
        assert line != last or len(now) == 1
        last = line


def test_a_breaker_rests_and_tries_again() -> None:
    """After so many failures in a row it rests; then one try decides."""
    clock = Clock()
    breaker = Breaker(2, 30, clock)
    breaker.failed()
    breaker.worked()
    breaker.failed()
    assert not breaker.open
    breaker.failed()
    assert breaker.open
    clock.now += 31
    assert not breaker.open
    breaker.failed()
    assert breaker.open


def test_one_at_a_time_over_workers(tmp_path: Path) -> None:
    """Two who share a file do not hold the place at once."""
    one, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert one.take()
    assert not one.take()
    assert not other.take()
    one.give()
    assert other.take()
    other.give()


def test_a_file_system_without_locks_excludes_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system refuses to lock a file, the threads of a worker still take turns."""

    def refuse(*words: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("app.store.lock.fcntl.flock", refuse)
    lock = FileLock(tmp_path / "lock")
    for _ in range(2):
        assert lock.take()
        assert not lock.take()
        lock.give()


def test_prices_are_of_a_day(tmp_path: Path) -> None:
    """A price holds until its day; a table that is none is an error that names the file."""
    prices = load_prices()
    before, after = (
        prices.price("gemini", "gemini-3.8-flash", day) for day in ("2026-12-31", "2027-01-01")
    )
    assert before
    assert after
    assert (before.input, after.input) == (0.75, 1.50)
    assert prices.price("gemini", "nobody", "2026-11-21") is None
    (tmp_path / "p").write_text("[]")
    with pytest.raises(SettingError):
        load_prices(tmp_path / "p")


def test_every_vetted_line_passes_the_deck(deck: CharacterDeck, english: CharacterDeck) -> None:
    """At least eight lines for each character and intent, three for others (two of what is said before them), in voice, none twice.

    Four for each intent by example, of which there are ten times as many.
    """
    for of in (deck, english):
        gate = ChatGate(of)
        broad = {intent.id for intent in of.intents if not intent.narrow}
        texts = [line.text for _, _, line in of.all_lines()]
        assert len(texts) == len(set(texts))
        for character, intent, line in of.all_lines():
            assert list(gate.vetted(character, line.text)) == [], (intent, line.text)
            fewest = (
                8
                if intent in broad
                else 4
                if intent in of.intent_by_id
                else 1
                if intent.startswith(THING)
                else 2
                if intent.startswith(REPEATING)
                else 3
            )
            assert len(of.lines[character.id][intent]) >= fewest, intent
    assert len(deck.intents) >= 12


def test_the_gate_lets_vetted_lines_through(deck: CharacterDeck) -> None:
    """A gate that refuses what people have vetted is too strict: hardly any is, had a model said it."""
    gate = ChatGate(deck)
    refused = []
    said = 0
    for character, intent, line in deck.all_lines():
        # Narrow intents tell the time themselves: 「朝ごはん食べた」 is said in the morning.
        if intent not in deck.intent_by_id or deck.intent_by_id[intent].narrow:
            continue
        said += 1
        time = (line.when.get("time") or ("any",))[0]
        facts = {"intents": (deck.intent_by_id[intent],), "time": time}
        refusal = gate.judge(gate.spoken(line.text, character, **facts))
        if refusal:
            refused.append((line.text, str(refusal)))
    print(f"\nrefused {len(refused)} of {said}")
    assert len(refused) <= 0.03 * said


@pytest.mark.parametrize(
    ("text", "facts", "check"),
    [
        ("おやすみ！いい夢見てね！", {"said": "おはよう", "time": "morning"}, "greeting"),
        ("今夜もおつかれ、ゆっくりしな！", {"time": "morning"}, "time"),
        ("グミ食べたいし爪も塗りたいよね！", {"original": "今日の宿題、終わった？"}, "meaning"),
        ("やっほ！元気そうじゃん！", {"intents": ("morning",), "said": "やっほ"}, "intent"),
        ("宇宙のはてには何があるのかな！", {"said": "宇宙のはてには何があるの"}, "echo"),
        ("うん！" * 40, {}, "length"),
        ("이건 한국어야!", {}, "script"),
        ("春夏秋冬、花鳥風月！", {}, "script"),
        ("「うん、いいよ！」", {}, "brackets"),
        ("{user}、おはよ！", {}, "brackets"),
    ],
)
def test_each_fault_has_its_check(
    deck: CharacterDeck, text: str, facts: dict[str, object], check: str
) -> None:
    """A line with one fault is refused by the check of that name."""
    gate = ChatGate(deck)
    if "intents" in facts:
        names = facts["intents"]
        assert isinstance(names, tuple)
        facts = {**facts, "intents": tuple(deck.intent_by_id[name] for name in names)}
    refusal = gate.judge(gate.spoken(text, deck.character_by_id["botan"], **facts))
    assert refusal
    assert refusal.check == check


def test_a_line_goes_by_the_clock(deck: CharacterDeck) -> None:
    """Time of day, weekday and season are those of the server's place."""
    late = deck.moment(datetime.datetime(2026, 12, 20, 23, 30, tzinfo=datetime.UTC))
    assert (late.time, late.weekday, late.season) == ("late", "sun", "winter")
    noon = deck.moment(datetime.datetime(2026, 7, 3, 12, 0, tzinfo=datetime.UTC))
    assert (noon.time, noon.weekday, noon.season) == ("noon", "fri", "summer")


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("intents.json", ("{{OPEN}}", "{{NOTHING}}"), "NOTHING"),
        ("intents.json", ('"@quoted"', '"@nothing"'), "nothing"),
        ("lines.json", ('"season": "winter"', '"season": "monsoon"'), "monsoon"),
        ("lines.json", ('"fallback"', '"fallbock"'), "fallbock"),
        ("deck.json", ('"kept"', '"keptt"'), "keptt"),
        ("intents.json", ('"TAIL": "(?:です', '"TAIL": "(?:(?:です'), "not an expression"),
        ("intents.json", ('"TAIL": "(?:です', '"TAIL": "(?!で.す)(?:です'), "plain texts"),
        ("intents.json", ('"TAIL": "(?:です', '"TAIL": "(?:で(.)\\\\1す'), "not an expression"),
        ("intents.json", ('"TAIL": "(?:です', f'"TAIL": "(?:{"で" * 30_000}'), "20,000 at most"),
        ("characters.json", ('"persona"', '"persone"'), "persona"),
    ],
)
def test_a_wrong_deck_is_blamed_by_file_and_place(
    tmp_path: Path, file: str, change: tuple[str, str], told: str
) -> None:
    """An error names the file and what is wrong in it."""
    folder = tmp_path / "deck"
    shutil.copytree(kit.DECK, folder)
    text = (folder / file).read_text()
    assert change[0] in text
    (folder / file).write_text(text.replace(*change, 1))
    with pytest.raises(DeckError) as caught:
        load_character_deck(folder)
    assert file in str(caught.value)
    assert told in str(caught.value)


def test_characters_can_be_told_by_their_lines(deck: CharacterDeck) -> None:
    """No character's vetted line would pass for another's: the voices do not overlap much."""
    gate = ChatGate(deck)
    passing = 0
    lines = [(c, line) for c, _, line in deck.all_lines()]
    for character, line in lines:
        for other in deck.characters:
            passing += other is not character and not list(gate.vetted(other, line.text))
    print(f"\n{passing} of {2 * len(lines)} lines would pass as another's")
    assert passing <= 0.1 * 2 * len(lines)


def test_the_deck_is_plain_json() -> None:
    """The deck in the box is read by any reader of JSON."""
    for path in (*kit.DECK.glob("*.json"), *kit.ENGLISH.glob("*.json")):
        json.loads(path.read_text())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ふくって誰がつけたの?", True),
        ("ねえ、ふくは元気?", True),
        ("ふくちゃん元気?", True),
        ("なんか安くて腹ふくれるもんない?", False),
        ("ふくろうって見たことある?", False),
        ("おふくろの味ってなに?", False),
    ],
)
def test_a_thing_in_hiragana_is_no_part_of_a_word(
    deck: CharacterDeck, text: str, named: bool
) -> None:
    """The kettle Fuku is asked about by its name, and not by words that have it in them."""
    things = deck.talks["kasho"].things.named(text)
    assert ("fuku" in [thing.id for thing in things]) == named
