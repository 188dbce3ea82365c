"""Loading the model that is trained: a folder, a GGUF file, or a name on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from app.errors import PlanError
from precompute.train.recipe import QLORA


class Base(NamedTuple):
    """A model and its tokenizer."""

    model: Any
    tokenizer: Any


def load_base(name: str, *, bf16: bool, method: str = "") -> Base:
    """Load a model. Raises PlanError."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where, options = _place(name)
    if method == QLORA:
        options |= {"quantization_config": _four_bits()}
    try:
        of_tokenizer = {name: value for name, value in options.items() if name == "gguf_file"}
        tokenizer = AutoTokenizer.from_pretrained(where, **of_tokenizer)
        model = AutoModelForCausalLM.from_pretrained(
            where, dtype=torch.bfloat16 if bf16 else torch.float32, **options
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PlanError(f"the base model {name!r} cannot be loaded: {cause}") from None
    if not tokenizer.chat_template:
        raise PlanError(f"the base model {name!r} has no chat template; choose an instruct model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Base(_plain(model) if "gguf_file" in options else model, tokenizer)


def _place(name: str) -> tuple[str, dict[str, Any]]:
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise PlanError(f"the base model {name!r}: there is no such file")
        return str(path.parent), {"gguf_file": path.name}
    return (str(path), {}) if path.is_dir() else (name, {})


def _four_bits() -> Any:
    """The settings of QLoRA: nf4, double quantisation. Raises PlanError without its library or a GPU."""
    import importlib.util

    import torch

    if not torch.cuda.is_available():
        raise PlanError("method qlora needs a GPU, and there is none here; use lora")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise PlanError(
            "method qlora needs bitsandbytes; run: pip install bitsandbytes, or use lora"
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _plain(model: Any) -> Any:
    """A model read from a GGUF file as one that can be saved: its weights are plain numbers now."""
    from transformers import AutoModelForCausalLM

    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    plain.load_state_dict(model.state_dict())
    return plain
