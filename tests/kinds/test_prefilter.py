"""Which expressions can match a text, told by their literals."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from app.kinds.expressions import compiled
from app.kinds.prefilter import Prefilter

SIGNS = "あいう眠a1]}-"


class Drawn(NamedTuple):
    """An expression, and a text that it matches."""

    expression: str
    text: str


def _escaped(sign: str) -> str:
    return f"\\{sign}" if sign in "]}-" else sign


def _runs(signs: str) -> Drawn:
    return Drawn("".join(map(_escaped, signs)), signs)


def _one_of(sign: str, others: str) -> Drawn:
    return Drawn(f"[{''.join(map(_escaped, others + sign))}]", sign)


SINGLE = st.one_of(
    st.text(SIGNS, min_size=1, max_size=4).map(_runs),
    st.builds(_one_of, st.sampled_from(SIGNS), st.text(SIGNS, max_size=9)),
    st.sampled_from(
        (Drawn(".", "ん"), Drawn("[^あ]", "い"), Drawn(r"\d", "7"), Drawn("[ぁ-ん]", "か"), Drawn("[[:alpha:]]", "b"))
    ),
    st.sampled_from((Drawn(r"\?", "?"), Drawn(r"\x{3042}", "あ"), Drawn("(?i:a)", "A"), Drawn("", ""))),
)  # fmt: skip


def _repeated(one: Drawn, how: tuple[str, int]) -> Drawn:
    often, times = how
    return Drawn(f"(?:{one.expression}){often}", one.text * times)


def _first(one: Drawn, other: Drawn, bracket: str) -> Drawn:
    return Drawn(f"({bracket}{other.expression}|{one.expression})", one.text)


def _both(one: Drawn, other: Drawn) -> Drawn:
    return Drawn(one.expression + other.expression, one.text + other.text)


HOW_OFTEN = (
    ("?", 0),
    ("?", 1),
    ("*", 0),
    ("*?", 2),
    ("+", 3),
    ("{2}", 2),
    ("{0,2}", 0),
    ("{1,}", 1),
)
DRAWN = st.recursive(
    SINGLE,
    lambda parts: st.one_of(
        st.builds(_repeated, parts, st.sampled_from(HOW_OFTEN)),
        st.builds(_first, parts, parts, st.sampled_from(("", "?:", "?P<name>"))),
        st.builds(_both, parts, parts),
    ),
    max_leaves=12,
).filter(lambda drawn: drawn.expression.count("?P<name>") < 2)


@given(DRAWN, st.text(SIGNS, max_size=3), st.text(SIGNS, max_size=3))
def test_what_matches_is_possible(drawn: Drawn, before: str, after: str) -> None:
    """An expression is possible in every text in which it matches."""
    expression, text = compiled(drawn.expression), before + drawn.text + after
    assert expression.search(text)
    assert Prefilter([compiled("眠"), expression]).possible(text) - {0} == {1}


def test_what_has_no_literal_of_an_expression_is_impossible() -> None:
    """Only expressions of which a text has a literal are possible, and those of which none is known."""
    expressions = ("(?:眠い|ねむい)(?:よ|な)*$", "^もう(?:寝る|ねる)", "[^あ]{3,}", "[やゆよ]っほ+")
    prefilter = Prefilter(map(compiled, expressions))
    assert prefilter.possible("") == {2}
    assert prefilter.possible("ねむいな") == {0, 2}
    assert prefilter.possible("もう起きた") == {2}
    assert prefilter.possible("もう寝る") == {1, 2}
    assert prefilter.possible("よっほほほ、眠い") == {0, 2, 3}
