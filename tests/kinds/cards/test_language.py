"""A deck's language is data: gate, template, prompts and near copies follow one table."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from app.errors import DeckError
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.template import FrameTemplate
from app.kinds.language import ENGLISH, JAPANESE, LANGUAGES, declined
from precompute.cook.near_copy import LIMIT, likeness, sketch
from tests.making import MUSEUM_ANSWER as ANSWER
from tests.making import MUSEUM_FRAMES as FRAMES
from tests.making import museum


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
