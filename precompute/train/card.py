"""The model card of a training: data, figures, licence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from precompute.train.needs import Device, phase
from precompute.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """What a stage learned. `loss` is (step, loss); the validation losses are None without rows."""

    name: str
    method: str
    data: str
    sources: Mapping[str, int]
    licences: Mapping[str, int]
    rows: int
    steps: int
    seconds: float
    trained: int
    loss: Sequence[Sequence[float]]
    validation_before: float | None
    validation_after: float | None


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """A whole training; `model` is the folder of the merged model."""

    recipe: Recipe
    device: Device
    stages: tuple[StageOutcome, ...]
    model: Path


def model_card(outcome: TrainingOutcome) -> str:
    """The card in Markdown, with the head that the Hugging Face Hub reads."""
    licences: Counter[str] = Counter()
    for stage in outcome.stages:
        licences.update(stage.licences)
    recipe = outcome.recipe
    lines = [
        "---",
        f"base_model: {recipe.base}",
        "library_name: transformers",
        "tags: [tsukurioki]",
        "---",
        "",
        f"# A model trained on {recipe.base}",
        "",
        "Made by `precompute train`. Its licence is the base model's, and that of the data:",
        "",
        *(f"- {licence}: {rows:,} rows" for licence, rows in licences.most_common()),
        "",
        (
            f"Trained on {outcome.device.name}. LoRA: rank {recipe.lora.r}, alpha {recipe.lora.alpha}, "
            f"dropout {recipe.lora.dropout:g}; seed {recipe.seed}."
        ),
        "",
        "| stage | method | rows | sources | steps | seconds | loss | held-out loss |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *map(_line, outcome.stages),
        "",
        (
            "Not measured here: whether its answers are good. `precompute evaluate` compares them with a "
            f"reference; {phase(outcome.stages[-1].rows)}."
        ),
        "",
    ]
    return "\n".join(lines)


def _line(stage: StageOutcome) -> str:
    sources = ", ".join(f"{name} {rows:,}" for name, rows in stage.sources.items())
    held_out = "none"
    if stage.validation_before is not None and stage.validation_after is not None:
        held_out = f"{stage.validation_before:.3f} → {stage.validation_after:.3f}"
    loss = f"{stage.loss[0][1]:.3f} → {stage.loss[-1][1]:.3f}" if stage.loss else "none"
    cells = (
        stage.name, stage.method, f"{stage.rows:,}", sources, f"{stage.steps:,}",
        f"{stage.seconds:,.0f}", loss, held_out,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"
