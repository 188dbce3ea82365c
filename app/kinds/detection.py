"""Which language a text is in, what cannot be printed, and sentences with which a model declines."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from functools import lru_cache

from app.kinds.language import CHINESE, JAPANESE, KOREAN, LANGUAGES, Language, own_letter
from app.kinds.lazy_pattern import lazily
from app.normal_form import nfc

# A part of a word between apostrophes and hyphens, as l and été of l’été.
_PART = lazily(r"[^\W\d_]+")
_HAN = lazily(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# Controls, lone surrogates, private use, invisible marks, the replacement character.
UNPRINTABLE = lazily(
    r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u061c\u2028-\u202e\u2060-\u206f\ufeff\ufffd"
    r"\ud800-\udfff\ue000-\uf8ff]"
)
# How models of today decline, at the beginning of a paragraph. In every language, because a model
# that declines often answers in another language than the deck's.
_DECLINED = (
    r"(?:(?:I['’]m|I am) (?:so |very |truly )?sorry|sorry|I apologi[sz]e|my apologies|unfortunately)[,.;:]?[^.!?\n]{0,40}?\bI(?:['’]m| am)? ?(?:can['’]?t|cannot|not able|unable|won['’]t|must decline)",
    r"I (?:can['’]?t|cannot|won['’]t|am (?:unable|not able) to|must decline to) (?:help|assist|provide|create|write|generate|comply|fulfil|produce|continue|do (?:that|this))",
    r"As an? (?:AI|artificial intelligence|(?:large )?language model)\b",
    r"(?:大変|誠に)?(?:申し訳|すみません|ごめんなさい|恐れ入りますが)[^。\n]{0,60}(?:できません|できかね|いたしかね|お応えでき|お答えでき|控え)",
    r"(?:その|この)?(?:ご?要望|ご?依頼|リクエスト|ご?質問)[^。\n]{0,30}(?:できません|できかね|いたしかね)",
    r"AI(?:アシスタント)?として",
    r"(?:Je suis |Désolée? )?(?:vraiment |sincèrement )?(?:désolée?|navrée?)[^.!?\n]{0,40}?je ne (?:peux|puis|suis)",
    r"Je ne (?:peux|puis) pas (?:vous |t['’])?(?:aider|répondre|écrire|créer|générer|fournir|traiter|satisfaire)",
    r"En tant qu['’](?:IA|assistant|intelligence artificielle)",
    r"(?:Es tut mir|Tut mir) leid[^.!?\n]{0,40}?(?:ich kann|kann ich)",
    r"Ich kann (?:dir|Ihnen|dabei|diese\w*|das) [^.!?\n]{0,40}?nicht (?:helfen|erfüllen|schreiben|erstellen)",
    r"Als KI\b",
    r"(?:Lo siento|Lamento|Disculpa)[^.!?\n]{0,40}?no puedo",
    r"No puedo (?:ayudar|cumplir|crear|escribir|generar|proporcionar)",
    r"Como (?:una )?(?:IA|inteligencia artificial|modelo de lenguaje)\b",
    r"(?:죄송|미안)[^\n]{0,60}(?:수 없|어렵|못)",
    r"(?:很|非常)?(?:抱歉|对不起|對不起)[^\n]{0,30}(?:无法|無法|不能)",
    r"(?:作为|作為)(?:一个|一個)?\s*(?:AI|人工智能|人工智慧|语言模型|語言模型)",
)  # fmt: skip
_DECLINES = lazily(rf"^[\"'“「 \t]*(?:{'|'.join(_DECLINED)})", re.MULTILINE | re.IGNORECASE)


def declined(text: str) -> str:
    """How a model declined to write, empty if a text is no such sentence."""
    found = _DECLINES.search(text)
    return found.group().strip() if found else ""


def likely(text: str) -> Language | None:
    """The language in which a text seems to be written; None if that is not clear.

    By its letters; languages of the same letters are told apart by their common short words.
    """
    letters = sum(map(str.isalpha, text))
    if not letters:
        return None
    if own_letter(KOREAN.id).search(text) and _share(KOREAN, text, letters) > 0.5:
        return KOREAN
    if _share(JAPANESE, text, letters) > 0.5:
        return JAPANESE if re.search("[ぁ-ゖァ-ヺ]", text) else CHINESE
    words = _parts(text)
    rows = [row for row in LANGUAGES.values() if row.stopwords]
    for row in rows:
        others = (other for other in rows if other is not row)
        if all(_rather(words, row.stopwords, other.stopwords) for other in others):
            return row
    return None


# So many function words of another language, and more than twice as many as of one's own, are no
# quotation. Of each word one counts: a refrain is no language.
FEWEST_FOREIGN = 4


def not_in(text: str, languages: tuple[str, ...]) -> str:
    """Some words that show that a text is in none of some languages; empty if it may be in one.

    Languages of the same letters are told apart by their function words. A short text passes, and so
    does each text where one of the languages has no such words in the table.
    """
    words = _parts(text)
    for own, other in _others(languages):
        if found := _rather(words, other, own):
            return " ".join(found[:FEWEST_FOREIGN])
    return ""


def never_not_in(text: str, languages: tuple[str, ...]) -> bool:
    """Whether `not_in` finds nothing in any text that is put together of parts of a text."""
    words = _parts(text)
    return all(
        sum(word in other - own for word in words) < FEWEST_FOREIGN
        for own, other in _others(languages)
    )


@lru_cache(maxsize=64)
def _others(languages: tuple[str, ...]) -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    """The function words of some languages, beside those of each other one."""
    rows = [LANGUAGES[name].stopwords for name in languages]
    own = frozenset(itertools.chain(*rows))
    others = (row.stopwords for row in LANGUAGES.values() if row.id not in languages)
    return tuple((own, other) for other in others if other) if all(rows) else ()


def _rather(words: Iterable[str], these: frozenset[str], those: frozenset[str]) -> list[str]:
    """The words of one language, if there are clearly more than of another; those of both tell nothing."""
    found = [word for word in words if word in these and word not in those]
    other = sum(word in those and word not in these for word in words)
    return found if len(found) >= FEWEST_FOREIGN and len(found) > 2 * other else []


def _parts(text: str) -> list[str]:
    """The words of a text in lower case, each once, those of an elision apart (l’été)."""
    return list(dict.fromkeys(_PART.findall(nfc(text).casefold())))


def _share(language: Language, text: str, letters: int) -> float:
    return len(own_letter(language.id).findall(text)) / letters


def foreign_han(text: str) -> str:
    """The Chinese characters in a text that are not used in Japanese.

    Those in use are in Windows code page 932, simplified characters are not. A table of our own
    would be less complete, and the codec takes a microsecond.
    """
    try:
        text.encode("cp932")
    except UnicodeEncodeError:
        return "".join(dict.fromkeys(c for c in _HAN.findall(text) if not _in_cp932(c)))
    return ""


def _in_cp932(character: str) -> bool:
    try:
        character.encode("cp932")
    except UnicodeEncodeError:
        return False
    return True
