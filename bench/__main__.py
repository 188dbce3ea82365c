"""`python -m bench`: speed side by side, scale, and what of the goals is met.

python -m bench            all of it but the largest sizes; some ten minutes
python -m bench --quick    under two minutes
python -m bench --scale    1,000 to 1,000,000 entries as well, where the disk has the room;
                           --scale 10000000 goes on to that many (45 GB, half an hour)
python -m bench --docs     writes the figures into docs/performance.md and .ja.md as well
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from bench import docs, scale, speed, table

RESULTS = Path(__file__).parent / "results"


def _wanted() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="short rounds, small sizes")
    parser.add_argument(
        "--scale",
        type=int,
        nargs="?",
        const=1_000_000,
        metavar="ENTRIES",
        help="stores of up to this many entries, 1,000,000 if no number is given",
    )
    parser.add_argument("--only", choices=["speed", "scale", "build"], help="only this part")
    parser.add_argument("--docs", action="store_true", help="write the figures into docs/")
    return parser.parse_args()


def main() -> int:
    """Run, print the tables, keep the figures as JSON."""
    wanted = _wanted()
    missing = [name for name in ("wrk", "taskset") if shutil.which(name) is None]
    if missing and wanted.only != "build":
        print(f"bench: missing: {', '.join(missing)}; on Debian: apt-get install wrk util-linux")
        return 2
    told = Console(stderr=True)

    def say(text: str) -> None:
        told.print(text, style="dim", highlight=False)

    # Wide enough for the tables where the output is a file.
    out = Console(width=None if sys.stdout.isatty() else 140)
    start = time.perf_counter()
    result: dict[str, Any] = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    if wanted.only in (None, "speed"):
        rounds, seconds = (3, 1.0) if wanted.quick else (5, 3.0)
        result["speed"] = speed.measure(rounds, seconds, say)
        table.show_speed(result["speed"], out)
    if wanted.only in (None, "scale"):
        result["scale"] = scale.measure(
            _sizes(wanted.scale or (10_000 if wanted.quick else 100_000)), say
        )
        table.show_scale(result["scale"], out)
    if wanted.only in (None, "build"):
        result["build"] = _build_overhead(say)
        table.show_build(result["build"], out)
    result["took_s"] = round(time.perf_counter() - start, 1)
    out.print(f"took {result['took_s']} s", highlight=False)
    _keep(result)
    if wanted.docs:
        docs.write(result)
    return 0


def _sizes(largest: int) -> list[int]:
    """1,000 and each ten times as many, up to the largest."""
    return [10**power for power in range(3, 10) if 10**power <= largest]


def _build_overhead(say: Any) -> dict[str, Any] | None:
    """What cooking costs beside the provider, where that part of the bench is there."""
    if importlib.util.find_spec("bench.build_overhead") is None:
        return None
    say("overhead of a build")
    told: dict[str, Any] = importlib.import_module("bench.build_overhead").run()
    return told


def _keep(result: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result['started'].replace(':', '')}.json"
    path.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    print(f"figures: bench/results/{path.name}")


if __name__ == "__main__":
    sys.exit(main())
