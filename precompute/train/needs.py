"""What a training needs and what there is: memory, time, rows.

Estimates, from the usual counts for transformers: 16 bytes for each trained parameter (weight,
gradient and Adam's two moments in 32 bits), the activations after Korthikanti et al. (Reducing
Activation Recomputation, 2022), and 6 floating-point operations for each parameter and token, 4 where
the weights are frozen (Kaplan et al., Scaling Laws, 2020).
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import psutil

# The phases of the guide: rows, and the share of the reference's quality under which to stop.
PHASES = ((100, 0.20), (500, 0.50), (5_000, 0.70))
FEW = 100
_ADAM = 16
_MATRIX = 1024


class Device(NamedTuple):
    """Where a training runs: "cuda" or "cpu", its name, free memory in bytes, bf16 or not."""

    kind: str
    name: str
    free: int
    bf16: bool


class Size(NamedTuple):
    """A model: all parameters, hidden size, layers, heads, vocabulary."""

    parameters: int
    hidden: int
    layers: int
    heads: int
    vocabulary: int


class Needs(NamedTuple):
    """Bytes of memory, and seconds."""

    memory: int
    seconds: float


def device() -> Device:
    """The first GPU, or the processor."""
    import torch

    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Device("cuda", name, free, torch.cuda.is_bf16_supported())
    name = f"{torch.get_num_threads()} processor threads"
    return Device("cpu", name, psutil.virtual_memory().available, bf16=False)


def size_of(model: Any) -> Size:
    """The size of a transformers model."""
    config = model.config
    return Size(
        model.num_parameters(),
        config.hidden_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.vocab_size,
    )


class Load(NamedTuple):
    """Rows at a time and their tokens; bytes of a weight, and of a number that is computed."""

    batch: int
    length: int
    weight_bytes: float
    number_bytes: int


class TrainingCost(NamedTuple):
    """Tokens over all epochs, and floating-point operations a second."""

    tokens: int
    speed: float


def needs(size: Size, trained: int, load: Load, work: TrainingCost) -> Needs:
    """Memory and time to train `trained` of a model's parameters."""
    tokens = load.batch * load.length
    a_layer = tokens * (34 * size.hidden + 5 * size.heads * load.length) * load.number_bytes / 2
    # Logits, their gradient and the softmax are in 32 bits.
    logits = 3 * 4 * tokens * size.vocabulary
    memory = size.parameters * load.weight_bytes + trained * _ADAM + a_layer * size.layers + logits
    share = 6 if trained == size.parameters else 4
    return Needs(round(memory), share * size.parameters * work.tokens / work.speed)


def speed(where: Device) -> float:
    """Floating-point operations a second, measured by products of matrices for a short moment."""
    import torch

    kind = torch.bfloat16 if where.bf16 else torch.float32
    matrix = torch.randn(_MATRIX, _MATRIX, dtype=kind, device=where.kind)
    begun, products = time.perf_counter(), 0
    while time.perf_counter() - begun < 0.3:
        product = matrix @ matrix
        if where.kind == "cuda":
            torch.cuda.synchronize()
        products += 1
    del product
    measured = products * 2 * _MATRIX**3 / (time.perf_counter() - begun)
    # A training reaches about a third of what single products reach.
    return measured / 3


def phase(rows: int) -> str:
    """What the guide says of so many rows."""
    for most, share in PHASES:
        if rows <= most:
            return (
                f"with {rows:,} rows, give up if evaluate says less than {share:.0%} of the "
                "reference's quality"
            )
    return f"with {rows:,} rows, expect 70% of the reference's quality and more"
