"""Which known models fit a machine's memory beside the server.

Sizes are those of the files in Ollama's library (https://ollama.com/library) as of 2026-11; a model in
use takes about 1.2 times its file, by the measurement of qwen2.5:0.5b on a server with 2 GB: 398 MB on
disk, 516 MB while it answers, beside 101 MB of Ollama itself.
"""

from __future__ import annotations

from typing import NamedTuple

import psutil
from rich.console import Console

from app.providers.guards import MIB
from precompute.cook.report import table

# MiB: two workers with everything (see docs/performance.md), Ollama itself, the system, and a buffer.
SERVER, OLLAMA, SYSTEM, BUFFER = 131, 101, 300, 50
_IN_USE = 1.3


class Known(NamedTuple):
    """A model's name, the size of its file in MiB, and what it can be used for here."""

    name: str
    file: int
    use: str


MODELS = (
    Known("qwen2.5:0.5b", 398, "varies lines of a chat; most of its own are refused"),
    Known("qwen2.5:1.5b", 986, "short answers of a chat"),
    Known("gemma2:2b", 1_630, "short answers of a chat"),
    Known("llama3.2:3b", 2_020, "answers of a chat in English"),
    Known("phi3:3.8b", 2_176, "answers of a chat in English"),
    Known("qwen2.5:7b", 4_700, "poems in one step; a base for fine-tuning"),
    Known("gemma2:9b", 5_443, "poems in one step"),
    Known("qwen2.5:14b", 9_000, "poems; a base for fine-tuning on a GPU"),
)


def needed(model: Known) -> int:
    """MiB that a machine needs for a model beside the server."""
    return round(model.file * _IN_USE) + SERVER + OLLAMA + SYSTEM + BUFFER


def fit_models(memory_mb: int | None, out: Console) -> None:
    """Print which models fit."""
    memory = memory_mb or psutil.virtual_memory().total // MIB
    rows = [
        (
            model.name,
            (
                f"{'fits' if needed(model) <= memory else 'does not fit':<13}"
                f"{needed(model):>7,} MiB needed   {model.use}"
            ),
        )
        for model in MODELS
    ]
    table(out, f"models on {memory:,} MiB, beside the server, Ollama and the system", rows)
