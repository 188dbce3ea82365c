"""Merging an adapter into its model, and the Modelfile with which Ollama makes a model of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from app.errors import PlanError

PARAMETERS = (("temperature", 0.8), ("top_p", 0.9), ("top_k", 40), ("num_ctx", 4096))
# Ollama's templates are written in Go's language, a model's own in Jinja: found by a mark of each.
_CHATML = """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
_LLAMA3 = """{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>

{{ .Content }}<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>

"""
_GEMMA = """{{- range .Messages }}<start_of_turn>{{ if eq .Role "assistant" }}model{{ else }}user{{ end }}
{{ .Content }}<end_of_turn>
{{ end }}<start_of_turn>model
"""
_MISTRAL = """{{- range .Messages }}{{ if eq .Role "assistant" }} {{ .Content }}</s>\
{{ else }}[INST] {{ .Content }}[/INST]{{ end }}{{ end }}"""
_TEMPLATES = (
    ("<|im_start|>", _CHATML, "<|im_end|>"),
    ("<|start_header_id|>", _LLAMA3, "<|eot_id|>"),
    ("<start_of_turn>", _GEMMA, "<end_of_turn>"),
    ("[INST]", _MISTRAL, "</s>"),
)


def merge(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a trained model as a whole one into a folder."""
    whole = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    whole.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def modelfile(folder: Path, system: str) -> str:
    """A Modelfile for the merged model in a folder. Raises PlanError if there is none."""
    template = _chat_template(folder)
    found = next(((text, stop) for mark, text, stop in _TEMPLATES if mark in template), None)
    lines = [f"FROM {folder.resolve()}"]
    if found:
        text, stop = found
        lines += [f'TEMPLATE """{text}"""', f'PARAMETER stop "{stop}"']
    else:
        lines.append("# The model's chat template is of no known kind: Ollama chooses one.")
    lines += [f"PARAMETER {name} {value}" for name, value in PARAMETERS]
    if system:
        lines.append(f'SYSTEM """{system}"""')
    return "\n".join(lines) + "\n"


def _chat_template(folder: Path) -> str:
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        path = folder / name
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        if name.endswith(".jinja"):
            return text
        template = orjson.loads(text).get("chat_template")
        if isinstance(template, str):
            return template
    if not (folder / "config.json").exists():
        raise PlanError(f"{folder}: no merged model here; name the folder `merged` of a training")
    return ""
