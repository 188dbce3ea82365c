"""Commands around fine-tuning: export, train, evaluate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from app.errors import PlanError
from precompute.commands.common import (
    context_of,
    deck_option,
    named_deck,
    needs_extra,
    read_settings,
    refuse_beside,
)
from precompute.commands.types import SEED, Amount, GivenPath, WrittenFile, whole
from precompute.cook.choose import ASKED
from precompute.cook.options import BuildOptions
from precompute.export.checker import check_file
from precompute.export.command import ExportModels, ExportOptions
from precompute.export.command import export as write_export
from precompute.export.formats import FORMS

# Faults of a data set that are listed.
MOST_FINDINGS = 20
# The options of an export that are for the models that it asks.
_LIMITS = ("model", "budget_usd", "rpm", "concurrency")


@click.command()
@deck_option
@click.option("--format", "form", type=click.Choice(FORMS), help="What the trainer reads.")
@click.option("--out", type=GivenPath(), help="The folder to write to.")
@click.option(
    "--check",
    "checked",
    type=GivenPath(exists=True, dir_okay=False),
    help="Check a file in one of the forms, and write nothing.",
)
@click.option("--sources", default="", help="Take these sources only, with commas: written,gemini.")
@click.option("--restricted", is_flag=True, help="Take in sources whose terms may forbid training.")
@click.option(
    "--system",
    type=click.Choice(("short", "whole")),
    default="short",
    show_default=True,
    help="The system text: short leaves the detail to learning.",
)
@click.option(
    "--validation",
    type=Amount(0, 0.9),
    default=0.1,
    show_default=True,
    help="The share of groups that is kept for validation.",
)
@click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Another seed, another split."
)
@click.option(
    "--judge", type=click.Choice(ASKED), help="Compare several answers to a query by this provider."
)
@click.option("--scenarios", type=whole(1), help="Have so many conversations written by --writer.")
@click.option(
    "--turns",
    type=whole(2, 40),
    default=6,
    show_default=True,
    help="Messages of such a conversation, hers included.",
)
@click.option("--writer", type=click.Choice(ASKED), help="Who writes conversations.")
@click.option(
    "--anonymise",
    is_flag=True,
    help="Take out of people's messages what may say who they are, and list it.",
)
@click.option(
    "--augment",
    type=whole(1, 20),
    help="So many more rows of each answer, with an emotion, a relationship and a memory of the deck's "
    "lists in the system text.",
)
@click.option("--model", help="The judge's or the writer's model.")
@click.option("--budget-usd", type=Amount(0), help="The most that each may cost.")
@click.option("--rpm", type=whole(1), help="Requests a minute.")
@click.option("--concurrency", type=whole(1), help="Requests at once.")
def export(
    deck_name: str | None, form: str | None, out: Path | None, checked: Path | None, sources: str,
    judge: str | None, writer: str | None, **asked: Any,
) -> int | None:  # fmt: skip
    """Write a data set for fine-tuning, in a trainer's form."""
    if checked:
        refuse_beside("--check")
        return _check_export(checked)
    if form is None or out is None:
        raise PlanError("say --format and --out, or --check FILE")
    limits = BuildOptions(**{name: asked.pop(name) for name in _LIMITS})
    if not (judge or writer) and limits != BuildOptions():
        raise PlanError(
            "--model, --budget-usd, --rpm and --concurrency are for a model: say --judge or --writer"
        )
    if bool(asked["scenarios"]) != bool(writer):
        raise PlanError("--scenarios says how many conversations --writer writes: say both")
    if judge and form not in ("dpo", "kto", "llamafactory"):
        raise PlanError(f"--judge makes preferences, which --format {form} has none of")
    settings = read_settings()
    words = tuple(word.strip() for word in sources.split(",") if word.strip())
    models = ExportModels(
        replace(limits, provider=judge) if judge else None,
        replace(limits, provider=writer) if writer else None,
    )
    context = context_of(settings, named_deck(settings, deck_name))
    write_export(ExportOptions(form, out, words, **asked), models, context)
    return None


def _check_export(path: Path) -> int:
    found = check_file(path)
    for finding in found.findings[:MOST_FINDINGS]:
        click.echo(f"{path}: {finding}")
    more = len(found.findings) - MOST_FINDINGS
    if more > 0:
        click.echo(f"{path}: and {more:,} more")
    click.echo(f"{found.records:,} records of form {found.form}, {len(found.findings):,} faults")
    return 1 if found.findings else 0


@click.command()
@click.option(
    "--recipe",
    "recipe_path",
    type=GivenPath(exists=True, dir_okay=False),
    help="A YAML file with everything that decides the training; see --write-recipe.",
)
@click.option("--base", help="The model to train, in place of the recipe's.")
@click.option("--out", type=GivenPath(), help="The folder to write to.")
@click.option("--anyway", is_flag=True, help="Train although memory seems too little.")
@click.option(
    "--write-recipe",
    "written",
    type=GivenPath(dir_okay=False),
    help="Write the default recipe into a file, and train nothing.",
)
def train(
    recipe_path: Path | None, base: str | None, out: Path | None, anyway: bool, written: Path | None
) -> None:
    """Train a model on an exported data set, and merge it."""
    with needs_extra("train"):
        from precompute.train.recipe import DEFAULT, load_recipe
        from precompute.train.run import TrainOptions
        from precompute.train.run import train as run_training

        if written:
            refuse_beside("--write-recipe")
            if written.exists():
                raise PlanError(f"{written}: there is a file already")
            written.write_bytes(DEFAULT.read_bytes())
            return
        if out is None:
            raise PlanError("say --out, the folder for the model")
        recipe = load_recipe(recipe_path)
        recipe = replace(recipe, base=base) if base else recipe
        settings = read_settings()
        options = TrainOptions(out, anyway)
        run_training(recipe, options, context_of(settings, named_deck(settings, None)))


@click.command()
@deck_option
@click.option(
    "--data",
    type=GivenPath(exists=True, file_okay=False),
    help="A data set of `export --format trl`, whose held-out rows are asked.",
)
@click.option("--provider", "who", type=click.Choice(("store", *ASKED)), help="Who answers.")
@click.option("--model", help="Its model.")
@click.option(
    "--folder",
    type=GivenPath(exists=True, file_okay=False),
    help="A merged model, in place of a provider.",
)
@click.option("--n", "rows", type=whole(1), default=50, show_default=True, help="How many rows.")
@click.option("--judge", type=click.Choice(ASKED), help="Who compares with the held-out answers.")
@click.option("--judge-model", help="The judge's model.")
@click.option("--budget-usd", type=Amount(0), help="The most that each of both may cost.")
@click.option("--rpm", type=whole(1), help="Requests a minute.")
@click.option(
    "--questionnaire",
    "pages",
    type=WrittenFile("page with questions", b"<!doctype html>"),
    help="Write a page with five questions to each answer, for people.",
)
@click.option(
    "--count",
    "answered",
    multiple=True,
    type=GivenPath(exists=True, dir_okay=False),
    help="Count answers that such a page saved. Once for each file.",
)
def evaluate(
    deck_name: str | None, data: Path | None, who: str | None, model: str | None,
    folder: Path | None, rows: int, judge: str | None, judge_model: str | None,
    budget_usd: float | None, rpm: int | None, pages: Path | None, answered: tuple[Path, ...],
) -> None:  # fmt: skip
    """Measure a model's answers to held-out rows, and compare them."""
    from precompute.train.evaluate import EvaluateOptions, count_pages
    from precompute.train.evaluate import evaluate as run_evaluation

    settings = read_settings()
    if answered:
        refuse_beside("--count", "--deck")
        count_pages(answered, context_of(settings, named_deck(settings, deck_name)))
        return
    if data is None or (who is None) == (folder is None):
        raise PlanError("say --data, and --provider or --folder")
    if model and (folder or who == "store"):
        raise PlanError("--model is for a provider that writes; leave it out")
    if judge_model and not judge:
        raise PlanError("--judge-model is the model of --judge; say both")
    context = context_of(settings, named_deck(settings, deck_name))
    limits = BuildOptions(budget_usd=budget_usd, rpm=rpm)
    candidate = replace(limits, provider=who, model=model)
    judged = replace(limits, provider=judge, model=judge_model) if judge else None
    options = EvaluateOptions(data, who or "", folder, rows, pages)
    with needs_extra("train"):
        run_evaluation(options, candidate, judged, context)


COMMANDS = (export, train, evaluate)
