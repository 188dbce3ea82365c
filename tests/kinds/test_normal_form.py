"""The gates of both kinds judge a text as it reads, however its signs are encoded."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import islice

import pytest

from app.kinds.cards.gate import Gate
from app.kinds.chat.gate import TEXT, ChatGate
from tests.kit import chat_deck, poem_deck

POEM = Gate.of(poem_deck())
CHAT = ChatGate(chat_deck())
INVISIBLE = ("\ufffd", "\0", "\u200f", "\u202e", "\u2066", "\u2069", "\u061c", "\ud800", "\x1b")


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def refused(text: str) -> set[str]:
    return {refusal.check for refusal in POEM.examine_text(text)}


def lines() -> Iterator[tuple[str, str, str]]:
    """Vetted lines that the gate lets pass, one of each character and intent."""
    deck = CHAT.deck
    for character in deck.characters:
        for intent in deck.intents:
            query = deck.line_query(character.id, intent.id, "plain", "any")
            texts = (line.text for line in deck.lines[character.id][intent.id])
            good = next((text for text in texts if not CHAT.examine(query, {TEXT: text})), None)
            if good is not None:
                yield character.id, intent.id, good


def test_a_poem_is_refused_for_the_same_reasons_in_every_form() -> None:
    """でしょう and a forbidden word are found whether their marks are composed or not."""
    words = (*poem_deck().rules.forbidden, *poem_deck().rules.polite, "でしょう")
    for word in words:
        text = f"窓辺の朝に{word}。"
        assert refused(decomposed(text)) == refused(text)
    assert "polite" in refused(decomposed("よい朝になるでしょう。"))


def test_a_line_is_judged_the_same_in_every_form() -> None:
    """A vetted line passes decomposed; a word that is not hers is found decomposed, too."""
    for character, intent, text in islice(lines(), 0, None, 4):
        query = CHAT.deck.line_query(character, intent, "plain", "any")
        for changed in (text, f"{text}じゃん", f"{text}でしょう"):
            before = CHAT.refusals(query, {TEXT: changed})
            after = CHAT.refusals(query, {TEXT: decomposed(changed)})
            assert [r.check for r in before] == [r.check for r in after]


@pytest.mark.parametrize("sign", INVISIBLE)
def test_what_nobody_can_see_is_refused(sign: str) -> None:
    """NUL, U+FFFD, controls, halves of pairs and marks that turn the writing, in both kinds."""
    assert "printable" in refused(f"窓辺の{sign}朝。")
    character, intent, text = next(lines())
    query = CHAT.deck.line_query(character, intent, "plain", "any")
    found = {refusal.check for refusal in CHAT.refusals(query, {TEXT: f"{text}{sign}"})}
    assert "printable" in found
