"""The gate: every named check with what it lets pass and what it refuses, figure and limit named."""

from __future__ import annotations

import unicodedata

import pytest

from app.kinds.cards.deck import Card, Deck, Phrase, Rules
from app.kinds.cards.gate import Gate, ProposedAnswer, cards_given_away, leak_in
from app.kinds.cards.loading import load_deck
from app.kinds.cards.pieces import own_pieces
from app.kinds.cards.template import FrameTemplate
from app.kinds.cards.texts import Texts
from app.kinds.language import JAPANESE, kanji_numerals
from app.store.key import Query
from tests.kit import poem_deck
from tests.making import DECKS

TITLE = "題の一"
CONDITIONS = (
    "線路まで3m、終電は24時",
    "築四十年、壁にヒビ",
    "Ｗｉ-Ｆｉなし",
    "面積は５㎡",
    "墓地が隣",
)
PHRASES = (
    "汽笛が子守歌になる部屋",
    "時を重ねた壁の表情",
    "便りの遅さを愛する暮し",
    "手の届く広さという自由",
    "静けさに囲まれた南窓",
)


def _card(number: int, condition: str, phrase: str, tells: tuple[str, ...]) -> Card:
    raw = {"id": f"c{number}"}
    phrases = (Phrase(f"p{number}", phrase, f"c{number}"),)
    return Card(f"c{number}", f"分類{number}", condition, -3, phrases, tells, raw)


TELLS = (("線路", "終電"), ("ヒビ",), ("Ｗｉ-Ｆｉ",), ("㎡",), ("墓地", "墓"))
CARDS = tuple(map(_card, range(5), CONDITIONS, PHRASES, TELLS))
DECK = Deck(
    id="d",
    name="d",
    language="ja",
    hand_size=5,
    cards=CARDS,
    titles=(TITLE, "題の二"),
    rules=Rules(wording=7),
    groups={},
    template=poem_deck().template,
)
GATE = Gate.of(DECK)
QUERY = Query.play("d", [(c.id, c.phrases[0].id) for c in CARDS])


def text_of(length: int, paragraphs: int = 3) -> str:
    """A poem that breaks no rule, of so many characters without its line breaks."""
    unit = "風はひとつ坂をのぼる。"
    full, rest = divmod(length, len(unit))
    sentences = [unit] * full
    if rest:
        sentences.append("う" * (rest - 1) + "。" if rest > 1 else "。")
    cut = [sentences[i::paragraphs] for i in range(paragraphs)]
    return "\n\n".join("".join(part) for part in cut)


def with_text(text: str) -> str:
    """A poem of legal length that holds this text as a sentence of its own."""
    return f"{text}。\n\n" + text_of(210 - len(text) - 1, 2)


def refusal(poem: str, title: str = TITLE, quoted: tuple[str, ...] = ()) -> tuple[str, str, str]:
    found = GATE.examine(QUERY, {"title": title, "poem": poem}, quoted)
    return (found.check, found.figure, found.limit) if found else ("", "", "")


def test_a_plain_poem_passes() -> None:
    """What breaks no rule is let through, and `refusals` has nothing to say either."""
    response = {"title": TITLE, "poem": text_of(210)}
    assert GATE.examine(QUERY, response) is None
    assert GATE.refusals(QUERY, response) == ()


@pytest.mark.parametrize(
    ("response", "figure"),
    [
        ({}, "nothing"),
        ({"title": TITLE}, "title"),
        ({"title": TITLE, "poem": text_of(210), "note": "x"}, "title, poem, note"),
        ({"title": TITLE, "poem": 7}, "title, poem"),
        ({"title": TITLE, "poem": ""}, "title, poem"),
        ({"title": None, "poem": text_of(210)}, "title, poem"),
        ({"title": TITLE, "poem": [text_of(210)]}, "title, poem"),
    ],
)
def test_an_answer_is_exactly_title_and_poem(response: dict[str, object], figure: str) -> None:
    """A member too few, too many, empty or of another type is refused before anything else."""
    found = GATE.refusals(QUERY, response)
    assert [(r.check, r.figure, r.limit) for r in found] == [
        ("shape", figure, "exactly title and poem")
    ]


@pytest.mark.parametrize("title", ["題の三", "題の一 ", "「題の一」", "題の一。"])
def test_the_title_stands_verbatim_in_the_deck(title: str) -> None:
    """A title that is nearly one of the deck's is refused and named."""
    assert refusal(text_of(210), title) == ("title", title, "a title of the deck, verbatim")


@pytest.mark.parametrize("length", [180, 181, 210, 239, 240])
def test_lengths_within_the_limits_pass(length: int) -> None:
    """Both limits belong to what is allowed; line breaks are not counted."""
    assert refusal(text_of(length)) == ("", "", "")


@pytest.mark.parametrize("length", [1, 179, 241, 400])
def test_lengths_beyond_the_limits_are_refused(length: int) -> None:
    """One character less or more than the limits is refused, with the count."""
    assert refusal(text_of(length)) == ("length", str(length), "180-240 characters")


def test_line_breaks_of_every_kind_are_not_counted() -> None:
    """Three blank lines or Windows line breaks make a poem no longer."""
    assert refusal(text_of(240).replace("\n\n", "\r\n\r\n\r\n\r\n")) == ("", "", "")


@pytest.mark.parametrize("count", [3, 4])
def test_three_or_four_paragraphs_pass(count: int) -> None:
    """A poem has three or four paragraphs."""
    assert refusal(text_of(210, count)) == ("", "", "")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_fewer_or_more_paragraphs_are_refused(count: int) -> None:
    """Two paragraphs or five are refused, with the count."""
    assert refusal(text_of(210, count)) == ("paragraphs", str(count), "3-4")


@pytest.mark.parametrize(("length", "passes"), [(59, True), (60, True), (61, False)])
def test_a_sentence_has_a_limit(length: int, passes: bool) -> None:
    """A sentence of 60 characters passes, of 61 is refused with its length."""
    found = refusal(with_text("う" * length))
    assert found == (("", "", "") if passes else ("sentence", "61", "60 characters"))


@pytest.mark.parametrize(
    ("check", "text", "figure", "limit"),
    [
        ("forbidden", "これが最高の朝", "最高", "no forbidden word"),
        ("forbidden", "完全なる夜", "完全", "no forbidden word"),
        ("address", "あなたの朝", "あなた", "no address word"),
        ("address", "貴方の朝", "貴方", "no address word"),
        ("polite", "ここは丘です", "です", "no polite ending"),
        ("polite", "朝が来ます、そして", "ます", "no polite ending"),
        ("polite", "「朝でしょう」", "でしょう", "no polite ending"),
        ("showcase", "静謐を纏い、静謐を着る", "静謐 ×2", "once in a poem"),
        ("echo", "タイトルは朝", "タイトル", "no echo word"),
        ("echo", "**朝**", "*", "no markup"),
        ("echo", "```", "```", "no markup"),
        ("echo", "朝\\nと夜", "\\n", "no markup"),
        ("leak", "線路のそば", "線路 of c0", "no word that tells a card"),
        ("leak", "二十四の窓", "二十四 of c0", "no word that tells a card"),
        ("leak", "二四の窓", "二四 of c0", "no word that tells a card"),
        ("leak", "２４の窓", "24 of c0", "no word that tells a card"),
        ("leak", "3人の朝", "3 of c0", "no word that tells a card"),
        ("leak", "墓の朝", "墓 of c4", "no word that tells a card"),
        ("leak", "五平方の㎡の部屋", "m2 of c3", "no word that tells a card"),
        (
            "wording",
            "汽笛が子守歌になる町",
            "汽笛が子守歌にな",
            "7 characters of a phrase in a row",
        ),
        ("script", "这里的早晨", "这", "no Chinese-only character"),
        ("script", "风吹过门", "风过门", "no Chinese-only character"),
        ("script", "아침이 온다", "아", "no Hangul"),
        ("script", "ｱ 朝は Morning", "Morning", "no Latin run"),
        ("script", "朝はＭｏｒｎｉｎｇ", "Ｍｏｒｎｉｎｇ", "no Latin run"),
        ("printable", "朝\ud83dの夜", "U+D83D", "characters that can be printed"),
        ("printable", "朝\x00の夜", "U+0000", "characters that can be printed"),
        ("printable", "朝\ufffdの夜", "U+FFFD", "characters that can be printed"),
        ("printable", "朝\u200bの夜", "U+200B", "characters that can be printed"),
    ],
)
def test_a_refusal_names_check_figure_and_limit(
    check: str, text: str, figure: str, limit: str
) -> None:
    """Each check refuses its fault, and says what it saw and what the limit is."""
    assert refusal(with_text(text)) == (check, figure, limit)


@pytest.mark.parametrize(
    "text",
    [
        "二番目の星",
        "ますます深い朝",
        "ですから、という声",
        "静謐を纏い、洗練を着る",
        "三人の朝、五つの窓",
        "124の窓",
        "汽笛が子守歌に似る町",
        "窓辺にAの文字",
        "国と学と体、そして峠と畑と働",
        "彼方の灯",
    ],
)
def test_what_only_looks_like_a_fault_passes(text: str) -> None:
    """ます within a word, a showcase word once, another number, seven characters of a phrase."""
    assert refusal(with_text(text)) == ("", "", "")


def test_a_poem_without_kana_is_refused() -> None:
    """Japanese has kana: a poem of Chinese characters alone is refused."""
    poem = "\n\n".join(["山河風雨天地日月。" * 8] * 3)
    assert refusal(poem) == ("script", "no kana", "Japanese")


def test_another_script_is_a_rule_of_the_deck() -> None:
    """A deck whose letters are any has no check of them; the deck in the box has one."""
    names = [c.name for c in Gate.of(_deck(Rules(script=("any",)))).checks]
    assert "script" not in names
    assert "script" in [c.name for c in GATE.checks]


def _deck(rules: Rules) -> Deck:
    return Deck("d", "d", "en", 5, CARDS, (TITLE,), rules, {})


def test_the_words_of_quoted_phrases_are_the_players() -> None:
    """A phrase that the template tier quotes may leak, forbid, bow and repeat; unquoted it may not."""
    faults = "最高です、線路に静謐と静謐とWi"
    poem = with_text(faults)
    assert refusal(poem, quoted=(faults,)) == ("", "", "")
    assert refusal(poem)[0] == "forbidden"
    kinds = {r.check for r in GATE.refusals(QUERY, {"title": TITLE, "poem": poem})}
    assert kinds == {"forbidden", "showcase", "leak", "script"} | {"polite"}


def test_a_template_poem_quotes_its_phrases_word_for_word() -> None:
    """The wording check exempts the phrases that are quoted, and only those."""
    response = FrameTemplate(DECK).frame(QUERY)
    assert response is not None
    assert all(phrase in response["poem"] for phrase in PHRASES)
    assert GATE.examine(QUERY, response, PHRASES) is None
    unquoted = GATE.examine(QUERY, response, PHRASES[1:])
    assert unquoted is not None
    assert unquoted.check == "wording"


def test_refusals_tells_every_fault() -> None:
    """A model that is asked again is told all that was wrong, in the order of the checks."""
    response = {"title": "x", "poem": "これが最高です。"}
    checks = [r.check for r in GATE.refusals(QUERY, response)]
    assert checks == ["title", "length", "paragraphs", "forbidden", "polite"]
    first = GATE.examine(QUERY, response)
    assert first is not None
    assert str(first) == "title: x (limit: a title of the deck, verbatim)"


def test_a_query_of_another_deck_is_a_programmers_error() -> None:
    """The gate cannot judge an answer for cards that the deck does not have."""
    with pytest.raises(KeyError):
        GATE.examine(Query.play("d", [("c9", "p9")]), {"title": TITLE, "poem": "x"})


@pytest.mark.parametrize(
    ("digits", "kanji"),
    [
        ("9", ()),
        ("10", ("十", "一〇")),
        ("24", ("二十四", "二四")),
        ("110", ("百十", "一一〇")),
        ("1206", ("千二百六", "一二〇六")),
        ("9999", ("九千九百九十九", "九九九九")),
        ("10000", ()),
    ],
)
def test_numbers_in_kanji(digits: str, kanji: tuple[str, ...]) -> None:
    """From ten on a number is known in its kanji writings too."""
    assert kanji_numerals(int(digits)) == kanji


def test_a_telling_word_is_found_in_any_width() -> None:
    """Words and text are compared in one normal form: Ｗｉ-Ｆｉ is Wi-Fi, ㎡ is m2."""
    assert leak_in("Wi-Fiの朝", CARDS[2], JAPANESE) == "Wi-Fi"
    assert leak_in("5m2の朝", CARDS[3], JAPANESE)
    own = ProposedAnswer({"title": TITLE, "poem": "Ｗｉ-Ｆｉ"}, CARDS, ()).own
    assert own == "Ｗｉ-Ｆｉ"


def test_the_checks_of_the_deck_in_the_box(poem: Deck) -> None:
    """The gate is one list of named checks, the cheap and structural ones first."""
    assert [check.name for check in Gate.of(poem).checks] == [
        "declined",
        "title",
        "printable",
        "length",
        "paragraphs",
        "sentence",
        "forbidden",
        "address",
        "polite",
        "showcase",
        "echo",
        "leak",
        "wording",
        "script",
    ]


def test_many_texts_are_searched_as_one_is() -> None:
    """What many texts give away at once is what each gives away alone, for every card and text."""
    deck = load_deck(DECKS / "poem")
    texts = [piece.text for piece in own_pieces(deck.pieces)]
    texts += ["", *deck.titles, *(card.text for card in deck.cards), "九十cmと90㎝、第3の朝"]
    told = cards_given_away(Texts(texts), deck.cards, JAPANESE)
    for text in texts:
        plain = unicodedata.normalize("NFKC", text)
        alone = [bool(leak_in(plain, card, JAPANESE)) for card in deck.cards]
        assert [bool(told[text] >> place & 1) for place in range(len(deck.cards))] == alone
    assert any(told.values())
