"""Recipes of trainings, and what is said before one starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import PlanError
from tests.precompute.export.kit import Place

pytest.importorskip("yaml", reason="PyYAML is missing; pip install 'tsukurioki[train]'")

from precompute.train.needs import Load, Size, TrainingCost, needs, phase
from precompute.train.recipe import DEFAULT, load_recipe

WRONG = {
    "base: x\nstagez: []": "there is no 'stagez'",
    "stages: []": "expected a list of stages",
    "stages: [{name: a}]": "a name, a method and data",
    "stages: [{name: a, data: d, method: rlhf}]": "lora, qlora, full, dpo",
    "stages: [{name: a, data: d, lern: 1}]": "there is no 'lern'",
    "training: {epochs: many}": "a number of at least 0.01",
    "training: {batch: 0}": "a whole number of at least 1",
    "training: {batch: 1.5}": "a whole number",
    "training: {precision: fp8}": "auto, bf16, fp32",
    "training: 3": "expected members with values",
    "lora: {targets: q_proj}": "expected a list of names",
    "dpo: {beta: -1}": "a number of at least",
    "[1, 2]": "expected members with values",
    "a: [": "not YAML",
}


def test_the_default_recipe_has_the_figures_of_the_guide() -> None:
    """LoRA 64/128/0.05 on seven modules, 2e-4, 3 epochs, 4 × 4, warm-up 100, cosine, 2,048; beta 0.1."""
    recipe = load_recipe(None)
    assert (recipe.lora.r, recipe.lora.alpha, recipe.lora.dropout) == (64, 128, 0.05)
    assert len(recipe.lora.targets) == 7
    training = recipe.stages[0].training
    assert (training.learning_rate, training.epochs, training.warmup_steps) == (2e-4, 3, 100)
    assert (training.batch, training.accumulate, training.length) == (4, 4, 2048)
    assert training.schedule == "cosine"
    assert (recipe.dpo.beta, recipe.dpo.loss) == (0.1, "sigmoid")


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_recipe_is_named_in_one_sentence(tmp_path: Path, text: str) -> None:
    """The error has the file, the member and what was expected."""
    path = tmp_path / "recipe.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(PlanError) as caught:
        load_recipe(path)
    assert WRONG[text] in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stage_may_differ_from_the_rest(tmp_path: Path) -> None:
    """A member of a stage counts before that of the recipe, and that before the default."""
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "training: {epochs: 2}\nstages:\n"
        "  - {name: a, data: x}\n  - {name: b, data: y, method: dpo, epochs: 1}\n",
        "utf-8",
    )
    first, second = load_recipe(path).stages
    assert (first.training.epochs, second.training.epochs) == (2, 1)
    assert first.training.batch == 4
    assert second.method == "dpo"


def test_the_recipe_is_written_once(tmp_path: Path) -> None:
    """The default recipe can be had as a file, and no file is overwritten."""
    place = Place(tmp_path, {})
    path = tmp_path / "mine.yaml"
    assert place.run("train", "--write-recipe", path).returncode == 0
    assert path.read_bytes() == DEFAULT.read_bytes()
    done = place.run("train", "--write-recipe", path)
    assert done.returncode == 2
    assert "there is a file already" in done.stderr


def test_more_rows_and_longer_ones_need_more() -> None:
    """Memory grows with batch, length and trained parameters, time with tokens."""
    size = Size(135_000_000, 576, 30, 9, 49_152)
    work = TrainingCost(10_000, 1e11)

    def memory(trained: int, batch: int, length: int) -> int:
        return needs(size, trained, Load(batch, length, 4, 4), work).memory

    assert memory(5_000_000, 1, 256) < memory(5_000_000, 4, 256) < memory(5_000_000, 4, 1024)
    assert memory(5_000_000, 4, 256) < memory(135_000_000, 4, 256)
    twice = needs(size, 5_000_000, Load(1, 256, 4, 4), TrainingCost(20_000, 1e11))
    once = needs(size, 5_000_000, Load(1, 256, 4, 4), work)
    assert twice.seconds == pytest.approx(2 * once.seconds)


@pytest.mark.parametrize(("rows", "share"), [(90, "20%"), (400, "50%"), (4_000, "70%")])
def test_each_phase_says_when_to_stop(rows: int, share: str) -> None:
    """After 100, 500 and 5,000 rows another share of the reference's quality is wanted."""
    assert share in phase(rows)
