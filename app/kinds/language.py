"""What a text's language decides: sentences, words, quotation, scripts, how a model declines.

`LANGUAGES` is the one table of these rules. Gate, composer, template, prompts and the search for
near copies read it; a language is added by one row (and words for the pages in `app/web/words`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from app.normal_form import nfkc

# A word of a language with spaces: letters and figures, joined by apostrophes or hyphens.
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_SPACED_END = r"[.!?…]+[\"'”’»)\]]*(?=\s|$)|[。！？\r\n]+"
_JAPANESE_END = r"[。！？!?\r\n]+"
_JAPANESE_NOUN = re.compile(r"[一-龥々]{2,}|[ァ-ヺー]{2,}")
_HAN_NOUN = re.compile(r"[\u4e00-\u9fff]{2,}")
_LATIN_LETTERS = "A-Za-zªºÀ-ÖØ-öø-ɏḀ-ỿ"
_HAN_LETTERS = "々\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
ANY = "any"


class Writing(NamedTuple):
    """The words around the parts of a prompt. A deck's own prompts hold everything else.

    `card` has the places text and tells, `build` note and build, `idea` idea and note, `again`
    the notes about refused answers, `wanted` named, each, least, most and guide. `example` stands for a keyword where costs are estimated.
    """

    unit: str = "characters"
    words: str = "words"
    card: str = "- Behind the card: {text} (do not say: {tells})"
    build: str = "{note}. {build}"
    idea: str = "{idea} ({note})"
    again: str = "\n  Refused last time: {notes}."
    between: str = ". "
    titles: str = " / "
    wanted: str = "- {named}: {each}, of {least} to {most} characters. {guide}"
    example: str = "word"


_JAPANESE_WRITING = Writing(
    unit="字",
    words="語",
    card="・裏の事情：{text}　禁句：{tells}",
    build="{note}。{build}",
    idea="{idea}（{note}）",
    again="\n　前回の不合格：{notes}。",
    between="。",
    titles="／",
    wanted="・{named}：{each}つ、{least}字以上{most}字以下。{guide}",
    example="言葉",
)
_FRENCH_WRITING = Writing(
    unit="caractères",
    words="mots",
    card="- Au dos de la carte : {text} (à ne pas dire : {tells})",
    build="{note}. {build}",
    again="\n  Refusé la dernière fois : {notes}.",
    example="mot",
)


class Language(NamedTuple):
    """The rules of one language.

    `end` is a regular expression for what ends a sentence, `stops` the characters with which a
    sentence may end, `space` stands between two sentences, `quotes` around a quotation, `comma`
    between the items of a list. `spaced` is whether words stand between spaces; words are then
    searched whole and in any case, with one of the `suffixes`. `letters` is the inside of a
    character class. `stopwords` never tell a card. `polite` are polite endings, `echoes` words of
    a model that talks about its answer. `vertical` is whether pages set it in columns.
    """

    id: str
    name: str
    letters: str
    end: str
    stops: str
    space: str
    quotes: tuple[str, str]
    comma: str
    spaced: bool
    suffixes: tuple[str, ...] = ("",)
    stopwords: frozenset[str] = frozenset()
    polite: tuple[str, ...] = ()
    echoes: tuple[str, ...] = ()
    noun: re.Pattern[str] | None = None
    numerals: Callable[[int], Sequence[str]] = lambda number: ()
    vertical: bool = False
    writing: Writing = Writing()

    def sentences(self, text: str) -> list[str]:
        """The sentences of a text, without what ends them."""
        parts = [part for part in _pattern(self.end).split(text) if part]
        return [part.strip() for part in parts] if self.spaced else parts

    def words(self, text: str) -> list[str]:
        """The words of a text in lower case; its characters if the language has no spaces."""
        if self.spaced:
            return [word.casefold() for word in _WORD.findall(text)]
        return [sign for sign in text if not sign.isspace()]

    def plain(self, text: str) -> str:
        """A text in which `in` finds the needles: normalised (NFKC), words between spaces."""
        normal = nfkc(text)
        return f" {' '.join(self.words(normal))} " if self.spaced else normal

    def needles(self, word: str) -> tuple[str, ...]:
        """What to look for in a plain text, to find a word in any of its forms."""
        if not self.spaced:
            return (nfkc(word),)
        bare = self.plain(word).rstrip()
        return tuple(f"{bare}{suffix} " for suffix in self.suffixes) if bare else ()

    def any_of(self, words: Iterable[str]) -> re.Pattern[str] | None:
        """An expression that finds any of some words, longest first; None for no words."""
        ordered = sorted(set(words), key=lambda word: (-len(word), word))
        if not ordered:
            return None
        either = "|".join(map(re.escape, ordered))
        if not self.spaced:
            return re.compile(either)
        return re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)

    def content_words(self, text: str) -> tuple[str, ...]:
        """The words that would give a card away if it names none itself."""
        if self.noun:
            return tuple(dict.fromkeys(self.noun.findall(text)))
        found = (word for word in self.words(text) if len(word) > 3 and word not in self.stopwords)
        return tuple(word for word in dict.fromkeys(found) if not word.isdigit())

    def at_end(self, endings: Iterable[str]) -> re.Pattern[str] | None:
        """An expression that finds any of some endings of sentences; None for no endings."""
        either = self.any_of(endings)
        after = r"[.,!?…”’»\"'\r\n]" if self.spaced else "[。、！？!?」\r\n]"
        return re.compile(f"(?:{either.pattern})(?={after}|$)", either.flags) if either else None

    def ended(self, text: str) -> str:
        """A text as a sentence: with a stop, unless it has one."""
        bare = text.rstrip()
        return bare if bare.rstrip("\"'”’»")[-1:] in self.stops else bare + self.stops[0]

    def quoted(self, text: str) -> str:
        """A text in quotation marks."""
        return f"{self.quotes[0]}{text}{self.quotes[1]}"


def kanji_numerals(number: int) -> tuple[str, ...]:
    """The notations of a number in kanji, for numbers from 10 to 9999.

    Kanji numerals below ten are too common in ordinary words to give a card away.
    """
    if not 10 <= number <= 9999:
        return ()
    plain = "".join("〇一二三四五六七八九"[int(d)] for d in str(number))
    parts = ""
    for unit, sign in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        count, number = divmod(number, unit)
        if count:
            parts += ("" if count == 1 and sign else "一二三四五六七八九"[count - 1]) + sign
    return (parts, plain)


_TEENS = [
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
    "eighteen", "nineteen",
]  # fmt: skip
_ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def english_numerals(number: int) -> tuple[str, ...]:
    """A number from 10 to 99 in words, with and without a hyphen."""
    if not 10 <= number <= 99:
        return ()
    if number < 20:
        return (_TEENS[number - 10],)
    ten, one = divmod(number, 10)
    if not one:
        return (_TENS[ten - 2],)
    return (f"{_TENS[ten - 2]}-{_ONES[one - 1]}", f"{_TENS[ten - 2]} {_ONES[one - 1]}")


def _spaced(
    language: str, name: str, quotes: tuple[str, str], stopwords: str, **more: object
) -> Language:
    """A language with Latin letters."""
    row = Language(
        language,
        name,
        _LATIN_LETTERS,
        _SPACED_END,
        ".!?…",
        " ",
        quotes,
        ", ",
        spaced=True,
        suffixes=("", "s"),
        stopwords=frozenset(stopwords.split()),
    )
    return row._replace(**more)  # type: ignore[arg-type]  # the fields of a NamedTuple


JAPANESE = Language(
    "ja",
    "日本語",
    f"ぁ-ゖァ-ヺー{_HAN_LETTERS}",
    _JAPANESE_END,
    "。",
    "",
    ("「", "」"),
    "、",
    spaced=False,
    polite=("です", "ます", "でしょう", "ません", "ました", "ください"),
    echoes=("タイトル", "ポエム", "文字以内", "以下の", "承知", "了解", "条件", "出力"),
    noun=_JAPANESE_NOUN,
    numerals=kanji_numerals,
    vertical=True,
    writing=_JAPANESE_WRITING,
)
ENGLISH = _spaced(
    "en",
    "English",
    ("“", "”"),
    "about above after again against also among another around because been before being below "
    "between both could does doing down during each even ever every from further have having here "
    "hers herself himself into itself just made make many more most much must never nothing only "
    "other ours over same should some such than that their theirs them then there these they this "
    "those through under until upon very were what when where which while whom whose will with "
    "without would your yours",
    suffixes=("", "s", "es", "'s", "’s"),
    echoes=("Title:", "as requested", "word count", "character count", "language model"),
    numerals=english_numerals,
)  # fmt: skip
FRENCH = _spaced(
    "fr",
    "Français",
    ("« ", " »"),
    "alors après aucun aussi autre avant avec avoir beaucoup cela celle celui ceux chaque cette "
    "comme comment contre dans depuis deux donc elle elles encore entre être fait faire jamais "
    "jusque leur leurs lors mais même moins notre nous parce pendant peut plus pour pourquoi quand "
    "quel quelle sans sera ses sont sous sur tous tout toute toutes très trois vers votre vous",
    suffixes=("", "s", "x"),
    echoes=("Titre :", "nombre de caractères", "modèle de langage"),
    writing=_FRENCH_WRITING,
)
GERMAN = _spaced(
    "de",
    "Deutsch",
    ("„", "“"),
    "aber alle auch beim dann dass diese dieser durch eine einem einen einer eines etwas für gegen "
    "haben hier ihre immer jede jeder kann kein keine mehr mein mich muss nach nicht noch nur oder "
    "ohne sein seine sich sind über unter viel vom wenn werden wird wurde zwischen zum zur",
    suffixes=("", "s", "e", "n", "en", "er"),
    echoes=("Titel:", "Sprachmodell", "Zeichenzahl"),
)
SPANISH = _spaced(
    "es",
    "Español",
    ("«", "»"),
    "algo ante antes aunque cada casi como cuando desde donde ella ellas ellos entre era eran esta "
    "este esto hasta hay más mientras muy nada ningún otra otro para pero porque puede que sea ser "
    "sido siempre sin sobre solo también tanto tiene toda todo todos una unas unos",
    suffixes=("", "s", "es"),
    echoes=("Título:", "modelo de lenguaje", "número de caracteres"),
)
KOREAN = _spaced(
    "ko",
    "한국어",
    ("“", "”"),
    "",
    letters="\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    # A particle follows its noun without a space.
    suffixes=("", "이", "가", "은", "는", "을", "를", "의", "에", "도", "와", "과", "로", "으로"),
    echoes=("제목:", "다음은", "알겠습니다", "글자 수"),
)
CHINESE = Language(
    "zh",
    "中文",
    _HAN_LETTERS,
    _JAPANESE_END,
    "。！？",
    "",
    ("“", "”"),
    "、",
    spaced=False,
    echoes=("标题", "標題", "以下是", "字数", "好的，"),
    noun=_HAN_NOUN,
    writing=Writing(unit="字", words="字"),
)

LANGUAGES: Mapping[str, Language] = {
    row.id: row for row in (JAPANESE, ENGLISH, FRENCH, GERMAN, SPANISH, KOREAN, CHINESE)
}
SCRIPTS = (*LANGUAGES, ANY)

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
_DECLINES = re.compile(rf"^[\"'“「 \t]*(?:{'|'.join(_DECLINED)})", re.MULTILINE | re.IGNORECASE)


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
    words = ENGLISH.words(text)
    hits = {
        row.id: sum(word in row.stopwords for word in words)
        for row in LANGUAGES.values()
        if row.stopwords
    }
    best, second = sorted(hits, key=lambda name: -hits[name])[:2]
    clear = hits[best] >= 5 and hits[best] >= 2 * hits[second]
    return LANGUAGES[best] if clear else None


def _share(language: Language, text: str, letters: int) -> float:
    return len(own_letter(language.id).findall(text)) / letters


@lru_cache(maxsize=64)
def _pattern(expression: str) -> re.Pattern[str]:
    return re.compile(expression)


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that is most like one that is not known; empty if none is like it."""
    found = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {found[0]!r}?" if found else ""


@lru_cache(maxsize=64)
def foreign_letter(scripts: tuple[str, ...]) -> re.Pattern[str]:
    """An expression that finds a letter of none of some scripts."""
    letters = "".join(LANGUAGES[script].letters for script in scripts)
    return re.compile(f"(?![{letters}])[^\\W\\d_]")


@lru_cache(maxsize=64)
def own_letter(script: str) -> re.Pattern[str]:
    """An expression that finds a letter of a script."""
    return re.compile(f"[{LANGUAGES[script].letters}]")
