"""Near-copies: alike is refused, a shared sentence is not."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from app.kinds.cards.composing import Composer
from app.store.entry import Entry
from app.store.log import LogWriter
from precompute.cook.near_copy import LIMIT, NearCopies, likeness, sketch
from precompute.plan.strategies import plan_stock
from tests.kit import Booth, poem_deck

JOBS = [job for job, _ in zip(plan_stock(poem_deck(), 0, 1), range(54), strict=False)]

COMPOSER = Composer(poem_deck())


def entry(number: int, poem: str) -> Entry:
    query = JOBS[number].query
    return Entry(query.key, 0, query, {"title": "題", "poem": poem}, "gemini", "m", "f", "2026")


def poem(number: int, variant: int = 0) -> str:
    made = COMPOSER.compose(JOBS[number].query, variant)
    assert made
    return made.poem


@settings(deadline=None)
@given(st.text())
def test_a_text_is_like_itself(text: str) -> None:
    """And a sketch can be made of any text."""
    packed = sketch(text)
    runs = len("".join(text.split()).encode("utf-16-le", "surrogatepass")) // 2 - 3
    assert likeness(packed, packed) == (1.0 if runs > 0 else 0.0)


def test_a_changed_word_leaves_a_near_copy() -> None:
    """A few characters changed in two hundred."""
    text = poem(0)
    assert likeness(sketch(text), sketch(text.replace("、", "", 1))) > 0.8


def test_a_shared_sentence_does_not() -> None:
    """Two of eight sentences in common are far below the limit."""
    ours = [
        f"これは{n}番目の文であり、ほかのどこにも出てこない言い方をする{n * 7919}。"
        for n in range(14)
    ]
    a, b = "".join(ours[:8]), "".join(ours[6:14])
    assert likeness(sketch(a), sketch(b)) < LIMIT / 1.5


def test_the_composers_answers_for_one_hand_are_mostly_told_apart() -> None:
    """Of the pairs of 27 answers for one hand, hardly any are near-copies."""
    sketches = [sketch(poem(number)) for number in range(27)]
    alike = sum(likeness(a, b) >= LIMIT for a, b in combinations(sketches, 2))
    assert alike <= 2


def test_it_knows_what_is_in_the_log_and_what_is_about_to_be(tmp_path: Path) -> None:
    """Accepted in this run, cooked in an earlier one: both count, but not for the text itself."""
    text = sketch(poem(0))
    name, other = (JOBS[0].query.key, 0), (JOBS[1].query.key, 0)
    copies = NearCopies(tmp_path, "poem")
    assert copies.examine(text, other) is None
    copies.add(text, name)
    assert copies.examine(text, other)
    assert copies.examine(text, name) is None
    with LogWriter(tmp_path, "poem") as log:
        log.append([entry(0, poem(0))])
    refusal = NearCopies(tmp_path, "poem").examine(text, other)
    assert refusal
    assert refusal.check == "near-copy"
    assert name[0][:8] in refusal.figure
    assert NearCopies(tmp_path, "poem", withdrawn={name}).examine(text, other) is None


def test_a_build_by_the_composer_is_not_held_up(booth: Booth) -> None:
    """Of 270 composed answers few are refused as a copy, each is replaced, and none is left out.

    Plays of one hand that share three phrases may share three sentences; with the same ending that
    is a copy, and another draw gives another title, frame and ending.
    """
    outcome = booth.build(provider="composer", wanted=270)
    assert outcome.status == 0
    assert len({e.response["poem"] for e in booth.entries()}) == 270
    assert len([r for r in booth.refused() if r["refusals"][0].startswith("near-copy")]) < 270 / 8
