"""The same play has the same key and the same text, whatever is changed in how texts are made."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import orjson

from app.kinds.cards.dealing import random_play
from app.kinds.cards.loading import load_deck
from app.kinds.cards.template import FrameTemplate
from tests.making import card, write_deck

FRAMES = {
    "openings": ["朝が来る。", "窓をひらく。", "遠くで誰かが笑い、やがて静かになる。"],
    "links": ["風が通る。", "光が満ちる。", "急ぐわけは、ここにはない。", "影も、線をひく。"],
    "closings": ["帰るたびに、好きになる。", "灯をともす。", "あすの朝も、ここから始まる。"],
}
# Of 2026-11-27, when its choices became those that a browser can make too.
DIGEST = "ca997177086d6e258d1ac058d111f4021a2af093afa31420ed7bb0ce9c881023"


def test_the_template_tier_says_what_it_said(tmp_path: Path) -> None:
    """Keys, titles and texts of 300 plays of a deck in Japanese, by their hash."""
    rng = random.Random(5)
    kana = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもらりるれろ"
    cards = [
        card(n, f"分類{n % 6}", ["".join(rng.choices(kana, k=rng.randint(12, 26))) for _ in "abc"])
        for n in range(12)
    ]
    answer = {"characters": [120, 170], "paragraphs": [3, 4]}
    folder = write_deck(tmp_path / "mine", cards=cards, answer=answer, template=FRAMES)
    deck = load_deck(folder)
    template = FrameTemplate(deck)
    plays = [random_play(deck, rng) for _ in range(300)]
    said = [[play.key, template.frame(play), template.frame(play, 1)] for play in plays]
    assert sum(one is not None for _, one, _ in said) > 250
    assert hashlib.sha256(orjson.dumps(said)).hexdigest() == DIGEST
