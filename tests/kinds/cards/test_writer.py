"""The common writer: keyed answers out of whatever came back."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.kinds.cards.writer import WholeWriter
from app.kinds.tasks import Drafts, Task
from app.providers import Completion, NamedModel
from precompute.plan.strategies import plan_stock
from tests.cook import Answer, Cook
from tests.kit import poem_deck

WRITER = WholeWriter(poem_deck(), NamedModel("gemini", "m"))
TASKS = [Task(job.query) for job, _ in zip(plan_stock(poem_deck(), 0, 1), range(4), strict=False)]
NAMES = [task.name for task in TASKS]


def answers() -> list[Answer]:
    prompt = WRITER.prompt(TASKS)
    found: list[Answer] = json.loads(Cook(poem_deck()).reply(prompt.fixed + prompt.asked))[
        "answers"
    ]
    return found


ANSWERS = answers()


def read(text: str, fault: str = "") -> Drafts:
    return WRITER.read(TASKS, Completion(text, "m", None, fault))


def reply(changed: list[Answer]) -> str:
    return json.dumps({"answers": changed}, ensure_ascii=False)


def kept(batch: Drafts) -> list[int]:
    """Which of the four tasks have a draft."""
    return [NAMES.index(draft.task.name) for draft in batch.drafts]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: text,
        lambda text: f"```json\n{text}\n```",
        lambda text: f"承知しました。\n{text}\n以上です。",
        lambda text: text + "\n\n",
    ],
)
def test_a_whole_reply_is_read_whatever_stands_around_it(wrap: Callable[[str], str]) -> None:
    """Fences and pleasantries do not cost answers."""
    batch = read(wrap(reply(ANSWERS)))
    assert kept(batch) == [0, 1, 2, 3]
    assert not batch.lost
    assert not batch.fault


def test_paragraphs_become_a_poem() -> None:
    """The model gives a list of paragraphs, the draft is one text."""
    batch = read(reply(ANSWERS))
    assert batch.drafts[0].response["poem"] == "\n\n".join(ANSWERS[0]["poem"])
    assert set(batch.drafts[0].response) == {"title", "poem"}


def test_order_does_not_matter() -> None:
    """Answers are told apart by their ids."""
    assert kept(read(reply(ANSWERS[::-1]))) == [3, 2, 1, 0]


def test_a_missing_answer_is_noticed() -> None:
    """The others are kept."""
    batch = read(reply(ANSWERS[:1] + ANSWERS[2:]))
    assert kept(batch) == [0, 2, 3]
    assert batch.lost == {NAMES[1]: "missing"}


def test_an_extra_answer_is_noticed() -> None:
    """One with an id that nobody gave is dropped and counted."""
    batch = read(reply([*ANSWERS, ANSWERS[0] | {"id": "9-ffff"}]))
    assert kept(batch) == [0, 1, 2, 3]
    assert batch.strays == 1


def test_a_repeated_answer_is_noticed() -> None:
    """The first of an id is taken, the second counted."""
    batch = read(reply([ANSWERS[0], ANSWERS[0] | {"title": "別"}, *ANSWERS[1:]]))
    assert kept(batch) == [0, 1, 2, 3]
    assert batch.drafts[0].response["title"] == ANSWERS[0]["title"]
    assert batch.strays == 1


def test_swapped_answers_are_noticed() -> None:
    """Two answers under each other's ids give themselves away by their ideas; neither is kept."""
    first, second = ANSWERS[0], ANSWERS[1]
    swapped = [first | {"id": second["id"]}, second | {"id": first["id"]}, *ANSWERS[2:]]
    batch = read(reply(swapped))
    assert kept(batch) == [2, 3]
    assert batch.lost == {NAMES[0]: "swapped", NAMES[1]: "swapped"}


def test_of_a_truncated_reply_the_whole_answers_are_kept() -> None:
    """They are paid for."""
    text = reply(ANSWERS)
    batch = read(text[: int(len(text) * 0.6)], "truncated")
    assert kept(batch) == [0, 1]
    assert batch.fault == "truncated"
    assert set(batch.lost or {}) == set(NAMES[2:])


@pytest.mark.parametrize("text", ["", "すみません、書けません。", "[1, 2]", '{"poems": []}'])
def test_what_has_no_answers_is_unreadable(text: str) -> None:
    """And says so, instead of being an empty list."""
    assert read(text).fault == "unreadable"
    assert read('{"answers": []}').fault == "empty"


@settings(max_examples=200, deadline=None)
@given(st.text() | st.builds(lambda junk: '{"answers": [' + junk, st.text()))
def test_no_text_breaks_it(text: str) -> None:
    """Whatever a model writes, reading it gives a batch."""
    assert not read(text).drafts


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["id", "idea", "title", "poem"]),
            st.sampled_from([ANSWERS[0]["id"], ANSWERS[0]["idea"], 3, None, [], ["a"], {}]),
        )
    )
)
def test_no_shape_breaks_it(shapes: list[dict[str, object]]) -> None:
    """Nor does JSON of another shape; at most the one task that it names gets a draft."""
    assert len(read(reply(shapes)).drafts) <= 1
