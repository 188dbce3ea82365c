"""Messages: one form for all spellings of a message, and its clauses.

`normalise` gives the form that a deck's expressions read. `spelling` goes further and gives what two
messages share when they are the same message typed differently; learned answers are found by it.

How near a message must be to one that was answered: equal after exactly these are taken away, and
nothing else. Width and case; emoji and faces; long vowels however written, and their length; how
often a mark is repeated; closing marks and laughter; the character's own name and a call for
attention where a comma or a space sets them off. Nothing that carries meaning is on that list: no
word of negation, no question mark, no particle, no other name, no number. So there is no threshold
to tune and no way to reach the answer of another question. (Distances between texts were turned
down: 「眠い」 and 「眠くない」 are nearer to each other by any of them than two spellings of おはよう.)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from app.kinds.chat.expressions import Expression, compiled, literal

_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\U00002600-\U000027bf\U00002b00-\U00002bff\U00002190-\U000021ff"
    "\U00002300-\U000023ff\U000025a0-\U000025ff\U000e0020-\U000e007f\u200d\ufe0e\ufe0f\u20e3"
    "\u266a-\u266f\u3030\u303d]+"
)
_MARK = r"[\^*;:´`_=<>ωдДД∀▽≧≦・＾･°ﾟ゚｡ˆ¯\\~ε∇☆★◕ᴗ‿]"
# A face: brackets around signs. Letters may be inside (^o^, T_T), three kana or kanji in a row may not.
_FACE = re.compile(
    r"[mヾヽo\\┐٩ψ]?\({1,3}(?=[^()]{0,14}"
    + _MARK
    + r")(?![^()]{0,15}[ぁ-んァ-ヴ一-龥]{3})[^()]{1,15}"
    r"\){1,3}[mノﾉシ/o┌۶ψ]{0,3}"
    r"|\^[_o.-]?\^[;*]*"
    r"|(?<![a-z0-9])(?:[tq][_.^][tq]|orz|xd|;_;|;-;|>_<|:\)|:-\)|:\(|:d|:p)(?![a-z0-9])"
)
_LAUGHTER_IN_BRACKETS = re.compile(r"\((笑|泣|汗|爆|w+|涙|怒|照)\)")
_DASH = "[\u2010-\u2015\u2500\u2501-]"
_DASHES = re.compile(f"{_DASH}(?={_DASH})|(?<=[ぁ-ゖァ-ヶ]){_DASH}")
_SMALL = re.compile("([ぁ-ゖァ-ヶ])([ぁぃぅぇぉァィゥェォ]+)")
_MARKS = re.compile(r"[!?。、…]{2,}")
_ROWS = (
    ("あかがさざただなはばぱまやらわゃぁ", "ぁ"),
    ("いきぎしじちぢにひびぴみりぃ", "ぃ"),
    ("うくぐすずつづぬふぶぷむゆるゅぅ", "ぅ"),
    ("えけげせぜてでねへべぺめれぇ", "ぇ"),
    ("おこごそぞとどのほぼぽもよろをょぉ", "ぉ"),
)
_TO_KATAKANA = 0x60
# Signs that a message may grow by when one sign is written as several (㌔ as キロ). A message made of
# such signs alone could grow eighteen times and be as slow to read; it is read as it stands.
_MOST_WIDENED = 200
_VOWEL = {kana: vowel for row, vowel in _ROWS for kana in row} | {
    chr(ord(kana) + _TO_KATAKANA): chr(ord(vowel) + _TO_KATAKANA)
    for row, vowel in _ROWS
    for kana in row
}
_BEFORE_WIDTH = str.maketrans({"\u00b4": "`", "\uff40": "`", "\u2019": "'", "\u22ef": "…"})
_STEPS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), with_)
    for pattern, with_ in (
        (r"([あいうえおアイウエオ])\1{2,}", r"\1ー"),
        (r"ー+", "ー"),
        (r"っ{2,}", "っ"),
        (r"ッ{2,}", "ッ"),
        (r"(?<![a-z])w+(?![a-z])", "w"),
        (r"([笑草])\1+", r"\1"),
    )
)
_TIDY: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), with_)
    for pattern, with_ in (
        (r"[^\S\n]+", " "),
        (r" ?\n\s*", "\n"),
        (r" (?=[!?。、…])", ""),
        (r"(?<=[!?…])[。、]", ""),
    )
)
_CLOSING_MARKS = frozenset("!。、…,. ")
_LATIN_LETTER, _KANJI, _HIRAGANA = (re.compile(r) for r in ("[a-z]", "[一-龥々]", "[ぁ-ゖ]"))
_BEFORE_QUESTION = compiled(r"[!。…、 ]+\?")
# Matches no sign.
_NOTHING = r"[^\s\S]"
_JA = "[ぁ-ゖァ-ヶー一-龥々]"
# 「おはよう、って言われた」 is one clause: what follows quotes what came before.
_GOES_ON = (
    r"(?!\s*(?:って|と(?:言|い[いうっわ]|か(?:言|い)|書|聞|の|は)|なんて(?:言|い)|て(?:言|い[うっわ])"
    r"|の(?:英|意|挨)))"
)
_CUT = re.compile(
    rf"(?:[!?。…]+|[、,;\n]+|\.(?=\s|$)){_GOES_ON}|(?<={_JA}) {_GOES_ON}| (?={_JA}){_GOES_ON}"
)


def _long_vowel(found: re.Match[str]) -> str:
    kana, run = found.group(1), found.group(2)
    return kana + "ー" if set(run) == {_VOWEL.get(kana)} else found.group()


def _each_once(found: re.Match[str]) -> str:
    return "".join(mark for mark in "!?…。、" if mark in found.group())


# A message is read by several steps of an answer.
@lru_cache(maxsize=16)
def normalise(text: str) -> str:
    """A message as the expressions read it: width, case, elongation, marks, emoji made one."""
    text = re.sub("[~\u301c\uff5e\u2053\u223c\u3030]", "ー", text.translate(_BEFORE_WIDTH))
    wide = unicodedata.normalize("NFKC", text)
    text = (wide if len(wide) <= len(text) + _MOST_WIDENED else text).lower()
    text = re.sub(r"\.{2,}|・{2,}|。{2,}|‥+", "…", text)
    text = _EMOJI.sub(" ", _FACE.sub(" ", text))
    text = re.sub("[\u0300-\u0308\u200b-\u200f\u2060\ufeff]", "", text)
    text = _DASHES.sub("ー", _LAUGHTER_IN_BRACKETS.sub(r"\1", text))
    text = _SMALL.sub(_long_vowel, text)
    for pattern, with_ in _STEPS:
        text = pattern.sub(with_, text)
    text = _MARKS.sub(_each_once, text)
    for pattern, with_ in _TIDY:
        text = pattern.sub(with_, text)
    return text.strip()


class Address(NamedTuple):
    """How a character is called at the head and at the end of a message, set off from the rest."""

    head: Expression
    end: Expression

    def taken_from(self, text: str) -> str:
        """The message itself."""
        # A message that only calls her is not taken away.
        return self.end.sub("", self.head.sub("", text)) or text


def address(names: Iterable[str], calls: Iterable[str]) -> Address:
    """How a character is called: by `names` of her own, or by words that only ask for attention (ねえ)."""
    called = f"(?:{_one_of(names)})(?:ちゃん|さん|さま|様)?"
    return Address(
        compiled(rf"^(?:(?:{called}|{_one_of(calls)})[、,… ]+)+"),
        compiled(rf"[、, ]+{called}$"),
    )


def _one_of(words: Iterable[str]) -> str:
    ordered = sorted((literal(normalise(word)) for word in words), key=len, reverse=True)
    return "|".join(ordered) or _NOTHING


def spelling(text: str, called: Address | None = None) -> str:
    """What all spellings of a message share; see the module's docstring for what is taken away."""
    whole = normalise(text)
    short = _BEFORE_QUESTION.sub("?", whole[: _closing(whole)])
    if called:
        short = called.taken_from(called.taken_from(short))
    return short or whole


def _closing(text: str) -> int:
    """Where the marks, laughter and long vowel begin that close a message without changing it.

    But 「苦笑」 and 「カレー」 are words.
    """
    end = len(text)
    while end and _closes(text[end - 1], text[end - 2 : end - 1]):
        end -= 1
    return end


def _closes(sign: str, before: str) -> bool:
    if sign == "w":
        return not _LATIN_LETTER.match(before)
    if sign in "笑草":
        return not _KANJI.match(before)
    if sign == "ー":
        return bool(_HIRAGANA.match(before))
    return sign in _CLOSING_MARKS


def clauses(text: str) -> list[tuple[int, str]]:
    """Offsets and clauses of a normalised message; the closing marks belong to their clause."""
    ends = [found.end() for found in _CUT.finditer(text)]
    found = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        part = text[start:end]
        if part.strip():
            found.append((start + len(part) - len(part.lstrip()), part.strip()))
    return found
