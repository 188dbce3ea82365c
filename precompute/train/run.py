"""`precompute train`: the stages of a recipe, each on top of the one before."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from app.errors import PlanError
from precompute.cook.options import BuildContext
from precompute.cook.report import table
from precompute.export.command import MANIFEST
from precompute.train.base import Base, load_base
from precompute.train.card import StageOutcome, TrainingOutcome, model_card
from precompute.train.merging import merge
from precompute.train.needs import (
    FEW,
    Device,
    Load,
    Needs,
    Size,
    TrainingCost,
    device,
    needs,
    phase,
    size_of,
    speed,
)
from precompute.train.picture import draw_losses
from precompute.train.progress import shown_on
from precompute.train.recipe import DPO, FULL, QLORA, Recipe, Stage

MERGED, LOG = "merged", "log.json"
# How often the losses are noted in a stage.
_NOTES = 40


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """`anyway` trains although memory seems too little."""

    out: Path
    anyway: bool = False


@dataclass(frozen=True, slots=True)
class _Data:
    """A stage's rows, by side, and their manifest."""

    train: Any
    validation: Any
    manifest: dict[str, Any]


def train(recipe: Recipe, options: TrainOptions, context: BuildContext) -> None:
    """Train, merge and describe a model. Raises OperatorError.

    A stage that ended earlier in the same folder is not trained again; one that was interrupted goes
    on from its last checkpoint.
    """
    _quiet()
    where = device()
    sets = [_load_data(stage) for stage in recipe.stages]
    options.out.mkdir(parents=True, exist_ok=True)
    outcomes = []
    model_at = recipe.base
    for stage, data in zip(recipe.stages, sets, strict=True):
        folder = options.out / stage.name
        ended = _finished(folder)
        if ended is None:
            base = load_base(model_at, bf16=_bf16(stage, where), method=stage.method)
            ended = _Run(recipe, stage, data, base, where, folder, options, context).run()
        outcomes.append(ended)
        model_at = str(folder / MERGED)
    outcome = TrainingOutcome(recipe, where, tuple(outcomes), Path(model_at))
    card = options.out / "README.md"
    card.write_text(model_card(outcome), encoding="utf-8")
    table(context.out, f"trained on {where.name}", _rows(outcome))


def _quiet() -> None:
    """Let the libraries print nothing: progress is shown here."""
    import datasets
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", module="peft")


def _bf16(stage: Stage, where: Device) -> bool:
    wanted = stage.training.precision
    if wanted == "bf16" and not where.bf16:
        raise PlanError(f"precision bf16: {where.name} does not compute in bf16; use fp32 or auto")
    return where.bf16 and wanted != "fp32"


def _load_data(stage: Stage) -> _Data:
    from datasets import Dataset

    try:
        manifest = orjson.loads((stage.data / MANIFEST).read_bytes())
        sides = {
            side: [
                orjson.loads(line)
                for line in (stage.data / f"{side}.jsonl").read_bytes().splitlines()
            ]
            for side in ("train", "validation")
        }
    except (OSError, orjson.JSONDecodeError) as error:
        raise PlanError(
            f"stage {stage.name}: {stage.data} is no data set of `precompute export --format "
            f"{'dpo' if stage.method == DPO else 'trl'}` ({type(error).__name__})"
        ) from None
    members = ("prompt", "chosen", "rejected") if stage.method == DPO else ("prompt", "completion")
    rows = [row for found in sides.values() for row in found]
    if not sides["train"] or any(set(members) - row.keys() for row in rows):
        form = "dpo" if stage.method == DPO else "trl"
        raise PlanError(
            f"stage {stage.name}: {stage.data} has no rows with {', '.join(members)}; "
            f"export it with --format {form}"
        )
    train, validation = (
        Dataset.from_list([{name: row[name] for name in members} for row in sides[side]])
        if sides[side]
        else None
        for side in ("train", "validation")
    )
    return _Data(train, validation, manifest)


def _finished(folder: Path) -> StageOutcome | None:
    """The outcome of a stage that ended in this folder; None if none did."""
    path = folder / LOG
    if not path.exists() or not (folder / MERGED / "config.json").exists():
        return None
    return StageOutcome(**orjson.loads(path.read_bytes()))


@dataclass
class _Run:
    """One stage."""

    recipe: Recipe
    stage: Stage
    data: _Data
    base: Base
    where: Device
    folder: Path
    options: TrainOptions
    context: BuildContext

    def __post_init__(self) -> None:
        self._bf16 = _bf16(self.stage, self.where)
        # Before an adapter is added to it.
        self._size = size_of(self.base.model)

    def run(self) -> StageOutcome:
        """Train, merge the adapter, and keep the losses. Raises PlanError if memory is too little."""
        trainer = self._trainer()
        trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
        self._check(trained)
        before = trainer.evaluate()["eval_loss"] if self.data.validation else None
        checkpoint = _last_checkpoint(self.folder)
        if checkpoint:
            self.context.note(f"going on from {checkpoint}")
        result = trainer.train(resume_from_checkpoint=checkpoint)
        after = trainer.evaluate()["eval_loss"] if self.data.validation else None
        losses = [
            (entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry
        ]
        validation = [
            (entry["step"], entry["eval_loss"])
            for entry in trainer.state.log_history
            if "eval_loss" in entry
        ]
        picture = draw_losses(self.stage.name, losses, validation)
        (self.folder / "loss.svg").write_text(picture, encoding="utf-8")
        merge(trainer.model, self.base.tokenizer, self.folder / MERGED)
        outcome = StageOutcome(
            name=self.stage.name,
            method=self.stage.method,
            data=str(self.stage.data),
            sources=self.data.manifest.get("sources", {}),
            licences=self.data.manifest.get("licences", {}),
            rows=len(self.data.train),
            steps=trainer.state.global_step,
            seconds=round(result.metrics["train_runtime"], 1),
            trained=trained,
            loss=losses,
            validation_before=before,
            validation_after=after,
        )
        (self.folder / LOG).write_bytes(orjson.dumps(outcome))
        return outcome

    def _tokens(self) -> tuple[int, int]:
        """Tokens of all rows, and of the longest, each cut to the recipe's length."""
        most = self.stage.training.length
        counts = [
            min(most, len(self.base.tokenizer.apply_chat_template(_messages(row))["input_ids"]))
            for row in self.data.train
        ]
        return sum(counts), max(counts)

    def _check(self, trained: int) -> None:
        """Say what the stage needs. Raises PlanError if memory is too little."""
        training = self.stage.training
        tokens, longest = self._tokens()
        number = 2 if self._bf16 else 4
        weight = 0.55 if self.stage.method == QLORA else number
        size = self._size
        pairs = 2 if self.stage.method == DPO else 1
        load = Load(training.batch * pairs, longest, weight, number)
        work = TrainingCost(round(tokens * pairs * training.epochs), speed(self.where))
        need = needs(size, trained, load, work)
        self.context.note(self._sentence(size, trained, need, tokens))
        rows = len(self.data.train)
        if rows <= FEW:
            self.context.note(
                f"{rows} rows are too few to judge by; take this as a trial of the way"
            )
        if need.memory > self.where.free and not self.options.anyway:
            raise PlanError(
                f"stage {self.stage.name} needs about {need.memory / 1e9:.1f} GB, "
                f"{self.where.free / 1e9:.1f} GB are free on {self.where.name}; make batch or "
                "length smaller, choose a smaller base, or say --anyway"
            )

    def _sentence(self, size: Size, trained: int, need: Needs, tokens: int) -> str:
        return (
            f"stage {self.stage.name}: {len(self.data.train):,} rows, {tokens:,} tokens; "
            f"{trained / 1e6:.1f} of {size.parameters / 1e6:.0f} million parameters are trained; "
            f"about {need.memory / 1e9:.1f} GB of memory ({self.where.free / 1e9:.1f} free on "
            f"{self.where.name}) and at least {max(need.seconds / 60, 0.1):.1f} min; "
            f"{phase(len(self.data.train))}"
        )

    def _trainer(self) -> Any:
        from transformers import PrinterCallback
        from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

        dpo = self.stage.method == DPO
        shared = {
            "model": self.base.model,
            "train_dataset": self.data.train,
            "eval_dataset": self.data.validation,
            "processing_class": self.base.tokenizer,
            "peft_config": None if self.stage.method == FULL else self._adapter(),
            "callbacks": [shown_on(self.context.err)],
        }
        if dpo:
            own = {"beta": self.recipe.dpo.beta, "loss_type": self.recipe.dpo.loss}
            trainer = DPOTrainer(args=DPOConfig(**self._arguments(), **own), **shared)
        else:
            trainer = SFTTrainer(args=SFTConfig(**self._arguments()), **shared)
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _adapter(self) -> Any:
        from peft import LoraConfig

        lora = self.recipe.lora
        return LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(lora.targets),
            task_type="CAUSAL_LM",
        )

    def _arguments(self) -> dict[str, Any]:
        training = self.stage.training
        a_step = training.batch * training.accumulate
        steps = max(1, round(len(self.data.train) * training.epochs / a_step))
        every = max(1, steps // _NOTES)
        evaluated = self.data.validation is not None
        return {
            "output_dir": str(self.folder),
            "learning_rate": training.learning_rate,
            "num_train_epochs": training.epochs,
            "per_device_train_batch_size": training.batch,
            "per_device_eval_batch_size": training.batch,
            "gradient_accumulation_steps": training.accumulate,
            "warmup_steps": min(training.warmup_steps, steps // 10),
            "lr_scheduler_type": training.schedule,
            "max_length": training.length,
            "bf16": self._bf16,
            "use_cpu": self.where.kind == "cpu",
            "seed": self.recipe.seed,
            "logging_steps": every,
            "eval_strategy": "steps" if evaluated else "no",
            "eval_steps": max(1, steps // 5),
            "save_strategy": "steps",
            "save_steps": max(1, steps // 5),
            "save_total_limit": 1,
            "report_to": [],
            "disable_tqdm": True,
            # On a processor it would only cost time.
            "gradient_checkpointing": self.where.kind == "cuda" and self.stage.method == QLORA,
            "dataloader_pin_memory": self.where.kind == "cuda",
        }


def _messages(row: dict[str, Any]) -> list[dict[str, str]]:
    answer = row["completion"] if "completion" in row else row["chosen"]
    messages: list[dict[str, str]] = [*row["prompt"], *answer]
    return messages


def _last_checkpoint(folder: Path) -> str | None:
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    return str(found[-1]) if found else None


def _rows(outcome: TrainingOutcome) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for stage in outcome.stages:
        first, last = stage.loss[0][1], stage.loss[-1][1]
        rows.append((f"{stage.name}: loss", f"{first:.3f} → {last:.3f}, {stage.steps:,} steps"))
        if stage.validation_before is not None and stage.validation_after is not None:
            both = f"{stage.validation_before:.3f} → {stage.validation_after:.3f}"
            rows.append((f"{stage.name}: held-out rows", both))
        rows.append((f"{stage.name}: time", f"{stage.seconds:,.0f} s"))
    rows.append(("model", outcome.model))
    return rows
