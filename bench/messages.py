"""`python -m bench.messages [COUNT]`: what the dearest messages to a character cost.

With `--everyday`, what those cost that people send every day.

Each message has 4,000 characters, is new to the process, and goes the whole way of a `POST /api/chat`
without its HTTP: parsed, read, answered, accounted for. First come messages of what each fragment of the
deck's expressions matches, then COUNT (100,000) of units drawn from expressions, fragments, what is said
every day, and single signs. Printed are milliseconds of the process's processor time, and how much memory it
has taken for them.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from re import _constants as kinds  # type: ignore[attr-defined]  # the parser of `re`, to draw from
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import orjson
import psutil

from app.kinds.chat.deck import load_character_deck
from app.kinds.chat.turn import Reply
from app.kinds.decks import prepare_all
from app.settings import Settings
from app.web.chat import read_turn, reply_json
from app.web.service import Service

DECK = Path(__file__).parents[1] / "data" / "decks" / "chat"
LENGTH = 4000
# Times that something which may be repeated without end is.
_MOST = 3
_SIGNS = "いうえおんのしだですよねっー。！？!?wWｗ草笑疲死( )（）^;_.,、…・〜~\n\t 　abcXYZ０１２①㌔ﷺéが\u0301\u200b😀♂→「」『』"
_PARTED = ("", "", "。", "、", "\n", "！", " ", "…")
_FRAGMENT = re.compile(r"\{\{([A-Z_]+)\}\}")


class Texts:
    """Texts that an expression matches, drawn at random; look-around and ends match nothing."""

    def __init__(self, fragments: dict[str, str], rng: random.Random) -> None:
        self._fragments, self._rng = fragments, rng
        self._parsed: dict[str, Any] = {}

    def of(self, expression: str) -> str:
        """A text."""
        if expression not in self._parsed:
            whole = expression
            while _FRAGMENT.search(whole):
                whole = _FRAGMENT.sub(lambda found: f"(?:{self._fragments[found[1]]})", whole)
            self._parsed[expression] = parser.parse(whole)
        return "".join(self._drawn(self._parsed[expression]))

    def _drawn(self, parts: Iterable[Any]) -> Iterator[str]:
        for kind, value in parts:
            if kind is kinds.LITERAL:
                yield chr(value)
            elif kind is kinds.NOT_LITERAL or kind is kinds.ANY:
                yield self._rng.choice(_SIGNS)
            elif kind is kinds.IN:
                yield self._one_of(value)
            elif kind is kinds.BRANCH:
                yield from self._drawn(self._rng.choice(value[1]))
            elif kind is kinds.SUBPATTERN:
                yield from self._drawn(value[-1])
            elif kind in (kinds.MAX_REPEAT, kinds.MIN_REPEAT):
                least, most, inner = value
                for _ in range(self._rng.randint(least, max(least, min(most, _MOST)))):
                    yield from self._drawn(inner)

    def _one_of(self, members: list[Any]) -> str:
        kind, value = self._rng.choice(members)
        if kind is kinds.LITERAL:
            return chr(value)
        if kind is kinds.RANGE:
            return chr(self._rng.randint(*value))
        return self._rng.choice(_SIGNS)


def messages(count: int, seed: int) -> Iterator[str]:
    """Messages of every fragment, then `count` further ones."""
    rng = random.Random(seed)
    content = orjson.loads((DECK / "intents.json").read_bytes())
    texts = Texts(content["fragments"], rng)
    fragments = list(content["fragments"].values())
    expressions = [text for intent in content["intents"] for text in intent.get("expressions", [])]
    careful = [
        text
        for intent in content["intents"]
        if intent.get("grave") or intent.get("doubt")
        for text in intent["expressions"]
    ]
    said = [
        text
        for one in orjson.loads((DECK / "said.json").read_bytes()).values()
        for text in one["said"]
    ]
    for fragment, parted in itertools.product(fragments, ("", "。", "、", "\n")):
        yield _filled(map(texts.of, itertools.repeat(fragment)), parted)
        yield _filled(itertools.repeat(texts.of(fragment) or "あ"), parted)
    ways: tuple[Callable[[], str], ...] = (
        lambda: texts.of(rng.choice(fragments)),
        lambda: texts.of(rng.choice(expressions)),
        lambda: texts.of(rng.choice(careful)),
        lambda: rng.choice(said),
        lambda: rng.choice(_SIGNS),
    )
    for _ in range(count):
        yield _generated(ways, rng)


def _generated(ways: Sequence[Callable[[], str]], rng: random.Random) -> str:
    """One unit again and again, a few in any order, or ever new ones."""
    own = rng.sample(ways, rng.randint(1, len(ways)))
    new = (rng.choice(own)() for _ in itertools.count())
    parted, kind = rng.choice(_PARTED), rng.random()
    if kind < 0.25:
        unit = "".join(itertools.islice(new, rng.randint(1, 8))) or "あ"
        return rng.choice(_SIGNS) + _filled(itertools.repeat(unit), parted)[1:]
    if kind < 0.5:
        few = list(itertools.islice(new, rng.randint(2, 40)))
        new = (rng.choice(few) + rng.choice(_SIGNS) for _ in itertools.count())
    return _filled(new, parted)


def _filled(units: Iterator[str], parted: str) -> str:
    """Units until the message is long enough."""
    found, length = list[str](), 0
    while length < LENGTH:
        found.append(next(units) + parted or "あ")
        length += len(found[-1])
    return "".join(found)[:LENGTH]


def answered(service: Service, message: str) -> float:
    """Milliseconds of processor time for an answer."""
    served = service.chat("chat")
    body = orjson.dumps({"messages": [{"role": "user", "content": message}]})
    begun = time.process_time()
    turn = read_turn(orjson.loads(body), served)
    *_, reply = served.answer(turn)
    assert isinstance(reply, Reply)
    orjson.dumps(reply_json(turn, reply))
    return (time.process_time() - begun) * 1000


def everyday(count: int, seed: int) -> list[str]:
    """Messages of everyday length that the deck learned its tones from, in any order."""
    rows = map(orjson.loads, (DECK / "tones.jsonl").read_bytes().splitlines())
    said = sorted({row["say"] for row in rows if "say" in row})
    return random.Random(seed).sample(said, min(count, len(said)))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.messages")
    parser.add_argument("count", nargs="?", type=int, default=100_000)
    parser.add_argument("--everyday", action="store_true", help="messages of everyday length")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.read(
            {
                "TSUKURIOKI_STORE": f"{folder}/store",
                "TSUKURIOKI_LEDGER": f"{folder}/ledger",
                "TSUKURIOKI_CHAT_TIERS": "learned,rules,fallback",
            }
        )
        deck = load_character_deck(DECK)
        service = Service(settings, servers=prepare_all({"chat": deck}), run="bench")
        drawn = everyday(asked.count, 11) if asked.everyday else messages(asked.count, 11)
        before = _megabytes()
        costs = [answered(service, message) for message in drawn if message.strip()]
    costs.sort()
    print(f"{len(costs):,} messages" + ("" if asked.everyday else f" of {LENGTH:,} characters"))
    print(
        f"median {statistics.median(costs):.2f} ms, p99 {costs[len(costs) * 99 // 100]:.2f}, most {costs[-1]:.2f}"
    )
    print(f"memory grown by {_megabytes() - before:.0f} MB")
    return 0


def _megabytes() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6


if __name__ == "__main__":
    sys.exit(main())
