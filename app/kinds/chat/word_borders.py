"""Where words begin and end in a text without spaces, as far as its scripts tell."""

from __future__ import annotations

from app.kinds.lazy_pattern import lazily

_SCRIPTS = tuple(map(lazily, ("[一-龥々]", "[ァ-ヶー]", "[a-z]")))
_HIRAGANA = lazily("[ぁ-ゖ]")
# What may stand before and after a word in hiragana; さ and ち begin what a name is called by.
_PARTICLES = frozenset("はがをにでともの")
_FOLLOWING = _PARTICLES | frozenset("だやかよっねさち")
# One kanji of a verb or adjective after a noun: 課題出た, not 電車代が nor 母校は.
_VERB = lazily("[一-龥々](?![はがをにでとものへや])[ぁ-ゖ]")
_VERB_AFTER_ONE = lazily(
    "[飼見買食飲着降行来出作切染洗拾持乗売怒描](?![はがをにでとものへや])[ぁ-ゖ]"
)
_WHEN = lazily("[日朝晩夜昼近度週月年回後今]$")


def whole(word: str, text: str) -> bool:
    """Whether a text has a word that is no part of a longer one: not ふく in 腹ふくれる, nor 花 in 造花.

    A word in several scripts may follow and precede hiragana: お風呂 in きのうお風呂.
    """
    bare = all(map(_HIRAGANA.match, word))
    opens = bare or not _HIRAGANA.match(word[0])
    closes = bare or not _HIRAGANA.match(word[-1])
    at = text.find(word)
    while at >= 0:
        if (not opens or starts(text, at)) and (not closes or ends(text, at, at + len(word))):
            return True
        at = text.find(word, at + 1)
    return False


def starts(text: str, start: int) -> bool:
    """Whether a word can start there."""
    if not start:
        return True
    before, first = text[start - 1], text[start]
    if _HIRAGANA.match(first):
        return not _HIRAGANA.match(before) or before in _PARTICLES
    return not _same(before, first) or bool(_WHEN.search(text[:start]))


def ends(text: str, start: int, end: int) -> bool:
    """Whether a word that starts at `start` can end there."""
    after, last = text[end : end + 1], text[end - 1]
    if not after:
        return True
    if _HIRAGANA.match(text[start]) and _HIRAGANA.match(last) and _HIRAGANA.match(after):
        return after in _FOLLOWING
    if not _same(last, after):
        return True
    return bool((_VERB if end - start > 1 else _VERB_AFTER_ONE).match(text, end))


def _same(one: str, other: str) -> bool:
    """Whether two signs are of one script, other than hiragana."""
    return any(script.match(one) and script.match(other) for script in _SCRIPTS)
