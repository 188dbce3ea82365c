"""Writes the figures of a run into `docs/performance.md` and `docs/performance.ja.md`.

Each table stands between two comments, `<!-- figures: NAME -->` and `<!-- end -->`, and is written
anew as a whole: no figure there is typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
# The rows of the table of speed in Japanese; a row that is not here keeps its name.
ROWS = {
    "nginx, static file": "nginx、静的ファイル",
    "nginx, static edition: exact": "nginx、静的な版: exact",
    "nginx, static edition: same_hand": "nginx、静的な版: same_hand",
    "a constant, granian: GET": "granian の定数: GET",
    "a constant, granian: POST": "granian の定数: POST",
    "GET a stored answer": "台帳の答えの GET",
    "POST a play: exact": "札を丸ごと送る POST: exact",
    "POST a play: same_hand": "POST: same_hand",
    "POST a play: composed": "POST: composed。取りこぼしとして記す",
    "POST a play: template": "POST: template",
    "POST a chat completion: replayed": "記録した返事の POST",
    "the same, streamed": "同じものをストリームで",
    "GET, not asked lately": "しばらく来ていない GET",
    "POST exact, not asked lately": "しばらく来ていない POST: exact",
    "POST same_hand, not asked lately": "しばらく来ていない POST: same_hand",
    "Flask + dict, gunicorn: GET": "gunicorn に載せた Flask + dict: GET",
    "Flask + dict, gunicorn: POST": "gunicorn に載せた Flask + dict: POST",
    "GPTCache, exact hit": "GPTCache のサーバー、的中(POST)",
    "the same beside 20 streams, 200 slow readers": "同じ exact を、開いたままの会話 20 と、何も読まない客 200 の横で",
}  # fmt: skip
SPEED = {
    "en": (
        "",
        "requests/s",
        "× nginx",
        "processor time, µs",
        "p99 at half the rate, µs",
        "× rivals",
    ),
    "ja": ("", "毎秒", "nginx 比", "CPU 時間 µs", "半分の速さでの p99 µs", "相手との比"),
}
SCALE = {
    "entries": {"en": "entries", "ja": "件数"},
    "build_per_s": {"en": "index built, entries/s", "ja": "索引を作る速さ、件/秒"},
    "index_bytes": {"en": "bytes of the index", "ja": "索引のバイト数"},
    "start_s": {"en": "start to first answer, s", "ja": "起動から最初の答えまで、秒"},
    "start_read_mb": {"en": "read for it, MB", "ja": "そのために読む量、MB"},
    "lookup_us": {"en": "a lookup, µs", "ja": "一度引く時間、µs"},
    "worker_private_mb": {
        "en": "private memory of a worker, MB",
        "ja": "ワーカーだけのメモリー、MB",
    },
    "append_ms": {"en": "adding 1,000 entries, ms", "ja": "千件を足す時間、ms"},
    "seen_ms": {"en": "until a server gives them, ms", "ja": "動いているサーバーに出るまで、ms"},
}
SERVICE = {
    "en": "With everything and two workers a start takes {start_s} s, and the service then {at_start_mb} MB; a Flask application with one route on the same server takes {smallest_start_s} s and {smallest_mb} MB. After requests of all kinds and 300 messages to a character the service takes {service_mb} MB; a worker's own memory is then {worker_private_mb} MB.",
    "ja": "ワーカー二つで全部そろえて、起動に {start_s} 秒、直後のメモリーは {at_start_mb} MB。同じサーバーに、道が一つだけの Flask アプリを載せると {smallest_start_s} 秒と {smallest_mb} MB です。ひととおりのリクエストと、キャラクターへの300 のメッセージのあとは {service_mb} MB。そのときワーカー一つだけのメモリーは {worker_private_mb} MB です。",
}  # fmt: skip
MEASURED = {"en": "Measured on {}.", "ja": "{} に測りました。"}
FAILED = {"en": " ({} failed)", "ja": "(失敗 {})"}


def write(result: Mapping[str, Any], folder: Path = DOCS) -> None:
    """Put what a run has measured in place of what stands there; other tables stay."""
    for language, name in (("en", "performance.md"), ("ja", "performance.ja.md")):
        path = folder / name
        text = path.read_text("utf-8")
        for part, table in (("speed", _speed), ("scale", _scale)):
            if part in result:
                block = table(result[part], language)
                day = MEASURED[language].format(str(result["started"])[:10])
                text = _replaced(text, part, f"{block}\n{day}\n")
        path.write_text(text, "utf-8")


def _replaced(text: str, part: str, block: str) -> str:
    start, end = f"<!-- figures: {part} -->\n", "<!-- end -->"
    found = re.compile(f"{re.escape(start)}.*?{end}", re.DOTALL)
    return found.sub(lambda _: f"{start}{block}{end}", text, count=1)


def _speed(told: Mapping[str, Any], language: str) -> str:
    rows = [
        (
            _named(row, language),
            f"{row['rate']:,}",
            f"{row['ratio']:.2f}" if "ratio" in row else "",
            f"{row['cpu_us']:g}",
            f"{row['p99_us']:,}",
            "" if row["times_rivals"] is None else f"{row['times_rivals']:g}",
        )
        for row in told["rows"]
    ]
    return _table(SPEED[language], rows)


def _named(row: Mapping[str, Any], language: str) -> str:
    name = str(row["name"])
    failed = FAILED[language].format(row["failed"]) if row["failed"] else ""
    return (ROWS.get(name, name) if language == "ja" else name) + failed


def _scale(told: Mapping[str, Any], language: str) -> str:
    head, *rows = (
        (titles[language], *(f"{row[name]:,}" for row in told["rows"]))
        for name, titles in SCALE.items()
    )
    return f"{_table(head, rows)}\n{SERVICE[language].format(**told['service'])}\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
