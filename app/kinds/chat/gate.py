"""The gate of a deck of characters: the rules for lines that nobody has vetted.

The same rules judge cooked lines, replies of models, and cloud answers before they are learned. A
line is refused, and counted in `/stats` under this name, for:

    shape       not being one text on one line
    printable   NUL, U+FFFD, direction marks and other invisible characters
    length      being too short or too long
    brackets    an explanation in brackets or after a label, markup, quotation marks around everything
    echo        repeating the prompt or the user's message
    script      characters of another language: Chinese, Hangul, runs of Latin letters
    language    words of another language of the same letters
    voice       an ending or a word that the character does not use
    greeting    a greeting that the user did not give
    intent      a word that cannot answer the intent, or none of those that do
    time        words for another time of day
    senseless   runs of characters that the deck's lines hardly have, or repetition
    meaning     (a varied line) having little in common with the original; any placeholder but {name}
    promise     something that no character can do, as to wake somebody up
    copy        (at build) being like another line of the character
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.kinds.chat.characters import Character
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.intents import Intent
from app.kinds.chat.lines import ANY, NAME_SLOT, SLOTS, filled
from app.kinds.chat.message import normalise
from app.kinds.detection import UNPRINTABLE, foreign_han, not_in
from app.kinds.lazy_pattern import lazily
from app.kinds.refusal import Refusal
from app.providers.model_json import cleaned_text
from app.store.key import Query

TEXT = "text"
_BRACKETS = lazily(r"[（(［\[【<＜〔{]|```|[*#_|]{2}|^\s*[-・*] |^[^。!！?？]{1,8}[:：]")
_QUOTED_WHOLE = lazily(r"^[「『\"“'].*[」』\"”']$")
_KANA = lazily(r"[ぁ-ゖァ-ヺ]")
_HAN_RUN = lazily(r"[\u3400-\u4dbf\u4e00-\u9fff]{7,}")
_JAPANESE = lazily(r"[ぁ-ゖァ-ヺ\u4e00-\u9fff]")
_LATIN = lazily(r"[A-Za-zＡ-Ｚａ-ｚ]{2,}")
_FOREIGN = lazily(
    r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af\u0400-\u04ff\u0600-\u06ff\u0e00-\u0e7f]"
)
_CHINESE = lazily(
    r"[你您们这吗呢吧啊说谢请爱]|我(?:是|们|的|也|很|在)|不是|什么|非常|可以(?![でにがはも])"
)
_AGAIN = lazily(r"(.{2,12}?)\1{2,}|([^ー…!！?？笑wｗ.。])\2{4,}")
_SIGNS = lazily(r"[\s!-/:-@\[-`{-~！-／：-＠［-｀｛-･、。…「」『』♪♡〜～ー]+")
_ECHO_RUN = 10
_REPEATED = 0.15


def parts(text: str) -> list[str]:
    """What stands between the marks and spaces of a text, normalised."""
    return [part for part in _SIGNS.split(normalise(text)) if part]


def grams(text: str, size: int = 2) -> list[str]:
    """The runs of `size` characters within the parts of a text."""
    return [part[i : i + size] for part in parts(text) for i in range(len(part) - size + 1)]


def likeness(one: str, other: str) -> float:
    """The Jaccard similarity of the runs (`grams`) of two texts, from 0 to 1."""
    a, b = set(grams(one)), set(grams(other))
    return len(a & b) / len(a | b) if a and b else float(one == other)


def repetition(text: str, size: int) -> float:
    """The share of runs of `size` characters that repeat earlier ones, without marks."""
    signs = _SIGNS.sub("", normalise(text))
    runs = [signs[i : i + size] for i in range(len(signs) - size + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


@dataclass(frozen=True)
class Spoken:
    """A line to judge, with its context.

    `said` is the user's message (empty at build), `original` the line that it varies, `time` the
    time of day for which it is (`any`: it must fit all), `prompt` the model's system prompt, and
    `others` lines that it must not copy. `stand_in` replaces {name}. `free` is for a large model's
    answer: it may be twice as long and may have words that the deck's lines do not have.
    """

    text: str
    character: Character
    intents: tuple[Intent, ...] = ()
    said: str = ""
    original: str = ""
    time: str = ANY
    prompt: str = ""
    others: tuple[str, ...] = ()
    stand_in: str = "さくら"
    free: bool = False

    def __post_init__(self) -> None:
        # In one normalisation form, so that words can be found; without lone surrogates, because
        # RE2 searches UTF-8.
        object.__setattr__(self, "text", cleaned_text(self.text))

    @cached_property
    def plain(self) -> str:
        """The line with `stand_in` for {name}, which is in Latin letters and brackets."""
        return self.text.replace(NAME_SLOT, self.stand_in)


Rule = Callable[[Spoken], Refusal | None]


@dataclass(frozen=True)
class ChatGate:
    """The rules of one deck. `examine` and `refusals` take a stored response, `judge` a line."""

    deck: CharacterDeck

    @cached_property
    def familiar(self) -> frozenset[str]:
        """The runs of characters in the deck's own lines."""
        size = 2 if self.deck.rules.script == "ja" else 3
        return frozenset(
            gram for _, _, line in self.deck.all_lines() for gram in grams(line.text, size)
        )

    def spoken(self, text: str, character: Character, **facts: Any) -> Spoken:
        """A line to judge; `facts` are the members of `Spoken`."""
        stand_in = "さくら" if self.deck.rules.script == "ja" else "Robin"
        return Spoken(text, character, stand_in=stand_in, **facts)

    def examine(self, query: Query, response: Mapping[str, object]) -> Refusal | None:
        """The first refusal of a cooked or learned line, None if it passes.

        Raises KeyError if the query is not a pattern of this deck.
        """
        return next(iter(self.refusals(query, response)), None)

    def refusals(self, query: Query, response: Mapping[str, object]) -> tuple[Refusal, ...]:
        """All refusals of a cooked or learned line. Raises KeyError as `examine` does."""
        pattern = dict(query.picks)
        text = response.get(TEXT)
        if not isinstance(text, str) or not text.strip():
            return (Refusal("shape", ", ".join(map(str, response)) or "nothing", "a text"),)
        text = cleaned_text(text)
        character = self.deck.character_by_id[pattern["character"]]
        if "message" in pattern:
            hits = self.deck.recognise(pattern["message"])
            intents = tuple(hit.intent for hit in hits)
            spoken = self.spoken(
                text, character, intents=intents, said=pattern["message"], free=True
            )
            return tuple(self._run(spoken))
        intent = self.deck.intent_by_id[pattern["intent"]]
        others = self.deck.lines[character.id][intent.id]
        spoken = self.spoken(
            text,
            character,
            intents=(intent,),
            time=pattern["time"],
            others=tuple(line.text for line in others if line.text != text),
        )
        return tuple(self._run(spoken))

    def judge(self, spoken: Spoken) -> Refusal | None:
        """The first refusal of a complete line, None if it passes."""
        return next(self._run(spoken), None)

    def judge_part(self, spoken: Spoken) -> Refusal | None:
        """The first refusal of an incomplete line, for what later text cannot correct."""
        rules: tuple[Rule, ...] = (
            _line_break,
            _printable,
            self._too_long,
            _brackets,
            self._script,
            _forbidden,
        )
        return next((refusal for rule in rules if (refusal := rule(spoken))), None)

    def vetted(self, character: Character, text: str) -> Iterator[Refusal]:
        """The refusals of a line by the deck's author, who need not keep to all rules."""
        # An ending may be the name, so that it stays a slot.
        said = filled(text, dict.fromkeys(SLOTS[1:], self.spoken("", character).stand_in))
        spoken = self.spoken(said, character)
        rules: tuple[Rule, ...] = (
            _line_break, _printable, self._length, self._script, self._language, _forbidden, _ending,
            self._promise,
        )  # fmt: skip
        for rule in rules:
            if refusal := rule(spoken):
                yield refusal

    def _run(self, spoken: Spoken) -> Iterator[Refusal]:
        rules: list[Rule] = [
            _line_break,
            _printable,
            self._length,
            _brackets,
            self._echo,
            self._script,
            self._language,
        ]
        rules += [_forbidden, _ending, self._greeting, _intent, self._time, self._sense]
        rules += [self._meaning, self._copy, self._promise]
        for rule in rules:
            if refusal := rule(spoken):
                yield refusal

    def _length(self, spoken: Spoken) -> Refusal | None:
        least, most = self._limits(spoken)
        if least <= len(spoken.plain) <= most:
            return None
        return Refusal("length", str(len(spoken.plain)), f"{least}-{most} characters")

    def _too_long(self, spoken: Spoken) -> Refusal | None:
        return None if len(spoken.plain) <= self._limits(spoken)[1] else self._length(spoken)

    def _limits(self, spoken: Spoken) -> tuple[int, int]:
        least, most = self.deck.rules.characters
        return least, 2 * most if spoken.free else most

    def _echo(self, spoken: Spoken) -> Refusal | None:
        found = next((word for word in self.deck.rules.echo if word in spoken.text), None)
        run = found or _shared_run(spoken.text, spoken.prompt, _ECHO_RUN)
        if not run and len(spoken.said) >= 6 and normalise(spoken.said) in normalise(spoken.text):
            run = spoken.said
        return Refusal("echo", run[:30], "no scrap of the prompt") if run else None

    def _script(self, spoken: Spoken) -> Refusal | None:
        text = spoken.plain
        for name in self._names:
            # A name may be in other letters than the language's.
            text = text.replace(name, " ")
        strange = _FOREIGN.search(text)
        if strange:
            return Refusal("script", strange.group(), f"{self.deck.language} only")
        if self.deck.rules.script == "ja":
            return self._japanese(text)
        strange = _JAPANESE.search(text)
        return Refusal("script", strange.group(), f"{self.deck.language} only") if strange else None

    def _language(self, spoken: Spoken) -> Refusal | None:
        found = not_in(spoken.plain, (self.deck.language,))
        return Refusal("language", found, f"{self.deck.language} only") if found else None

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """The characters' names, the longest first."""
        names = {name for c in self.deck.characters for name in (c.name, *c.names)}
        return tuple(sorted(names, key=len, reverse=True))

    def _japanese(self, text: str) -> Refusal | None:
        chinese = _CHINESE.search(text) or _HAN_RUN.search(text)
        found = foreign_han(text) or (chinese.group() if chinese else "")
        if found:
            return Refusal("script", found[:10], "no Chinese")
        latin = next((w for w in _LATIN.findall(text) if w not in self.deck.rules.latin), None)
        if latin:
            return Refusal("script", latin, "no Latin run")
        if len(text) >= 8 and not _KANA.search(text):
            return Refusal("script", "no kana", "Japanese")
        return None

    def _promise(self, spoken: Spoken) -> Refusal | None:
        """Refuse a promise that no character can keep, as to wake somebody up."""
        promises = self.deck.rules.promises
        found = promises.search(spoken.text) if promises else None
        return Refusal("promise", found.group(), "nothing that she cannot do") if found else None

    def _greeting(self, spoken: Spoken) -> Refusal | None:
        """Refuse a greeting that the user did not give: こんにちは does not answer おはよう."""
        given = {intent.id for intent in spoken.intents}
        allowed = f"{spoken.said}{spoken.original}"
        for name, expression in self.deck.greetings.items():
            found = expression.search(spoken.text)
            if found and name not in given and not expression.search(allowed):
                return Refusal("greeting", found.group(), f"no greeting of {name!r} here")
        return None

    def _time(self, spoken: Spoken) -> Refusal | None:
        """Words for a time of day must fit the line's time, or be in the user's message."""
        own = [self.deck.greetings[i.id] for i in spoken.intents if i.id in self.deck.greetings]
        text = spoken.text
        for greeting in own:
            text = greeting.sub("", text)
        for expression, times in self.deck.time_words:
            found = expression.search(text)
            if (
                found
                and spoken.time not in times
                and not expression.search(spoken.said + spoken.original)
            ):
                return Refusal("time", found.group(), f"not a word for {spoken.time!r}")
        return None

    def _sense(self, spoken: Spoken) -> Refusal | None:
        """Refuse repetition, and runs of characters that the deck's lines do not have."""
        again = _AGAIN.search(spoken.plain)
        if again:
            return Refusal("senseless", again.group()[:20], "not the same again and again")
        repeated = repetition(spoken.plain, 4 if self.deck.rules.script == "ja" else 7)
        if repeated > _REPEATED:
            return Refusal("senseless", f"{repeated:.2f} said again", f"at most {_REPEATED}")
        if spoken.free:
            return None
        size = 2 if self.deck.rules.script == "ja" else 3
        found = grams(spoken.plain, size)
        known = sum(gram in self.familiar for gram in found)
        share = known / len(found) if found else 0.0
        if share < self.deck.rules.familiar:
            return Refusal(
                "senseless", f"{share:.2f} familiar", f"at least {self.deck.rules.familiar}"
            )
        return None

    def _meaning(self, spoken: Spoken) -> Refusal | None:
        """A variation must keep enough of the runs of its original."""
        slots = spoken.text.replace(NAME_SLOT, "")
        if "{" in slots or "}" in slots:
            return Refusal("meaning", slots[:20], f"no slot but {NAME_SLOT}")
        if not spoken.original:
            return None
        original = set(grams(spoken.original))
        kept = len(original & set(grams(spoken.text))) / max(1, len(original))
        if kept < self.deck.rules.kept:
            return Refusal("meaning", f"{kept:.2f} kept", f"at least {self.deck.rules.kept}")
        return None

    def _copy(self, spoken: Spoken) -> Refusal | None:
        for other in spoken.others:
            if likeness(spoken.text, other) >= self.deck.rules.copy:
                return Refusal("copy", other[:30], f"less than {self.deck.rules.copy} alike")
        return None


def _line_break(spoken: Spoken) -> Refusal | None:
    """What comes after a line break is an explanation or a second try."""
    if "\n" in spoken.text.strip() or not spoken.text.strip():
        return Refusal("shape", f"{spoken.text.count(chr(10)) + 1} lines", "one line")
    return None


def _printable(spoken: Spoken) -> Refusal | None:
    found = UNPRINTABLE.search(spoken.text)
    if found is None:
        return None
    return Refusal("printable", f"U+{ord(found.group()):04X}", "characters that can be printed")


def _brackets(spoken: Spoken) -> Refusal | None:
    plain = spoken.plain.strip()
    found = _BRACKETS.search(plain)
    if not found and len(plain) > 1:
        found = _QUOTED_WHOLE.search(plain)
    return Refusal("brackets", found.group()[:20], "no explanation around it") if found else None


def _forbidden(spoken: Spoken) -> Refusal | None:
    for expression in spoken.character.voice.forbidden:
        found = expression.search(spoken.text)
        if found:
            return Refusal("voice", found.group()[:20], f"not how {spoken.character.id} speaks")
    return None


def _ending(spoken: Spoken) -> Refusal | None:
    endings = spoken.character.voice.endings
    if not endings or any(ending.search(spoken.text) for ending in endings):
        return None
    return Refusal("voice", spoken.text[-6:], f"an ending of {spoken.character.id}")


def _intent(spoken: Spoken) -> Refusal | None:
    for intent in spoken.intents:
        found = intent.must_not.search(spoken.text) if intent.must_not else None
        if found:
            return Refusal("intent", found.group(), f"does not answer {intent.id!r}")
    main = spoken.intents[0] if len(spoken.intents) == 1 else None
    if main and main.must and not main.must.search(spoken.text):
        return Refusal("intent", "none of its words", f"an answer to {main.id!r}")
    return None


def _shared_run(text: str, prompt: str, length: int) -> str:
    runs = (text[i : i + length] for i in range(len(text) - length + 1))
    return next((run for run in runs if run in prompt), "")
