"""A new chat deck and a new deck of prompts work at once, in every language, and are all data."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.errors import PlanError
from app.kinds.chat.care import Sign
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.gate import ChatGate
from app.kinds.chat.lines import ANY, FALLBACK, PLAIN
from app.kinds.decks import load_folder
from app.kinds.prompts.deck import PromptDeck
from app.kinds.tasks import Task
from app.providers import NamedModel
from app.settings import Settings
from app.web.chat import page_words
from precompute.cli import main
from precompute.cook.chat import LinesCooking, LinesWriter
from precompute.decks.new import CHAT, PROMPTS, TEMPLATES, NewDeck, languages, new_deck
from precompute.rehearse.talk import replies
from precompute.review.check import check_folder
from precompute.review.kinds import review_of
from tests.making import DECKS, PATIENCE, REPO, write_json

SETS = REPO / "tests" / "data" / "chat" / "new"
NAMES = {"en": "Pepper", "ja": "こはる", "fr": "Noé"}


def made(folder: Path, kind: str, language: str, name: str = "") -> Any:
    return new_deck(folder, NewDeck("mine", language, name=name or NAMES[language], kind=kind))


def said(deck: Any) -> list[str]:
    """What `check` says of a deck."""
    return [str(finding) for finding in (*review_of(deck).check(deck), *check_folder(deck))]


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("kind", [CHAT, PROMPTS])
def test_a_new_deck_has_no_fault(tmp_path: Path, kind: str, language: str) -> None:
    """`check` finds neither error nor warning; the name is that which was asked for."""
    deck = made(tmp_path, kind, language)
    assert said(deck) == []
    assert (deck.id, deck.name) == ("mine", NAMES[language])
    for path in (tmp_path / "mine").iterdir():
        assert "<<" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", [CHAT, PROMPTS])
@example(name="\ufa45")
@given(name=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8))
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_can_be_given(
    tmp_path_factory: pytest.TempPathFactory, kind: str, name: str
) -> None:
    """Quotation marks, backslashes, brackets and signs of expressions break no file; a character's name
    that breaks the rules of the lines in which it stands is refused, and nothing is made."""
    decks = tmp_path_factory.mktemp("decks")
    deck, told = None, ""
    try:
        deck = made(decks, kind, "en", name)
    except PlanError as error:
        told = str(error)
    if deck:
        assert deck.name == name
        assert not [fault for fault in said(deck) if fault.startswith("error")]
    else:
        assert kind == CHAT
        assert "what she is called stands in her lines" in told
        assert not list(decks.iterdir())


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("name", ["Wow!", "The Guide of the Small Museum of Things Nobody Wanted"])
def test_a_name_that_her_lines_cannot_have_is_refused(
    tmp_path: Path, language: str, name: str
) -> None:
    """A sign that her voice does not have, or a name too long for a line, says so in one sentence."""
    with pytest.raises(PlanError, match=r"^--title .*(voice|length).*shorter or plainer"):
        made(tmp_path, CHAT, language, name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [CHAT, PROMPTS])
def test_every_language_has_the_same_files_and_pools(kind: str) -> None:
    """What is there in English is there in each other language."""

    def shape(language: str) -> Mapping[str, object]:
        folder = TEMPLATES / kind / language
        files: dict[str, object] = {path.name: "" for path in folder.iterdir()}
        for name in ("lines.json", "said.json", "characters.json"):
            if (folder / name).exists():
                value = orjson.loads((folder / name).read_bytes())
                inner = next(iter(value.values())) if isinstance(value, dict) else value[0]
                files[name] = (sorted(value), sorted(inner)) if kind == CHAT else ""
        return files

    for language in languages():
        found, english = shape(language), shape("en")
        assert found.keys() == english.keys()
        assert str(found.get("lines.json")) == str(english.get("lines.json"))
        assert str(found.get("said.json")) == str(english.get("said.json"))


@pytest.mark.parametrize(("language", "box"), [("en", "harbour"), ("ja", "chat")])
def test_danger_is_read_as_the_decks_in_the_box_read_it(language: str, box: str) -> None:
    """The expressions are the same, so that what is mended in one is mended in the other."""

    def careful(folder: Path) -> list[object]:
        root = orjson.loads((folder / "intents.json").read_bytes())
        names = ("in_crisis", "in_doubt")
        found = [{**i, "cue": None} for i in root["intents"] if i["id"] in names]
        words = json.dumps(found, ensure_ascii=False)
        parts = {k: v for k, v in root["fragments"].items() if f"{{{{{k}}}}}" in words}
        return [*found, {k: v for k, v in parts.items() if k not in ("NAMES", "OPEN", "WHOM")}]

    assert careful(TEMPLATES / CHAT / language) == careful(DECKS / box)


def test_the_page_of_a_chat_has_every_word_in_every_language() -> None:
    """What the page asks for is there, also what somebody in danger reads."""
    asked = set(
        re.findall(r"\{\{ words\.(\w+) \}\}", (REPO / "app/templates/chat.html").read_text())
    )
    assert len(asked) >= 10
    for language in languages():
        assert asked <= page_words(language).keys()
        assert all(page_words(language).values())
    own = orjson.loads((REPO / "app/web/chat_words.json").read_bytes())
    assert {frozenset(words) for words in own.values()} == {frozenset(own["en"])}
    assert page_words("ko")["people"] == page_words("en")["people"]


def talk(deck: CharacterDeck, folder: Path, *messages: str) -> list[Any]:
    """A conversation."""
    known = Settings.read({"TSUKURIOKI_DATA": str(folder)})
    return list(replies(known, deck, None, "test", messages))


OTHER_DANGERS = frozenset({"violence", "other_in_danger"})


# Of the first set, of 60 messages each, how many grave ones may be missed, and others be taken for grave.
@pytest.mark.parametrize(("language", "missed", "taken"), [("fr", 0, 0), ("en", 0, 0)])
def test_danger_of_a_new_character(tmp_path: Path, language: str, missed: int, taken: int) -> None:
    """What a new character reads of messages that were written before the expressions were looked at.

    The other sets were written after the expressions, counted once and then used to mend them: what
    docs/your-own-deck.md says was counted before. All are by the writer of the expressions. What is
    asked about (`doubt`) is not missed.
    """
    deck = made(tmp_path, CHAT, language)
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for row in map(orjson.loads, (SETS / f"danger_{language}.jsonl").read_bytes().splitlines()):
        hits = [hit.intent for hit in deck.recognise(row["text"])]
        found = [intent for intent in hits if intent.careful]
        # Violence, and others who wish to die, have lines of their own.
        own = any(intent.id in OTHER_DANGERS for intent in hits)
        read = "grave" if any(i.grave for i in found) else "asked" if found else "passed"
        read = "other" if read == "passed" and own else read
        counts[row["set"]][f"{'grave' if row['grave'] else 'others'} {read}"] += 1
    for number, count in counts.items():
        told = ", ".join(f"{name} {times}" for name, times in sorted(count.items()))
        print(f"{language}, set {number}: {told}")  # noqa: T201
    assert counts[1]["grave passed"] <= missed
    assert counts[1]["others grave"] + counts[1]["others other"] <= taken
    assert counts[1].total() == 120


@pytest.mark.parametrize(("language", "missed"), [("en", 36), ("fr", 48)])
def test_what_is_said_otherwise_is_found_by_a_classifier(
    tmp_path: Path, language: str, missed: int
) -> None:
    """Of 300 messages left out of its learning most grave ones are noticed, and few of the treacherous others."""
    deck = made(tmp_path, CHAT, language)
    told: Counter[str] = Counter()
    for row in map(orjson.loads, (SETS / f"held_out_{language}.jsonl").read_bytes().splitlines()):
        seen = bool(deck.signs(row["text"]) & {Sign.GRAVE, Sign.DOUBT, Sign.UNEASY})
        told[f"{'grave' if row['grave'] else 'others'} {'noticed' if seen else 'passed'}"] += 1
    print(language, dict(told))  # noqa: T201
    assert told.total() == 300
    assert told["grave passed"] <= missed
    assert told["others noticed"] <= 30
    everyday = (SETS / f"everyday_{language}.jsonl").read_bytes().splitlines()
    signs = [deck.signs(orjson.loads(line)["text"]) for line in everyday]
    assert len(signs) == 180
    assert not any(found & {Sign.GRAVE, Sign.DOUBT} for found in signs)
    assert sum(Sign.UNEASY in found for found in signs) <= 9


def test_an_expression_with_branches_is_each_of_them(tmp_path: Path) -> None:
    """`{{HEAD}} a|b` is HEAD and a, or b alone, also beside others that begin with HEAD; in a group
    both have HEAD before them."""
    folder = made(tmp_path, CHAT, "en").folder
    root = orjson.loads((folder / "intents.json").read_bytes())
    root["fragments"]["HEAD"] = "zub"
    intent = next(intent for intent in root["intents"] if intent["id"] == "thanks")
    intent["expressions"] += ["{{HEAD}} (?:nix|[|]nox)", "{{HEAD}} wug|\\|?blick", "{{HEAD}} dax"]
    write_json(folder / "intents.json", root)
    deck = load_folder(folder)
    assert isinstance(deck, CharacterDeck)
    for text, wanted in {
        "zub wug": True, "blick": True, "zub nix": True, "zub dax": True, "zub |nox": True,
        "wug": False, "nix": False, "dax": False, "|nox": False,
    }.items():  # fmt: skip
        assert [hit.intent.id == "thanks" for hit in deck.recognise(text)] == [True] * wanted, text


# A question of each kind about a thing called "lamp".
ASKED = {
    "en": {"when": "when is the lamp lit?", "where": "where is the lamp?", "why": "why the lamp?"},
    "fr": {"when": "quand allumes-tu la lamp ?", "where": "où est la lamp ?", "why": "pourquoi la lamp ?"},
    "ja": {"when": "lampはいつ光るの？", "where": "lampはどこにあるの？", "why": "なぜlampなの？"},
}  # fmt: skip


@pytest.mark.parametrize("language", languages())
def test_each_question_about_a_thing_gets_its_line(tmp_path: Path, language: str) -> None:
    """In a new character, too, a thing is answered by when, where and why it is asked about."""
    folder = made(tmp_path, CHAT, language).folder
    (character,) = (c["id"] for c in orjson.loads((folder / "characters.json").read_bytes()))
    lines = orjson.loads((folder / "lines.json").read_bytes())[character]["fallback"]
    texts = dict(zip(("plain", "yes", *ASKED[language]), map(str, lines), strict=False))
    own = {kind: [text] for kind, text in texts.items()}
    write_json(
        folder / "things.json", {character: [{"id": "lamp", "words": ["lamp"], "lines": own}]}
    )
    deck = load_folder(folder)
    assert isinstance(deck, CharacterDeck)
    for kind, question in ASKED[language].items():
        assert talk(deck, tmp_path, question)[0].pools == (f"thing:lamp.{kind}",), question


def test_careful_lines_need_not_be_in_the_voice(tmp_path: Path) -> None:
    """Whatever a voice allows, `check` blames none of the lines for somebody in danger for it."""
    folder = made(tmp_path, CHAT, "en").folder
    characters = orjson.loads((folder / "characters.json").read_bytes())
    characters[0]["voice"]["allowed_endings"] = ["purr[.]$"]
    write_json(folder / "characters.json", characters)
    blamed = set(re.findall(r": mine (\w+): voice", "\n".join(said(load_folder(folder)))))
    assert "hello" in blamed
    assert not blamed & {"in_crisis", "in_doubt", "call", "near", "staying", "if_so", "relief"}


@pytest.mark.long
def test_intents_by_example_of_a_new_character_are_learned(tmp_path: Path) -> None:
    """`check` names the command until it has run, and again after a change; it needs no file that
    new-deck does not make, and an example of an unknown intent is one line."""
    pytest.importorskip("sklearn", reason="scikit-learn is missing: pip install '.[learn]'")
    folder = made(tmp_path, CHAT, "en").folder
    (character,) = (c["id"] for c in orjson.loads((folder / "characters.json").read_bytes()))
    assert learn(folder).startswith("Error: ")
    sea = {
        "id": "been_to_sea",
        "said": [f"{who} {went} to the {sea}" for who in ("i", "we") for went in ("went", "drove")
                 for sea in ("sea", "seaside", "beach", "shore", "coast")],
        "lines": {character: ["And how was the water?", "Salt on your shoes.", "Was it cold?"]},
    }  # fmt: skip
    path = folder / "intents" / "sea.json"
    write_json(path, {"intents": [sea]})
    (told,) = (finding for finding in said(load_folder(folder)) if "not read" in finding)
    assert f"python -m precompute.learn.classifier {folder}" in told
    assert "by_example.json: 122 examples" in learn(folder)
    deck = load_folder(folder)
    assert isinstance(deck, CharacterDeck)
    assert [hit.intent.id for hit in deck.recognise("we drove to the beach")] == ["been_to_sea"]
    assert said(deck) == []
    write_json(path, {"intents": [sea | {"said": [*sea["said"], "i swam in the sea"]}]})
    assert any("not read" in finding for finding in said(load_folder(folder)))
    (folder / "examples.jsonl").write_text('{"intent": "acknowledge", "say": "ok"}\n')
    assert "examples.jsonl: line 1: there is no intent 'acknowledge'" in learn(folder)


def learn(folder: Path) -> str:
    """The output of `python -m precompute.learn.classifier`, in which there is no traceback."""
    command = [sys.executable, "-m", "precompute.learn.classifier", str(folder)]
    done = subprocess.run(
        command, cwd=REPO, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == (2 if done.stderr else 0)
    return done.stdout + done.stderr


@pytest.mark.parametrize("language", languages())
def test_danger_is_answered_with_somebody_to_call(tmp_path: Path, language: str) -> None:
    """Each grave message of `said.json`, as the first of a conversation; and the character says what it is."""
    deck = made(tmp_path / "decks", CHAT, language)
    assert deck.care
    numbers = [c.contacts[0].number for c in deck.care.shown]
    messages = orjson.loads((deck.folder / "said.json").read_bytes())["in_crisis"]["said"]
    assert len(messages) >= 10
    for message in messages:
        answer = talk(deck, tmp_path, message)[0].text
        assert any(number in answer for number in numbers), message
        assert "AI" in answer or "IA" in answer


# A greeting, a question of fact, a question to her, a request, what nobody understands, who she is.
CONVERSATIONS = {
    "en": ["Hello Pepper", "What is the capital of Peru?", "Do you like rain?", "Can you wake me tomorrow?", "Glorp fnord.", "Are you a robot?"],
    "ja": ["こはるさん、こんにちは", "ペルーの首都は？", "雨は好き？", "明日の朝、起こしてくれる？", "ぐるぷ。", "AIなの？"],
    "fr": ["Bonjour Noé", "Quelle est la capitale du Pérou ?", "Vous aimez la pluie ?", "Pouvez-vous me réveiller demain ?", "Glorp fnord.", "Êtes-vous un robot ?"],
}  # fmt: skip
POOLS = ["hello", "fallback_question_fact", "fallback_question_her", "fallback_request", FALLBACK]


@pytest.mark.parametrize("language", languages())
def test_it_answers_and_holds_back(tmp_path: Path, language: str) -> None:
    """Greetings are answered; what it does not know it says that it does not know, by kind."""
    deck = made(tmp_path / "decks", CHAT, language)
    character = deck.characters[0]
    pools = deck.lines[character.id]
    answers = talk(deck, tmp_path, *CONVERSATIONS[language])
    for pool, reply in zip(POOLS, answers, strict=False):
        assert any(reply.text.startswith(line.text) for line in pools[pool]), (pool, reply.text)
    assert any(
        answers[-1].text == line.text
        for line in pools["who_are_you"]
        if NAMES[language] in line.text
    )
    honest = re.compile("AI|IA|program|software|logiciel|プログラム")
    assert all(honest.search(line.text) for line in pools["who_are_you"])


@pytest.mark.parametrize("language", languages())
def test_a_model_is_told_what_the_gate_will_refuse(tmp_path: Path, language: str) -> None:
    """The prompt for lines has the endings and words of the voice, of the deck and of the intent,
    whatever its author wrote; when they change, cooked lines are stale."""
    deck = made(tmp_path / "decks", CHAT, language)
    query = deck.line_query(deck.characters[0].id, "hello", PLAIN, ANY)
    before = LinesCooking(deck).subject_fingerprint(query)
    folder = tmp_path / "decks" / "mine"
    (character,) = orjson.loads((folder / "characters.json").read_bytes())
    voice = {"allowed_endings": ["[.?。]$", "ahoy$"], "forbidden": ["~{2}", r"\bzounds\b"]}
    write_json(folder / "characters.json", [{**character, "voice": voice}])
    root = orjson.loads((folder / "intents.json").read_bytes())
    for intent in root["intents"]:
        if intent["id"] == "hello":
            intent |= {"must": "hel+o|はろー", "must_not": "good ?bye"}
    write_json(folder / "intents.json", root)
    deck = load_folder(folder)
    assert isinstance(deck, CharacterDeck)
    prompt = LinesWriter(deck, NamedModel("gemini", "")).prompt([Task(query)])
    told = f"{prompt.fixed}\n{prompt.asked}"
    wanted = [*voice["allowed_endings"], *voice["forbidden"], "hel+o|はろー", "good ?bye"]
    assert [rule for rule in (*wanted, *deck.rules.echo) if rule not in told] == []
    assert LinesCooking(deck).subject_fingerprint(query) != before


@pytest.mark.parametrize("language", languages())
def test_a_persona_names_what_its_voice_forbids(tmp_path: Path, language: str) -> None:
    """A small model at the event knows the persona alone: it names each sign and word."""
    character = made(tmp_path / "decks", CHAT, language).characters[0]
    rules = " ".join(rule.pattern for rule in character.voice.forbidden)
    words = re.findall(r"(?<=[|:])[a-z]+(?=[|)])|(?<=\|)w(?=\$)", rules)
    signs = re.findall(r"[*#~♪♡]", re.sub(r"\.\*", "", rules))
    assert len(words) + len(signs) >= 3
    assert [one for one in (*words, *signs) if one not in character.persona] == []


# What a model may answer in the wrong language.
STRANGE = {
    "en": "Je suis là pour vous, et la lampe est allumée.",
    "fr": "I am here for you, and the lamp is lit.",
    "ja": "I am here for you, and the lamp is lit.",
}


@pytest.mark.parametrize("language", languages())
def test_a_line_in_another_language_is_refused(tmp_path: Path, language: str) -> None:
    """A character says nothing that a model wrote in another language, of the same letters or not."""
    gate = ChatGate(made(tmp_path / "decks", CHAT, language))
    character = gate.deck.characters[0]
    check = "script" if language == "ja" else "language"
    for free in (False, True):
        refusal = gate.judge(gate.spoken(STRANGE[language], character, free=free))
        assert refusal
        assert refusal.check == check
    # While it is written, a quotation may still be followed by words of her own.
    assert language == "ja" or not gate.judge_part(gate.spoken(STRANGE[language], character))


@pytest.mark.parametrize("language", languages())
def test_a_feeling_that_was_asked_for_is_answered(tmp_path: Path, language: str) -> None:
    """ "How are you?" comes back as a question, whose answer is read in its light."""
    deck = made(tmp_path / "decks", CHAT, language)
    pools = deck.lines["mine"]
    said = {
        "en": ("How are you?", "quite good, thanks"),
        "ja": ("元気ですか？", "楽しいです"),
        "fr": ("Ça va ?", "plutôt bien"),
    }[language]
    last = talk(deck, tmp_path, *said)[-1].text
    assert any(last.startswith(line.text) for line in pools["feel.good"]), last


@pytest.mark.parametrize("language", languages())
def test_new_prompts_are_a_matrix_and_a_request(tmp_path: Path, language: str) -> None:
    """Every value can be asked for by a client that writes in its own way, and none is a slot."""
    deck = made(tmp_path, PROMPTS, language)
    assert isinstance(deck, PromptDeck)
    assert deck.template
    assert deck.template.size == 36
    values = {name: options[-1] for name, options in deck.template.slots.items()}
    request = deck.template.filled(values)
    assert deck.template.read(request) == values
    assert "{" not in "".join(message.text for message in request.messages)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--kind", "cards", "--language", "en"], "a deck of cards needs --hand"),
        (["--kind", "chat", "--language", "en", "--hand", "3"], "--hand means nothing"),
        (["--kind", "prompts", "--language", "en", "--from", "."], "--from means nothing"),
        (["--kind", "poems", "--language", "en"], "'poems' is not one of"),
        (["--kind", "chat", "--language", "de"], "'de' is not one of"),
    ],
)
def test_what_a_kind_does_not_take_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    """One line, exit status 2, and no folder."""
    monkeypatch.setenv("TSUKURIOKI_DATA", str(tmp_path / "data"))
    assert main(["new-deck", "mine", *words]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "data" / "decks" / "mine").exists()
