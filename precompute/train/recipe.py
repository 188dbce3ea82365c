"""Recipes: everything that decides a training, in one YAML file.

The defaults are those of `recipe.yaml`. They follow the common practice for adapters (Hu et al., LoRA,
2021; Dettmers et al., QLoRA, 2023) and for preferences (Rafailov et al., DPO, 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from app.errors import PlanError
from precompute.commands.common import yaml_of

DEFAULT = Path(__file__).with_name("recipe.yaml")
LORA, QLORA, FULL, DPO = "lora", "qlora", "full", "dpo"
METHODS = (LORA, QLORA, FULL, DPO)
SCHEDULES = ("cosine", "linear", "constant")
PRECISIONS = ("auto", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class Training:
    """`batch` rows at a time, `accumulate` times a step; `length` is in tokens."""

    learning_rate: float
    epochs: float
    batch: int
    accumulate: int
    warmup_steps: int
    schedule: str
    length: int
    precision: str


@dataclass(frozen=True, slots=True)
class Lora:
    """Rank, scale and dropout of the adapter, and the modules that get one."""

    r: int
    alpha: int
    dropout: float
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dpo:
    """DPO's beta and loss."""

    beta: float
    loss: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One run over one data set."""

    name: str
    method: str
    data: Path
    training: Training


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole training."""

    base: str
    seed: int
    stages: tuple[Stage, ...]
    lora: Lora
    dpo: Dpo


T = TypeVar("T")


def load_recipe(path: Path | None) -> Recipe:
    """Read a recipe; what it leaves out is as in the default one. Raises PlanError."""
    defaults = _read(DEFAULT)
    given = _read(path) if path else {}
    where = str(path or DEFAULT)
    both = _object(where, given, defaults)
    parts = {
        name: _object(f"{where}: {name}", both[name], defaults[name])
        for name in ("training", "lora", "dpo")
    }
    return Recipe(
        base=str(both["base"]),
        seed=_number(where, "seed", both["seed"], int, 0),
        stages=_stages(where, both["stages"], parts["training"]),
        lora=_lora(where, parts["lora"]),
        dpo=Dpo(
            _number(where, "dpo beta", parts["dpo"]["beta"], float, 1e-6), str(parts["dpo"]["loss"])
        ),
    )


def _read(path: Path) -> dict[str, Any]:
    value = yaml_of(path)
    if not isinstance(value, dict):
        raise PlanError(f"{path}: expected members with values, as in {DEFAULT}")
    return value


def _object(place: str, value: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """An object with known members; what it leaves out is as in `defaults`."""
    if not isinstance(value, dict):
        raise PlanError(f"{place}: expected members with values")
    strange = sorted(set(value) - set(defaults))
    if strange:
        raise PlanError(f"{place}: there is no {strange[0]!r}; known: {', '.join(defaults)}")
    return {**defaults, **value}


def _stages(where: str, value: Any, training: Mapping[str, Any]) -> tuple[Stage, ...]:
    if not isinstance(value, list) or not value:
        raise PlanError(f"{where}: stages: expected a list of stages")
    return tuple(_stage(where, f"stage {n}", raw, training) for n, raw in enumerate(value, 1))


def _stage(where: str, place: str, raw: Any, training: Mapping[str, Any]) -> Stage:
    own = {"name", "method", "data"}
    stage = _object(f"{where}: {place}", raw, {**training, "name": "", "method": LORA, "data": ""})
    values = {name: value for name, value in stage.items() if name not in own}
    if not stage["name"] or not stage["data"]:
        raise PlanError(f"{where}: {place}: a stage has a name, a method and data")
    return Stage(
        name=str(stage["name"]),
        method=_one_of(where, f"{place} method", stage["method"], METHODS),
        data=Path(str(stage["data"])).expanduser(),
        training=_training(where, place, values),
    )


def _training(where: str, place: str, values: Mapping[str, Any]) -> Training:
    least = {"learning_rate": 1e-9, "epochs": 0.01, "warmup_steps": 0}
    made: dict[str, Any] = {}
    for field in fields(Training):
        name, at = field.name, f"{place} {field.name}"
        if name == "schedule":
            made[name] = _one_of(where, at, values[name], SCHEDULES)
        elif name == "precision":
            made[name] = _one_of(where, at, values[name], PRECISIONS)
        else:
            kind = float if name in ("learning_rate", "epochs") else int
            made[name] = _number(where, at, values[name], kind, least.get(name, 1))
    return Training(**made)


def _lora(where: str, values: Mapping[str, Any]) -> Lora:
    targets = values["targets"]
    if not isinstance(targets, list) or not all(isinstance(name, str) for name in targets):
        raise PlanError(f"{where}: lora targets: expected a list of names of modules")
    return Lora(
        _number(where, "lora r", values["r"], int, 1),
        _number(where, "lora alpha", values["alpha"], int, 1),
        _number(where, "lora dropout", values["dropout"], float, 0),
        tuple(targets),
    )


def _number(where: str, place: str, value: Any, kind: type[T], least: float) -> T:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or value < least or (kind is int and value != int(value)):
        what = "a whole number" if kind is int else "a number"
        raise PlanError(f"{where}: {place}: expected {what} of at least {least:g}, not {value!r}")
    return kind(value)  # type: ignore[call-arg]


def _one_of(where: str, place: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise PlanError(f"{where}: {place}: expected one of {', '.join(known)}, not {value!r}")
    return str(value)
