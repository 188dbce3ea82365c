"""Comparing poems by readers who are not told whose they are.

    python tools/judge.py draw --from free --n 40 --seed 1 --out plays.json
    python tools/judge.py answers plays.json --by composer --out composed.json
    python tools/judge.py texts plays.json written-by-someone.txt --out whole.json
    python tools/judge.py pairs plays.json composed.json whole.json --seed 1 --out DIR
    python tools/judge.py sum DIR/key.json reader-1.json reader-2.json ...

`draw` takes plays from the written answers (`stock`) or from all plays (`free`), and writes a sheet
for a writer beside them. `pairs` writes `pairs.md`, which readers get, and `key.json`, which they do
not; each poem is set as one paragraph, so that its shape tells nothing. A reader's file has for each
pair {"better": "1", "2" or "=", "marks": {"1": [five from 1 to 5], "2": [...]}, "nonsense": [...]}.
`sum` counts an answer as preferred or drawn, with Wilson's interval at 95 in 100.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from app.kinds.cards.composing import Composer
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.loading import load_deck
from app.kinds.cards.written import written_answers
from app.store.key import Query

DECK = Path(__file__).resolve().parent.parent / "data" / "decks" / "poem"
MARKS = ("one text", "natural", "wit", "phrases found", "would show")
_POEM = re.compile(r"(?m)^# (\S+) (.+)\n((?:(?!#).*\n?)+)")

Answers = dict[str, dict[str, str]]


def draw(deck: Deck, kind: str, count: int, seed: int) -> dict[str, list[Any]]:
    """Plays by short names."""
    rng = random.Random(seed)
    if kind == "stock":
        plays = rng.sample(list(written_answers(deck)), count)
    else:
        plays = [random_play(deck, rng) for _ in range(count)]
    return {f"{kind[0].upper()}{n:02}": list(play.picks) for n, play in enumerate(plays, 1)}


def sheet(deck: Deck, plays: Mapping[str, Any]) -> str:
    """Plays as a person reads them: each card with the phrase that was picked."""
    return "\n\n".join(f"## {name}\n{_picked(deck, picks)}" for name, picks in plays.items())


def _picked(deck: Deck, picks: Sequence[Sequence[str]]) -> str:
    lines = []
    for card, phrase in picks:
        text = deck.phrase_by_id[card, phrase].text
        lines.append(f"- {deck.card_by_id[card].text} → {text}")
    return "\n".join(lines)


def _query(deck: Deck, picks: Sequence[Sequence[str]]) -> Query:
    return Query.play(deck.id, [(card, phrase) for card, phrase in picks])


def answers(deck: Deck, plays: Mapping[str, Any], by: str) -> Answers:
    """The deck's own answers to plays."""
    queries = {name: _query(deck, picks) for name, picks in plays.items()}
    if by == "written":
        written = written_answers(deck)
        return {name: dict(written[query]) for name, query in queries.items()}
    composer = Composer(deck)
    made = {name: composer.compose(query) for name, query in queries.items()}
    return {name: one.response for name, one in made.items() if one}


def texts(deck: Deck, plays: Mapping[str, Any], text: str) -> Answers:
    """Poems written by somebody: lines `# NAME title`, then a line for each paragraph."""
    gate = Gate.of(deck)
    found = {}
    for name, title, body in _POEM.findall(text):
        poem = "\n\n".join(line.strip() for line in body.splitlines() if line.strip())
        found[name] = {"title": title.strip(), "poem": poem}
        for refusal in gate.refusals(_query(deck, plays[name]), found[name]):
            print(f"{name}: {refusal}")
    return found


def pairs(
    deck: Deck, plays: Mapping[str, Any], left: Answers, right: Answers, seed: int
) -> tuple[str, dict[str, str]]:
    """What readers get, and for each pair which of its two is the left one's."""
    rng = random.Random(seed)
    names = [name for name in plays if name in left and name in right]
    rng.shuffle(names)
    key, parts = {}, []
    for name in names:
        key[name] = rng.choice("12")
        two = (left, right) if key[name] == "1" else (right, left)
        shown = [f"### {name}-{n}「{a[name]['title']}」\n{_set(a[name])}" for n, a in zip("12", two, strict=True)]  # fmt: skip
        parts.append(f"## {name}\n{_picked(deck, plays[name])}\n\n" + "\n\n".join(shown))
    return "\n\n".join(parts) + "\n", key


def _set(answer: Mapping[str, str]) -> str:
    return "".join(answer["poem"].split())


def interval(count: int, of: int) -> tuple[float, float]:
    """Wilson's interval of a share, at 95 in 100."""
    if not of:
        return 0.0, 1.0
    z, share = 1.96, count / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return middle - half, middle + half


def summed(key: Mapping[str, str], readers: Mapping[str, Mapping[str, Any]]) -> str:
    """Wins, draws and losses of the left one, for each reader and in all, and the marks of both."""
    lines, all_counts = [], [0, 0, 0]
    marks: dict[str, list[list[float]]] = {"left": [], "right": []}
    nonsense = {"left": 0, "right": 0}
    for reader, told in readers.items():
        counts = [0, 0, 0]
        for name, own in key.items():
            if name not in told:
                continue
            better = str(told[name]["better"])
            counts[1 if better == "=" else 0 if better == own else 2] += 1
            for n in "12":
                side = "left" if n == own else "right"
                marks[side].append(told[name]["marks"][n])
            for one in told[name].get("nonsense", []):
                n = str(one.get("poem", "1"))[-1]
                nonsense["left" if n == own else "right"] += 1
        lines.append(_line(reader, counts))
        all_counts = [a + b for a, b in zip(all_counts, counts, strict=True)]
    lines.append(_line("all", all_counts))
    for side, rows in marks.items():
        means = [statistics.mean(column) for column in zip(*rows, strict=True)]
        figures = [f"{name} {mean:.2f}" for name, mean in zip(MARKS, means, strict=True)]
        lines.append(
            f"{side}: {', '.join(figures)}; sentences not understood: {nonsense[side]} in {len(rows)}"
        )
    return "\n".join(lines)


def _line(name: str, counts: Sequence[int]) -> str:
    won, drawn, lost = counts
    low, high = interval(won + drawn, sum(counts))
    share = (won + drawn) / max(1, sum(counts))
    told = f"left won {won}, drew {drawn}, lost {lost}"
    return f"{name}: {told}; preferred or drawn {share:.0%} ({low:.0%} to {high:.0%})"


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("--deck", type=Path, default=DECK)
    commands = parser.add_subparsers(required=True)
    for name, run in _COMMANDS.items():
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--out", type=Path)
        command.add_argument("--seed", type=int, default=1)
        command.add_argument("--n", type=int, default=40)
        command.add_argument("--from", dest="kind", choices=("stock", "free"), default="free")
        command.add_argument("--by", choices=("written", "composer"), default="composer")
        command.add_argument("files", nargs="*", type=Path)
    given = parser.parse_args()
    given.run(load_deck(given.deck), given)


def _draw(deck: Deck, given: argparse.Namespace) -> None:
    plays = draw(deck, given.kind, given.n, given.seed)
    _write(given.out, plays)
    given.out.with_suffix(".md").write_text(sheet(deck, plays) + "\n", "utf-8")


def _answers(deck: Deck, given: argparse.Namespace) -> None:
    _write(given.out, answers(deck, _read(given.files[0]), given.by))


def _texts(deck: Deck, given: argparse.Namespace) -> None:
    plays, written = given.files
    _write(given.out, texts(deck, _read(plays), written.read_text("utf-8")))


def _pairs(deck: Deck, given: argparse.Namespace) -> None:
    plays, left, right = map(_read, given.files)
    shown, key = pairs(deck, plays, left, right, given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "pairs.md").write_text(shown, "utf-8")
    _write(given.out / "key.json", key)


def _sum(_: Deck, given: argparse.Namespace) -> None:
    key, *readers = given.files
    print(summed(_read(key), {path.stem: _read(path) for path in readers}))


_COMMANDS: Mapping[str, Callable[[Deck, argparse.Namespace], None]] = {
    "draw": _draw,
    "answers": _answers,
    "texts": _texts,
    "pairs": _pairs,
    "sum": _sum,
}


def _read(path: Path) -> Any:
    return orjson.loads(path.read_bytes())


def _write(path: Path, value: object) -> None:
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main()
