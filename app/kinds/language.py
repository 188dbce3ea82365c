"""What a text's language decides: sentences, words, quotation, scripts.

`LANGUAGES` is the one table of these rules. Gate, composer, template, prompts and the search for
near copies read it; a language is added by one row (and words for the pages in `app/kinds/cards/words`).
"""

from __future__ import annotations

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
    character class. `stopwords`, the words that every text has, never tell a card, and tell the
    language of a text; an elision's parts count as words. `polite` are polite endings, `echoes` words of
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
    "a about above after again against all also although always am among an and another any are "
    "aren around as at because been before being below between both but by can cannot could d did "
    "didn do does doesn doing don down during each even ever every few for from further had has "
    "have having he her here hers herself him himself his how i if in into is isn it its itself "
    "just let ll m made make many me might mine more most much must my myself never no nor not "
    "nothing now of off on once one only or other our ours out over own re s same shall she "
    "should since so some still such t than that the their theirs them then there these they this "
    "those though through to too under until up upon us ve very was wasn we were weren what when "
    "where which while who whom whose why will with without would yet you your yours yourself",
    suffixes=("", "s", "es", "'s", "’s"),
    echoes=("Title:", "as requested", "word count", "character count", "language model"),
    numerals=english_numerals,
)  # fmt: skip
FRENCH = _spaced(
    "fr",
    "Français",
    ("« ", " »"),
    "a ai alors après as au aucun aucune aussi autre autres aux avait avant avec avez avoir avons "
    "beaucoup bien c car ce ceci cela celle celles celui ces cet cette ceux chaque chez comme "
    "comment contre d dans de depuis derrière des deux devant donc dont du dès déjà elle elles en "
    "encore entre es est et eux faire fait ici il ils j jamais je jusqu jusque l la laquelle le "
    "lequel les leur leurs lors lorsque lui là m ma mais me mes moi moins mon même n ne ni non "
    "nos notre nous on ont ou où par parce parfois pas pendant peu peut peuvent plus pour "
    "pourquoi pourtant près puis qu quand que quel quelle quelles quelqu quelque quelques quels "
    "qui quoi rien s sa sans se sera ses si son sont sous sur t ta tant te tes toi ton toujours "
    "tous tout toute toutes trois trop très tu un une vers voici voilà vos votre vous y à étaient "
    "était été être",
    suffixes=("", "s", "x"),
    echoes=("Titre :", "nombre de caractères", "modèle de langage"),
    writing=_FRENCH_WRITING,
)
GERMAN = _spaced(
    "de",
    "Deutsch",
    ("„", "“"),
    "aber alle allem allen aller alles als also am an andere auch auf aus bei beim bin bis bist "
    "da damit dann das dass dein deine dem den denn der des deshalb dich die dies diese diesem "
    "diesen dieser dieses dir doch dort du durch ein eine einem einen einer eines er es etwas "
    "euch euer für gegen gibt habe haben hat hatte hatten hier hinter ich ihm ihn ihnen ihr ihre "
    "ihrem ihren ihrer im immer in ins ist ja jede jeder jedes jetzt kann kein keine keinen man "
    "mehr mein meine mich mir mit muss nach nicht nichts nie noch nun nur ob oder ohne schon sehr "
    "sein seine seinen seit sich sie sind so soll sondern um und uns unser unter viel vom von vor "
    "war waren warum was weil wenn wer werden wie wieder wir wird wo wurde zu zum zur zwischen "
    "über",
    suffixes=("", "s", "e", "n", "en", "er"),
    echoes=("Titel:", "Sprachmodell", "Zeichenzahl"),
)
SPANISH = _spaced(
    "es",
    "Español",
    ("«", "»"),
    "a al algo alguna algunos algún allí ante antes aquí así aunque aún bajo bien cada casi como "
    "con contra cual cuando de del desde después donde dos durante e el ella ellas ellos en entre "
    "era eran es esa ese eso esos esta este esto estos está están fue fueron ha había hace hacia "
    "han hasta hay la las le les lo los me mi mientras mis mucho muy más nada ni ninguna ningún "
    "no nos nosotros nunca o otra otro otros para pero poco por porque puede pues que quien qué "
    "se sea ser si sido siempre sin sobre solo son soy su sus sí sólo también tan tanto te tiene "
    "toda todas todo todos tu tus un una unas uno unos usted y ya yo él",
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


@lru_cache(maxsize=64)
def _pattern(expression: str) -> re.Pattern[str]:
    return re.compile(expression)


@lru_cache(maxsize=64)
def foreign_letter(scripts: tuple[str, ...]) -> re.Pattern[str]:
    """An expression that finds a letter of none of some scripts."""
    letters = "".join(LANGUAGES[script].letters for script in scripts)
    return re.compile(f"(?![{letters}])[^\\W\\d_]")


@lru_cache(maxsize=64)
def own_letter(script: str) -> re.Pattern[str]:
    """An expression that finds a letter of a script."""
    return re.compile(f"[{LANGUAGES[script].letters}]")
