"""Learn the hints of danger of a deck: `python -m precompute.learn.hints data/decks/chat`.

The examples are the deck's `danger.jsonl` (`{"text", "grave"}`) and what `said.json` has for all
other intents. `--threshold` says how sure the model must be to make her ask.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from app.kinds.chat.deck import SAID_FILE, load_pattern_deck
from app.kinds.chat.hints import HINTS_FILE, trained

EXAMPLES_FILE = "danger.jsonl"


def examples(folder: Path) -> tuple[list[str], list[str]]:
    """Dangerous messages and others, each in the order of the files."""
    rows = [json.loads(line) for line in (folder / EXAMPLES_FILE).read_text().splitlines()]
    careful = {intent.id for intent in load_pattern_deck(folder).intents if intent.careful}
    dangerous = [row["text"] for row in rows if row["grave"]]
    others = [row["text"] for row in rows if not row["grave"]]
    for intent, said in json.loads((folder / SAID_FILE).read_text()).items():
        (dangerous if intent in careful else others).extend(said["said"])
        others += said["not_said"]
    taken = set(dangerous)
    return dangerous, [text for text in others if text not in taken]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--threshold", type=float, default=-0.25, show_default=True)
def main(folder: Path, threshold: float) -> None:
    """Write the deck's hints."""
    hints = trained(*examples(folder), threshold)
    text = json.dumps(hints._asdict(), ensure_ascii=False, separators=(",", ":"))
    (folder / HINTS_FILE).write_text(text + "\n")
    click.echo(f"{len(hints.weights):,} runs, {len(text.encode()) / 1000:.0f} KB")


if __name__ == "__main__":
    main()
