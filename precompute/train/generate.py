"""Answers of a merged model, generated in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from precompute.train.base import load_base
from precompute.train.needs import device


def generate(folder: Path, prompts: Sequence[tuple[str, str]], tokens: int) -> list[str]:
    """The model's most probable answer to each prompt (system text, message). Raises PlanError."""
    import torch

    where = device()
    base = load_base(str(folder), bf16=where.bf16)
    model = base.model.to(where.kind).eval()
    answers = []
    for system, asked in prompts:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": asked}]
        given = base.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(where.kind)
        with torch.no_grad():
            made = model.generate(
                **given,
                max_new_tokens=tokens,
                do_sample=False,
                pad_token_id=base.tokenizer.pad_token_id,
            )
        fresh = made[0][given["input_ids"].shape[1] :]
        answers.append(base.tokenizer.decode(fresh, skip_special_tokens=True).strip())
    return answers
