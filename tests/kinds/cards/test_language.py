"""A deck's language is data: gate, template, prompts and near copies follow one table."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.errors import DeckError
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.proof import always_framed
from app.kinds.cards.template import FrameTemplate
from app.kinds.detection import declined, not_in
from app.kinds.language import ENGLISH, JAPANESE, LANGUAGES
from precompute.cook.near_copy import LIMIT, likeness, sketch
from precompute.decks.new import TEMPLATES, NewDeck, new_deck
from tests.making import DECKS, REPO, museum
from tests.making import MUSEUM_ANSWER as ANSWER
from tests.making import MUSEUM_FRAMES as FRAMES


def refused(deck: Deck, text: str) -> set[str]:
    """The checks that refuse a text as an answer to the first play."""
    query = next(deck.plays_of_hand([deck.cards[0], deck.cards[2], deck.cards[4]]))
    response = {"title": deck.titles[0], "poem": text}
    return {refusal.check for refusal in Gate.of(deck).refusals(query, response)}


SEVEN = "The bus is late. Is it? Yes! Dr. Who waits at 3.5 degrees. He said “no.” Rain fell… All is well."
GOOD = "\n\n".join(["The light is kind to old things, and the guard hums in the next room."] * 3)


def test_seven_short_english_sentences_are_seven() -> None:
    """A point within a figure ends no sentence; a quotation mark may follow the end of one."""
    sentences = ENGLISH.sentences(SEVEN.replace("Dr. Who", "The doctor"))
    assert len(sentences) == 7
    assert JAPANESE.sentences("朝。夜！\n昼？") == ["朝", "夜", "昼"]


def test_many_short_sentences_are_not_one_long_one(tmp_path: Path) -> None:
    """The gate of an English deck measures each sentence."""
    deck = museum(tmp_path / "museum", answer={**ANSWER, "sentence": 80})
    assert refused(deck, GOOD) == set()
    assert refused(deck, GOOD.replace(".\n", ",\n").replace("\n\n", " ")) >= {"sentence"}


def test_template_answers_of_an_english_deck_are_english(tmp_path: Path) -> None:
    """Sentences are parted by a space, phrases keep their stop, and all plays pass the gate."""
    deck = museum(tmp_path / "museum")
    template, gate, rng = FrameTemplate(deck), Gate.of(deck), random.Random(4)
    for _ in range(300):
        query = random_play(deck, rng)
        response = template.frame(query)
        assert response, template.why_not(query)
        quoted = tuple(phrase.text for phrase in deck.phrases(query))
        assert gate.examine(query, response, quoted) is None
        for paragraph in response["poem"].split("\n\n"):
            sentences = ENGLISH.sentences(paragraph)
            assert all(sentence[:1].isupper() for sentence in sentences), paragraph
            assert "!." not in paragraph
            assert ".." not in paragraph


def test_a_length_in_words_is_counted_in_words(tmp_path: Path) -> None:
    """The rule `words` replaces `characters`, in the gate and in the template tier."""
    deck = museum(tmp_path / "museum", answer={"words": [45, 70], "paragraphs": [2, 4]})
    template, rng = FrameTemplate(deck), random.Random(4)
    for _ in range(200):
        query = random_play(deck, rng)
        response = template.frame(query)
        assert response, template.why_not(query)
        assert 45 <= len(response["poem"].split()) <= 70
    assert refused(deck, "One two three.\n\nFour.") == {"length"}


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("We are The Best in town.", "forbidden"),
        ("Everybody cheers for the best.", "forbidden"),
        ("There is a bestiary and an asbestos roof.", ""),
        ("It is the Stuffed Owl.", "leak"),
        ("There are Owls in the attic.", "leak"),
        ("The owl’s eye looks back.", "leak"),
        ("She growls at the bowls.", ""),
        ("It has twelve holes.", "leak"),
        ("It has 12 holes.", "leak"),
        ("Das ist schön.", ""),
        ("朝が来る。", "script"),
        ("Утро в музее.", "script"),
        ("Word count: 200.", "echo"),
    ],
)
def test_words_are_whole_words_in_any_case(tmp_path: Path, text: str, check: str) -> None:
    """A word is found at the beginning of a sentence and in the plural, but not within another."""
    deck = museum(tmp_path / "museum", answer={**ANSWER, "forbidden": ["best"]})
    assert refused(deck, f"{GOOD} {text}") == ({check} if check else set())


DECLINING = {
    "en": ("I'm sorry, but I can't help with that.", "As an AI language model, I cannot write it."),
    "ja": (
        "申し訳ありませんが、その内容にはお答えできません。",
        "ご要望にお応えすることはできません。",
    ),
    "fr": ("Je suis désolé, mais je ne peux pas écrire ce texte.", "En tant qu’IA, je refuse."),
    "de": ("Es tut mir leid, aber ich kann das nicht schreiben.", "Als KI kann ich das nicht."),
    "es": ("Lo siento, no puedo ayudar con eso.", "Como modelo de lenguaje, no opino."),
    "ko": ("죄송하지만 그 요청은 도와드릴 수 없습니다.",),
    "zh": ("很抱歉，我无法提供这个内容。", "作为一个人工智能，我不能写。"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_model_that_declines_is_refused_by_name(tmp_path: Path, language: str) -> None:
    """In every language that we ship, and whatever the deck's is."""
    deck = museum(tmp_path / "museum", answer={**ANSWER, "script": "any"})
    for text in DECLINING[language]:
        assert "declined" in refused(deck, f"{text}\n\n{GOOD}"), text
        assert "declined" in refused(deck, f"{GOOD}\n\n{text}"), text


@pytest.mark.parametrize(
    "text",
    [
        "Sorry is what the robot says. I can hear it.",
        "He said: I am sorry, and I left.",
        "I cannot see the sea from here, and it does not matter.",
        "申し訳なさそうに、窓が開く。",
        "Je ne peux pas voir la mer.",
    ],
)
def test_a_text_that_only_sounds_like_it_passes(text: str) -> None:
    """To be sorry is allowed."""
    assert not declined(text)


@pytest.mark.parametrize(
    ("rest", "fault"),
    [
        ({"language": "xx"}, "language: expected one of ja, en, fr"),
        ({"language": 7}, "language: expected one of"),
        ({"answer": {"script": "latin"}}, "answer script: expected some of ja, en"),
        ({"answer": {"script": ["en", "klingon"]}}, "not klingon"),
        ({"answer": {"script": ["any", "en"]}}, "'any' stands alone"),
        ({"answer": {"script": []}}, "not none"),
        ({"answer": {"words": [3, 9], "characters": [3, 9]}}, "not in both"),
        ({"anser": {}}, "no such member: 'anser'; did you mean 'answer'?"),
        ({"answer": {"charcters": [3, 9]}}, "no such rule: 'charcters'; did you mean 'characters'"),
        ({"template": {"opening": ["x"]}}, "'opening'; did you mean 'openings'?"),
    ],
)
def test_what_is_unknown_is_an_error(tmp_path: Path, rest: dict[str, Any], fault: str) -> None:
    """An unknown language, script or member, with the nearest name where there is one."""
    with pytest.raises(DeckError, match=fault.replace("?", r"\?")):
        museum(tmp_path / "museum", **rest)


SHARED = ("en", "fr")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Deck]:
    """A new deck of cards in each of two languages of the same letters."""
    folder = tmp_path_factory.mktemp("shared")
    made = {language: new_deck(folder, NewDeck(language, language, 3)) for language in SHARED}
    return {language: deck for language, deck in made.items() if isinstance(deck, Deck)}


def framed(deck: Deck, count: int) -> Iterator[dict[str, str]]:
    """Answers to random plays, of the deck's own frames and phrases."""
    template, rng = FrameTemplate(deck), random.Random(4)
    for _ in range(count):
        response = template.frame(random_play(deck, rng))
        assert response
        yield response


@pytest.mark.parametrize("language", SHARED)
def test_an_answer_in_the_other_language_is_refused_by_name(
    shared: dict[str, Deck], language: str
) -> None:
    """Of 200 answers in French a deck in English keeps none, and the reverse; its own it keeps all."""
    (other,) = set(SHARED) - {language}
    deck = shared[language]
    gate, query = Gate.of(deck), random_play(deck, random.Random(4))

    def refused_by(response: dict[str, str]) -> set[str]:
        return {refusal.check for refusal in gate.refusals(query, response)}

    assert all("language" in refused_by(answer) for answer in framed(shared[other], 200))
    assert not any("language" in refused_by(answer) for answer in framed(deck, 200))
    both = replace(deck, rules=deck.rules._replace(script=SHARED))
    assert not any(
        refusal.check == "language"
        for answer in framed(shared[other], 20)
        for refusal in Gate.of(both).refusals(query, answer)
    )
    # A static edition need not judge what it frames, unless frames can add up to another language.
    frames = [text for texts in deck.template.values() for text in texts]
    strange = {"en": "Elle est dans les yeux.", "fr": "She is where they were."}
    assert always_framed(deck, frames)
    assert not always_framed(deck, [*frames, strange[language]])


def shipped(language: str) -> Iterator[str]:
    """All texts of ours in a language: decks, templates for decks, words of pages, documents."""
    files = sorted(TEMPLATES.glob(f"*/{language}/**/*.*"))
    files.append(REPO / f"app/kinds/cards/words/{language}.json")
    if language == "en":
        files += [*sorted((DECKS / "harbour").glob("*.json")), REPO / "README.md"]
        files += [path for path in sorted((REPO / "docs").glob("*.md")) if ".ja." not in path.name]
    for path in files:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            yield from texts_in(orjson.loads(text))
        else:
            yield from text.split("\n\n")
    for words in ("app/web/chat_words.json", "app/web/sentences.json"):
        yield from texts_in(orjson.loads((REPO / words).read_bytes())[language])


def texts_in(value: object) -> Iterator[str]:
    """Every text within a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts_in(item)


@pytest.mark.parametrize("language", SHARED)
def test_nothing_that_we_ship_is_taken_for_another_language(language: str) -> None:
    """No text of ours, from a word to a paragraph, is taken for one in another language."""
    found = list(shipped(language))
    assert len(found) > 1000
    assert [(text, words) for text in found if (words := not_in(text, (language,)))] == []


@pytest.mark.parametrize(
    ("text", "languages"),
    [
        ("She sings La Mer, and says c’est la vie to the moon.", ("en",)),
        ("La la la, la la la, la la la!", ("en",)),
        ("Elle chante « The Sound of Music » et s’en va dans la nuit.", ("fr",)),
        ("Le jazz, le rock, le blues : let it be, let it be.", ("fr",)),
        ("Grand Hôtel de la Plage", ("en",)),
        ("That is how we say it, and they do too.", ("fr", "en")),
        ("That is how we say it, and they do too.", ("ko",)),
        ("", ("fr",)),
    ],
)
def test_a_quotation_is_no_answer_in_another_language(
    text: str, languages: tuple[str, ...]
) -> None:
    """Names, refrains and a few foreign words pass; so does what any of several languages allows."""
    assert not not_in(text, languages)


def test_several_scripts_may_be_named(tmp_path: Path) -> None:
    """Letters of each of them pass, others do not."""
    deck = museum(tmp_path / "museum", answer={**ANSWER, "script": ["en", "ja"]})
    assert refused(deck, GOOD + " 朝が来る。") == set()
    assert refused(deck, GOOD + " 아침.") == {"script"}


def test_near_copies_of_english_are_found_by_words() -> None:
    """Two texts on the same things differ, a text with two words changed does not."""
    text = (
        "The owl looks past you. It has been promised a window since the fire. Beside it, a shoe "
        "remembers one dance and keeps the ticket. The guard nods at both, and counts the visitors "
        "twice, since nobody ever asked him to. At five he turns the key and wishes them good night."
    )
    other = (
        "A shoe keeps its ticket to one dance. The guard turns a key at five and asks nobody. The "
        "window was promised to an owl; it has looked past the fire ever since. Good night, say the "
        "visitors, counted twice, and both nod to you beside the door that remembers them."
    )
    changed = text.replace("promised", "denied").replace("twice", "once")
    assert likeness(sketch(text, ENGLISH), sketch(changed, ENGLISH)) > LIMIT
    assert likeness(sketch(text, ENGLISH), sketch(other, ENGLISH)) < LIMIT / 2


def test_a_deck_without_frames_has_no_template_tier(tmp_path: Path) -> None:
    """It does not frame its phrases in another deck's sentences."""
    from app.kinds.cards.tiers import build_ladder

    for template, tiers in ((FRAMES, ["template"]), ({}, [])):
        deck = museum(tmp_path / "museum", template=template)
        ladder = build_ladder(deck, ("template",), lambda: None, 1)
        assert [tier.name for tier in ladder.tiers] == tiers
