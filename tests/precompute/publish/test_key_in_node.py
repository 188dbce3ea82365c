"""The static edition's module makes the keys that the server makes."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import xxhash

from app.store.key import Query
from tests.precompute.publish.node import in_node, needs_node
from tests.store.test_key import FIXED, FIXED_HAND_KEY, PICKS

pytestmark = needs_node
HASHED = """
import { xxh3 } from "./key.js";
told = given.map(([text, seed]) => xxh3(Uint8Array.from(Buffer.from(text, "hex")), BigInt(seed)).toString(16));
"""
QUERIES = """
import { query, raw } from "./key.js";
told = given.map(([kind, deck, picks]) => {
  const made = query(deck, picks, kind);
  return [Buffer.from(raw(made.canonical)).toString("hex"), made.key, made.handKey, made.picks];
});
"""


def test_xxh3_is_that_of_the_library(tmp_path: Path) -> None:
    """Texts of every length that the algorithm treats in a way of its own, with and without seed."""
    rng = random.Random(1)
    lengths = [*range(300), *range(1000, 1100, 7), 1024, 1025, 1088, 1089, 2048, 2049, 5000]
    cases = [
        (rng.randbytes(length), seed) for length in lengths for seed in (0, 1, rng.getrandbits(64))
    ]
    told = in_node(tmp_path, HASHED, [[text.hex(), str(seed)] for text, seed in cases])
    assert told == [f"{xxhash.xxh3_128_intdigest(text, seed):x}" for text, seed in cases]


def test_the_fixed_keys_are_the_same_in_the_browser(tmp_path: Path) -> None:
    """The literals of the server's tests are those of the module, and the key of a hand is too."""
    asked = [(query.kind, query.deck, query.picks) for query, _, _ in FIXED]
    told = in_node(tmp_path, QUERIES, [*asked, ("hand", "poem", PICKS)])
    assert [(bytes.fromhex(canonical), key) for canonical, key, _, _ in told[:-1]] == [
        (canonical, key) for _, canonical, key in FIXED
    ]
    assert told[-1][2] == FIXED_HAND_KEY


def test_any_ids_give_the_same_query(tmp_path: Path) -> None:
    """Ids of any letters, composed or not, in any order, of one to twelve cards."""
    rng = random.Random(2)
    letters = "aZ09-:,é" + unicodedata.normalize("NFD", "éが") + "語𠮷👩‍🚀한\U0010ffff"

    def text() -> str:
        return "".join(rng.choices(letters, k=rng.randint(0, 9)))

    cases = [(text(), [(text(), text()) for _ in range(rng.randint(1, 12))]) for _ in range(300)]
    queries = [Query.play(deck, picks) for deck, picks in cases]
    told = in_node(tmp_path, QUERIES, [("hand", deck, picks) for deck, picks in cases])
    assert [(key, hand) for _, key, hand, _ in told] == [(q.key, q.hand_key) for q in queries]
    assert [bytes.fromhex(canonical) for canonical, *_ in told] == [q.canonical for q in queries]
