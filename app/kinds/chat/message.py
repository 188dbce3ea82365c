"""Messages: normalisation, and division into clauses.

`normalise` gives the form in which a deck's expressions are searched. `spelling` goes further and
gives the same text for all spellings of a message; learned answers are found by it.

Two messages count as the same if they are equal after removal of exactly these: width and case;
emoji and emoticons; the notation and length of long vowels; repetition of a mark; closing marks and
laughter; the character's name and calls for attention, if a comma or a space separates them. None
of these carries meaning; words of negation, question marks, particles, other names and numbers
remain. So no threshold need be tuned, and a message never gets the answer to another question.
(Distances between texts were rejected: by any of them 「眠い」 is nearer to 「眠くない」 than one spelling of
おはよう to another.)
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
# An emoticon: brackets around marks and letters, but not around three kana or kanji in a row; or
# one without brackets (^o^, T_T).
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
# Characters by which NFKC may lengthen a message (㌔ becomes キロ). A message of such characters alone
# could grow eighteen times and be slow to search; it is then left as it is.
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
# Matches nothing.
_NOTHING = r"[^\s\S]"
_JA = "[ぁ-ゖァ-ヶー一-龥々]"
# Single signs with something between them, and what is between.
_SPACED = re.compile(rf"(?<!{_JA})(?:{_JA}[ ./・_|*+-]{{1,3}}){{2,}}{_JA}(?!{_JA})")
_BETWEEN = re.compile(rf"(?<={_JA})[ ./・_|*+-]{{1,3}}(?={_JA})")
# 「おはよう、って言われた」 is one clause: its second part quotes the first.
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


# Cached, because several steps of an answer normalise the same message.
@lru_cache(maxsize=16)
def normalise(text: str) -> str:
    """A message with one form of width, case, long vowels and marks, and without emoji."""
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
    """Recognises calls of a character at the head and at the end of a message."""

    head: Expression
    end: Expression

    def taken_from(self, text: str) -> str:
        """A normalised message without the calls; as it is if it has nothing else."""
        return self.end.sub("", self.head.sub("", text)) or text


def address(names: Iterable[str], calls: Iterable[str]) -> Address:
    """Recognises a character's `names` and other words that ask for attention (ねえ)."""
    called = f"(?:{_one_of(names)})(?:ちゃん|さん|さま|様)?"
    return Address(
        compiled(rf"^(?:(?:{called}|{_one_of(calls)})[、,… ]+)+"),
        compiled(rf"[、, ]+{called}$"),
    )


def _one_of(words: Iterable[str]) -> str:
    ordered = sorted((literal(normalise(word)) for word in words), key=len, reverse=True)
    return "|".join(ordered) or _NOTHING


def spelling(text: str, called: Address | None = None) -> str:
    """One text for all spellings of a message; the module's docstring lists what is removed."""
    whole = normalise(text)
    short = _BEFORE_QUESTION.sub("?", whole[: _closing(whole)])
    if called:
        short = called.taken_from(called.taken_from(short))
    return short or whole


def _closing(text: str) -> int:
    """The offset of the closing marks, laughter and long vowel, which do not change a message.

    In 「苦笑」 and 「カレー」 they are part of a word.
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


def joined(text: str) -> str:
    """A normalised message as one line; where it is typed sign by sign (死 に た い), put together."""
    line = text.replace("\n", " ")
    return _BETWEEN.sub("", line) if _SPACED.search(line) else line


def clauses(text: str) -> list[tuple[int, str]]:
    """The clauses of a normalised message with their offsets; closing marks belong to a clause."""
    ends = [found.end() for found in _CUT.finditer(text)]
    found = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        part = text[start:end]
        if part.strip():
            found.append((start + len(part) - len(part.lstrip()), part.strip()))
    return found
