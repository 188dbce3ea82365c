"""Messages: normalisation, and division into clauses.

`normalise` gives the form in which a deck's expressions are searched. `spelling` gives the same text
for all spellings of a message; learned answers are found by it.

Two messages have the same spelling if they differ by nothing but what is on a closed list: the width
of letters; case, but not in units (`5 MW`, `Mbps`) and not of single letters (`Aさん`); the length of
long vowels; repetition of a mark; at the end: closing marks, laughter, and some ornaments after a
sentence (`_ORNAMENTS`, `_FACES`); the character's name and calls for attention, if a comma or a space
separates them. Everything else remains: words, particles, numbers, signs, arrows, other emoji. So a
message never gets the answer to another question, and no threshold need be tuned. (Rejected:
distances between texts, by which 「眠い」 is nearer to 「眠くない」 than one spelling of おはよう to another;
and a list of what matters in place of one of what does not, for it is never complete.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from app.kinds.expressions import Expression, compiled, literal
from app.kinds.lazy_pattern import lazily
from app.normal_form import nfc, nfkc

# Characters of a normalised message beyond which danger is searched in it sentence by sentence, and
# everything else at its beginning and end.
LONG_MESSAGE = 400
_EMOJI = lazily(
    "[\U0001f000-\U0001faff\U00002600-\U000027bf\U00002b00-\U00002bff\U00002190-\U000021ff"
    "\U00002300-\U000023ff\U000025a0-\U000025ff\U000e0020-\U000e007f\u200d\ufe0e\ufe0f\u20e3"
    "\u266a-\u266f\u3030\u303d]+"
)
_MARK = r"[\^*;:´`_=<>ωдДД∀▽≧≦・＾･°ﾟ゚｡ˆ¯\\~ε∇☆★◕ᴗ‿]"
# An emoticon: brackets around marks and letters, but not around three kana or kanji in a row; or
# one without brackets (^o^, T_T).
_FACE = lazily(
    r"[mヾヽo\\┐٩ψ]?\({1,3}(?=[^()]{0,14}"
    + _MARK
    + r")(?![^()]{0,15}[ぁ-んァ-ヴ一-龥]{3})[^()]{1,15}"
    r"\){1,3}[mノﾉシ/o┌۶ψ]{0,3}"
    r"|\^[_o.-]?\^[;*]*"
    r"|(?<![a-z0-9])(?:[tq][_.^][tq]|orz|xd|;_;|;-;|>_<|:\)|:-\)|:\(|:d|:p)(?![a-z0-9])"
)
_LAUGHTER_IN_BRACKETS = lazily(r"\((笑|泣|汗|爆|w+|涙|怒|照)\)")
_DASH = "[\u2010-\u2015\u2500\u2501-]"
_DASHES = lazily(f"{_DASH}(?={_DASH})|(?<=[ぁ-ゖァ-ヶ]){_DASH}")
_SMALL = lazily("([ぁ-ゖァ-ヶ])([ぁぃぅぇぉァィゥェォ]+)")
_ANY_DASH, _ANY_SMALL = lazily(_DASH), lazily("[ぁぃぅぇぉァィゥェォ]")
_MARKS = lazily(r"[!?。、…]{2,}")
_ROWS = (
    ("あかがさざただなはばぱまやらわゃぁ", "ぁ"),
    ("いきぎしじちぢにひびぴみりぃ", "ぃ"),
    ("うくぐすずつづぬふぶぷむゆるゅぅ", "ぅ"),
    ("えけげせぜてでねへべぺめれぇ", "ぇ"),
    ("おこごそぞとどのほぼぽもよろをょぉ", "ぉ"),
)
_TO_KATAKANA = 0x60
_KATAKANA = lazily("[ァ-ヶ]")
_TO_HIRAGANA = {sign: sign - _TO_KATAKANA for sign in range(ord("ァ"), ord("ヶ") + 1)}
# Characters by which NFKC may lengthen a message (㌔ becomes キロ). A message of such characters alone
# could grow eighteen times and be slow to search; it is then left as it is.
_MOST_WIDENED = 200
_VOWEL = {kana: vowel for row, vowel in _ROWS for kana in row} | {
    chr(ord(kana) + _TO_KATAKANA): chr(ord(vowel) + _TO_KATAKANA)
    for row, vowel in _ROWS
    for kana in row
}
_BEFORE_WIDTH = {"\u00b4": "`", "\uff40": "`", "\u2019": "'", "\u22ef": "…"}


class _Step(NamedTuple):
    """A replacement, and the texts of which a text that it changes has one.

    To look for these costs a long text a twentieth of the search for the pattern.
    """

    pattern: re.Pattern[str]
    with_: str
    needs: tuple[str, ...] = ("",)

    def of(self, text: str) -> str:
        """The text with every match replaced."""
        return self.pattern.sub(self.with_, text) if any(n in text for n in self.needs) else text


_REPEATED = (
    _Step(
        lazily(r"([あいうえおアイウエオ])\1{2,}"),
        r"\1ー",
        tuple(3 * vowel for vowel in "あいうえおアイウエオ"),
    ),
    _Step(lazily("ー+"), "ー", ("ーー",)),
    _Step(lazily("っ{2,}"), "っ", ("っっ",)),
    _Step(lazily("ッ{2,}"), "ッ", ("ッッ",)),
)
_STEPS = (
    *_REPEATED,
    _Step(lazily("(?<![a-z])w+(?![a-z])"), "w", ("ww",)),
    _Step(lazily(r"([笑草])\1+"), r"\1", ("笑笑", "草草")),
)
_TIDY = (
    _Step(lazily(r"[^\S\n]+"), " "),
    _Step(lazily(r" ?\n\s*"), "\n", ("\n",)),
    _Step(lazily(" (?=[!?。、…])"), "", (" ",)),
    _Step(lazily("(?<=[!?…])[。、]"), ""),
)


def _before_width(text: str) -> str:
    """A text with the marks in place of which NFKC would put others; quicker than `translate`."""
    for sign, with_ in _BEFORE_WIDTH.items():
        text = text.replace(sign, with_)
    return text


# What `spelling` takes for another form of the same sign.
_WIDTH = {sign: sign - 0xFEE0 for sign in range(0xFF01, 0xFF5E)} | {
    ord("\u3000"): " ",
    **dict.fromkeys(map(ord, "~\uff5e\u2053\u223c\u3030"), "\u301c"),
    **dict.fromkeys(map(ord, "\u200b\u200c\u200e\u200f\u2060\ufe0e\ufe0f\ufeff")),
}
_TO_WIDTH = str.maketrans(_BEFORE_WIDTH) | _WIDTH
_HALF_WIDTH_KANA = lazily("[\uff61-\uff9f]+")
_KANA, _ENDS_A_WORD = "ぁ-ゖァ-ヶー", "[a-zA-Zぁ-ゖァ-ヶー一-龥々]"
_SAME_FORMS = (
    _Step(lazily(r"(?<![0-9])(?:\.{2,}|・{2,}|。{2,}|‥+)"), "…", ("..", "・・", "。。", "‥")),
    _Step(lazily(rf"(?<=[{_KANA}])[ー〜\u2010-\u2015\u2500\u2501]+"), "ー"),
    *_REPEATED,
    _Step(lazily(r"\s+"), " "),
    _Step(lazily(" (?=[!?。、…])"), "", (" ",)),
    _Step(lazily("…+"), "…", ("……",)),
    _Step(lazily(r"(?<![0-9!?])!*\?[!?]*"), "?", ("??", "?!", "!?")),
    _Step(lazily("(?<![0-9!?])!{2,}"), "!", ("!!",)),
)
_LATIN_RUN = lazily("[a-zA-Z]+")
_AFTER_A_NUMBER = lazily(r"[0-9] ?\Z")
_JAPANESE_LETTER = lazily("[ぁ-ゖァ-ヶ一-龥々]")
# Signs that add nothing after a sentence: hearts, sparkles, notes, smiling faces.
_ORNAMENTS = "[❤♥💕💖💗💓💞💘💛💚💙💜🧡🤍🩷✨⭐🌟💫🌸🎶🎵♪♫☆★😊☺😄😃😀😁😆🥰😍🤗🙂😌😂🤣]"
_FACES = (
    *("(^^)", "(^-^)", "(^_^)", "(^o^)", "(^▽^)", "(^∀^)", "(*^^*)", "(*^_^*)", "(*^▽^*)", "^^"),
    *("(≧▽≦)", "(´▽`)", "(*´▽`*)", "(´∀`)", "(*´∀`*)", "(´ω`)", "(*´ω`*)", "\\(^o^)/", "(・∀・)"),
)
_ENDING = lazily(
    # Ornaments after what ends a sentence; after a noun or a particle they can be a word.
    rf"(?:(?<=[!?。…〜ーたただでうすいるんよねなわぞぜさきみつくけw笑]){_ORNAMENTS}+"
    rf"|(?<={_ENDS_A_WORD})(?:{'|'.join(re.escape(_before_width(face)) for face in _FACES)})"
    # Laughter and closing marks after a word, but not after a number or a sign.
    rf"|(?<=[{_KANA}一-龥々!?。…)])w+|(?<=[{_KANA}!?。…])笑+|\(笑\)"
    rf"|(?<={_ENDS_A_WORD})[!。、,.]+|(?<=[!?。、…w笑)])[!。、]+|(?<={_ORNAMENTS})[!。]+|(?<=[ぁ-ゖ])ー| +)\Z"
)
# Of fewer signs nothing is taken away: 「え」 and 「えー」 are two messages.
_FEWEST = 2
# Marks, laughter and ornaments in turn at the end of a message; more of them are left.
_ENDINGS = 12
_HIRAGANA = lazily("[ぁ-ゖー]")
_SAYS_SOMETHING = lazily(r"\w")
# Letters before which an aside ends only at a mark, and before which laughter is part of a word.
_SAME_SCRIPT = lazily("[a-z0-9]{2}|[ァ-ヶー]{2}|[一-龥々]{2}")
_WORD_BEFORE_LAUGHTER = lazily("[a-z0-9一-龥々]")
PARTING = "!?。…、,;. "
# Asides in a row at the head of a clause; what follows counts as content.
_MOST_ASIDES = 8
# Matches nothing.
_NOTHING = r"[^\s\S]"
_JA = "[ぁ-ゖァ-ヶー一-龥々]"
# Single signs with something between them, and what is between.
_SPACED = lazily(rf"(?<!{_JA})(?:{_JA}[ ./・_|*+-]{{1,3}}){{2,}}{_JA}(?!{_JA})")
_BETWEEN = lazily(rf"(?<={_JA})[ ./・_|*+-]{{1,3}}(?={_JA})")
# 「おはよう、って言われた」 is one clause: its second part quotes the first.
_GOES_ON = (
    r"(?!\s*(?:って|と(?:言|い[いうっわ]|か(?:言|い)|書|聞|の|は)|なんて(?:言|い)|て(?:言|い[うっわ])"
    r"|の(?:英|意|挨)))"
)
# After it, the sentence's closing marks belong to the sentence.
_SENTENCE_END, _LONG_SENTENCE, _OVERLAP = lazily(r"(?<=[!?。…])(?![!?。…])|\n"), 80, 20
_CUT = lazily(
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
    text = re.sub("[~\u301c\uff5e\u2053\u223c\u3030]", "ー", _before_width(text))
    wide = nfkc(text)
    text = (wide if len(wide) <= len(text) + _MOST_WIDENED else text).lower()
    # Every alternative begins with a plain sign: the engine then skips all others at once.
    text = re.sub(r"\.\.+|・・+|。。+|‥‥*", "…", text)
    text = _EMOJI.sub(" ", _FACE.sub(" ", text))
    text = re.sub("[\u0300-\u0308\u200b-\u200f\u2060\ufeff]", "", text)
    text = _LAUGHTER_IN_BRACKETS.sub(r"\1", text)
    # Plain classes, over which the engine skips what has none of their signs.
    text = _DASHES.sub("ー", text) if _ANY_DASH.search(text) else text
    text = _SMALL.sub(_long_vowel, text) if _ANY_SMALL.search(text) else text
    for step in _STEPS:
        text = step.of(text)
    text = _MARKS.sub(_each_once, text)
    for step in _TIDY:
        text = step.of(text)
    return text.strip()


def normalise_all(texts: Sequence[str]) -> list[str]:
    """The same for many short texts, which takes a third of the time together."""
    found = normalise("\n".join(texts)).split("\n")
    # A text of nothing but what is left out takes its line with it.
    return found if len(found) == len(texts) else list(map(normalise, texts))


class DirectAddress(NamedTuple):
    """Recognises a character's name at the head or the end of a message, as who is addressed."""

    head: Expression
    end: Expression

    def taken_from(self, text: str) -> str:
        """A normalised message without the calls; as it is if it has nothing else."""
        return self.end.sub("", self.head.sub("", text)) or text


def address(names: Iterable[str], calls: Iterable[str]) -> DirectAddress:
    """Recognises a character's `names` and other words that ask for attention (ねえ)."""
    called = f"(?:{_one_of(names)})(?:ちゃん|さん|さま|様)?"
    return DirectAddress(
        compiled(rf"^(?:(?:{called}|{_one_of(calls)})[、,… ]+)+"), compiled(rf"[、, ]+{called}$")
    )


class Asides(NamedTuple):
    """Recognises what a message says besides its content: interjections, backchannels, laughter.

    `head` finds one of them at the beginning of a clause, with the marks after it; without a mark it
    counts before one of the words `before`, or where the script changes (うん今日, え待って). `tail` finds
    laughter at the end.
    """

    head: Expression
    tail: Expression
    before: tuple[str, ...]

    def content(self, clause: str) -> tuple[int, str]:
        """What is left of a clause, with its offset; empty if the clause says nothing else."""
        start = 0
        for _ in range(_MOST_ASIDES):
            rest = clause[start:]
            found = self.head.search(rest)
            end = found.span()[1] if found else 0
            if not end or not self._parted(rest[end - 1], rest[end:]):
                break
            start += end
        rest = clause[start:]
        laughter = self.tail.search(rest)
        begin = laughter.span()[0] if laughter else len(rest)
        if begin and not _WORD_BEFORE_LAUGHTER.match(rest[begin - 1]):
            rest = rest[:begin] + ("?" if "?" in rest[begin:] else "")
        return start, rest if _SAYS_SOMETHING.search(rest) and begin else ""

    def _parted(self, last: str, rest: str) -> bool:
        return (
            not rest
            or last in PARTING
            or rest.startswith(self.before)
            or not (_HIRAGANA.match(rest) or _SAME_SCRIPT.match(last + rest[0]))
        )


def asides(head: Iterable[str], tail: Iterable[str], before: Iterable[str]) -> Asides:
    """Compile asides; all are normalised, and `head` and `tail` are expressions."""
    one, end = "|".join(head) or _NOTHING, "|".join(tail) or _NOTHING
    return Asides(
        compiled(rf"^(?:{one})[{re.escape(PARTING)}]*", by_line=True),
        compiled(rf"(?:{end})+[{re.escape(PARTING)}]*$"),
        tuple(before),
    )


def mention(names: Iterable[str]) -> str:
    """An expression for the `names` of a character, if they are no part of a Latin word."""
    return rf"(?:\b{_one_of(n for n in names if n.isascii())}\b|{_one_of(n for n in names if not n.isascii())})(?:ちゃん|さん|さま|様)?"


def _one_of(words: Iterable[str]) -> str:
    ordered = sorted((literal(normalise(word)) for word in words), key=len, reverse=True)
    return "|".join(ordered) or _NOTHING


def spelling(text: str, called: DirectAddress | None = None) -> str:
    """One text for all spellings of a message; the module's docstring lists what is equal."""
    whole = _HALF_WIDTH_KANA.sub(lambda f: nfkc(f.group()), text)
    whole = nfc(whole.translate(_TO_WIDTH)).strip()
    for step in _SAME_FORMS:
        whole = step.of(whole)
    whole = _folded(whole)
    short = _ended(whole)
    if called:
        short = called.taken_from(called.taken_from(short))
    return short or whole


def _folded(text: str) -> str:
    """The text with Latin words in small letters where their case does not matter."""
    japanese = bool(_JAPANESE_LETTER.search(text))

    def folded(found: re.Match[str]) -> str:
        word = found.group()
        regular = word.islower() or word.isupper() or word.istitle()
        unit = _AFTER_A_NUMBER.search(text, max(0, found.start() - 2), found.start())
        return word.lower() if regular and not unit and (len(word) > 1 or not japanese) else word

    return _LATIN_RUN.sub(folded, text)


def _ended(text: str) -> str:
    """The text without the marks, laughter and ornaments at its end."""
    for _ in range(_ENDINGS):
        # Searched near the end only, so that the cost does not grow with the message.
        offset = max(0, len(text) - 40)
        found = _ENDING.search(text, offset)
        if not found or found.start() < _FEWEST:
            break
        text = text[: found.start()]
    return text


def joined(text: str) -> str:
    """A normalised message as one line; where it is typed sign by sign (死 に た い), put together."""
    return closed_up(text.replace("\n", " "))


def closed_up(text: str) -> str:
    """A text in which what is typed sign by sign (死 に た い) is put together."""
    return _BETWEEN.sub("", text) if _SPACED.search(text) else text


def in_hiragana(text: str) -> str:
    """A text with katakana as hiragana, sign for sign."""
    return text.translate(_TO_HIRAGANA) if _KATAKANA.search(text) else text


def clauses(text: str) -> list[tuple[int, str]]:
    """The clauses of a normalised message with their offsets; closing marks belong to a clause."""
    ends = [found.end() for found in _CUT.finditer(text)]
    found = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        part = text[start:end]
        if part.strip():
            found.append((start + len(part) - len(part.lstrip()), part.strip()))
    return found


def pieces(text: str) -> Iterator[str]:
    """The sentences of a normalised message; of long ones the clauses, of long clauses parts that overlap."""
    for sentence in _SENTENCE_END.split(text):
        if len(sentence) <= _LONG_SENTENCE:
            yield sentence.strip()
            continue
        for _, clause in clauses(sentence):
            for start in range(0, max(1, len(clause) - _OVERLAP), _LONG_SENTENCE - _OVERLAP):
                yield clause[start : start + _LONG_SENTENCE]
