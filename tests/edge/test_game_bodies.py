"""Bodies of the game's own client are known without parsing, and only they."""

from __future__ import annotations

import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.edge.fastpath import GameBodies
from app.kinds.cards.dealing import random_play
from tests.kit import poem_deck
from tests.making import game_body

POEM = poem_deck()
BODIES = GameBodies(POEM)


def sent(seed: int) -> bytes:
    """What the client sends for a random play."""
    return orjson.dumps(game_body(POEM, random_play(POEM, random.Random(seed))))


def ids(body: bytes) -> list[tuple[str, str]] | None:
    """The ids that a body is known by."""
    picks = BODIES.picks(body)
    return None if picks is None else [pick.ids for pick, _ in picks]


def parsed(body: bytes) -> list[tuple[str, str]]:
    """The ids that stand in a body, by parsing it."""
    pairs = orjson.loads(body)["selectedPairs"]
    return [(pair["conditionCard"]["id"], pair["selectedPoem"]["id"]) for pair in pairs]


@pytest.mark.parametrize("seed", range(50))
def test_the_games_own_bodies_are_known(seed: int) -> None:
    """A body as the client makes it of dealt cards gives the ids that parsing it gives."""
    body = sent(seed)
    assert ids(body) == parsed(body)


@given(st.integers(0, 9), st.integers(0, 3000), st.binary(max_size=3), st.integers(0, 3))
def test_what_differs_in_a_byte_is_parsed(seed: int, at: int, put: bytes, gone: int) -> None:
    """A body that was changed is not known, or says just what parsing it says."""
    body = sent(seed)
    changed = body[:at] + put + body[at + gone :]
    known = ids(changed)
    assert known is None or known == parsed(changed)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"selectedPairs":[]}', b'{"selectedPairs":[{"conditionCard":"}]}']
)
def test_what_is_no_play_is_parsed(body: bytes) -> None:
    """Nothing, and bodies with no pair, are not known."""
    assert BODIES.picks(body) is None


def test_a_body_with_more_than_the_pairs_is_parsed() -> None:
    """A variant beside the pairs is never passed over."""
    body = orjson.dumps({**orjson.loads(sent(1)), "variant": 1})
    assert BODIES.picks(body) is None
