"""Searching many texts at once finds what searching each of them finds."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from app.kinds.cards.texts import CONTENT_WORD, Texts

SIGNS = st.text("街窓灯の、。ァ\0", max_size=8)


@given(st.lists(SIGNS), st.lists(st.text("街窓灯のァ", max_size=3)))
def test_a_word_is_found_in_the_texts_that_hold_it(texts: list[str], words: list[str]) -> None:
    """Whatever is looked for, the texts found are those that hold one of the words."""
    held = {text for text in texts if any(word and word in text for word in words)}
    assert Texts(texts).holding(words) == held


@given(st.lists(SIGNS))
def test_a_pattern_finds_in_each_text_what_it_finds_in_it_alone(texts: list[str]) -> None:
    """What is found in all the texts at once is what is found in each of them."""
    for pattern in (CONTENT_WORD, re.compile("窓灯|窓")):
        assert Texts(texts).found(pattern) == {text: pattern.findall(text) for text in texts}
