"""Every form of export, read by the libraries that trainers read it with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from precompute.export.formats import FORMS
from tests.precompute.export.kit import Place, other, poems

NEEDED = ("datasets", "tokenizers", "transformers", "trl")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.long,
    # The training libraries warn of their own parts.
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} missing: pip install them"),
]
CASES = [*(("poem", form) for form in FORMS), ("harbour", "trl"), ("harbour", "llamafactory")]
# A template as models have them, but refusing what theirs refuse: roles that do not alternate.
TEMPLATE = (
    "{% for m in messages %}{% if m.role not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('role ' ~ m.role) }}{% endif %}<{{ m.role }}>{{ m.content }}</s>"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Each form, of the poem deck with preferences and of a chat deck with circumstances."""
    place = Place(tmp_path_factory.mktemp("loading"), {})
    liked, _ = poems(2)
    title, poem = liked.response["title"], liked.response["poem"]
    turned = {"title": title, "poem": "\n\n".join(reversed(poem.split("\n\n")))}
    place.store(liked, other(liked, turned, variant=1))
    place.vote(liked, "up")
    place.vote(other(liked, turned, variant=1), "down")
    made = {}
    for name, form in FORMS.items():
        validation = ("--validation", 0) if form.pairs else ()
        made["poem", name] = place.export(name, *validation)
        if ("harbour", name) in CASES:
            made["harbour", name] = place.export(name, "--augment", 2, deck="harbour")
    return made


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A tokenizer with a chat template, made here: none is fetched."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>")),
        unk_token="<unk>",
        eos_token="</s>",
    )
    made.chat_template = TEMPLATE
    return made


def _loaded(path: Path, cache: Path) -> Any:
    """A file as the real `datasets` reads it, every row of it."""
    from datasets import load_dataset

    kind = "csv" if path.suffix == ".csv" else "json"
    field = {"field": "conversations"} if path.parent.name.endswith("-conversations") else {}
    return load_dataset(kind, data_files=str(path), split="train", cache_dir=str(cache), **field)


def _messages(form: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row in the members that TRL formats, as each form's trainer maps it."""
    from trl.data_utils import maybe_convert_to_chatml

    if form == "sharegpt":
        # TRL renames the members; the names of roles are the trainer's to map (axolotl, LLaMA-Factory).
        found = maybe_convert_to_chatml({"conversations": row["conversations"]})["messages"]
        roles = {"human": "user", "gpt": "assistant"}
        return {"messages": [{**turn, "role": roles[turn["role"]]} for turn in found]}
    if form == "alpaca":
        history = [text for two in row["history"] for text in two]
        said = [*history, row["instruction"] + row["input"], row["output"]]
        return {
            "messages": [
                {"role": ("user", "assistant")[n % 2], "content": t} for n, t in enumerate(said)
            ]
        }
    if form == "csv":
        asked = [{"role": "user", "content": row["user"]}]
        return {"prompt": asked, "completion": [{"role": "assistant", "content": row["assistant"]}]}
    names = ("messages", "prompt", "completion", "chosen", "rejected", "label")
    if form == "llamafactory" and "chosen" in row:
        return {"prompt": row["messages"], "chosen": [row["chosen"]], "rejected": [row["rejected"]]}
    return {name: row[name] for name in names if name in row}


@pytest.mark.parametrize(("deck", "form"), CASES)
def test_every_form_is_loaded_and_formatted(
    deck: str, form: str, exported: dict[tuple[str, str], Path], tokenizer: Any, tmp_path: Path
) -> None:
    """`datasets` reads every row, TRL takes it for a conversation and sets the answer into a template."""
    from trl.data_utils import apply_chat_template, is_conversational

    skipped = (".metadata.jsonl", "manifest.json", "dataset_info.json", ".yaml")
    files = [p for p in exported[deck, form].iterdir() if not p.name.endswith(skipped)]
    assert any(path.name.startswith("train") for path in files)
    for path in files:
        if path.stat().st_size <= 2:
            # Without groups to hold out, the other side is empty.
            continue
        rows = _loaded(path, tmp_path)
        assert len(rows)
        for number in {0, len(rows) // 2, len(rows) - 1}:
            example = _messages(form, rows[number])
            assert is_conversational(example), path.name
            text = apply_chat_template(example, tokenizer)
            answer = example.get("chosen") or example.get("completion") or example["messages"]
            whole = "".join(str(part) for part in text.values())
            assert answer[-1]["content"] in whole
            assert whole.count("<assistant>") >= 1


def test_preferences_are_unpaired_and_prompts_extracted(
    exported: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    """TRL's own functions make unpaired labels of pairs, and find the prompt that both answers share."""
    from trl.data_utils import extract_prompt, unpair_preference_dataset

    pairs = _loaded(exported["poem", "dpo"] / "train.jsonl", tmp_path).remove_columns("metadata")
    labels = unpair_preference_dataset(pairs)
    assert sorted(labels["label"]) == [False] * len(pairs) + [True] * len(pairs)
    own = _loaded(exported["poem", "kto"] / "train.jsonl", tmp_path)
    assert {(row["completion"][0]["content"], row["label"]) for row in labels} == {
        (row["completion"][0]["content"], row["label"]) for row in own
    }
    row = pairs[0]
    implicit = {name: row["prompt"] + row[name] for name in ("chosen", "rejected")}
    assert extract_prompt(implicit) == row
