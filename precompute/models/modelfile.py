"""Modelfiles: what Ollama makes a model of.

Ollama's API takes their instructions as members of a request, so that the file is read here.
https://docs.ollama.com/modelfile
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from app.errors import PlanError
from app.kinds.reading import text_of
from precompute.train.merging import modelfile

_INSTRUCTION = re.compile(
    r"^(FROM|SYSTEM|TEMPLATE|PARAMETER|LICENSE|MESSAGE|ADAPTER)\s+", re.IGNORECASE
)
_LONG = '"""'
_STOP = "stop"
# What of a model's folder Ollama needs.
_WEIGHTS = ("*.safetensors", "*.json", "*.gguf", "*.model", "*.jinja")


class Made(NamedTuple):
    """The members of a request that makes a model, and the files that belong to it."""

    arguments: dict[str, Any]
    files: tuple[Path, ...]


def read_modelfile(source: str, system: str = "") -> Made:
    """What to make a model of: a Modelfile, a merged folder, a GGUF file, or a model's name.

    A system text replaces that of the file. Raises PlanError.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _made(modelfile(path, ""), path, system)
    if path.suffix == ".gguf" and path.is_file():
        return _made(f"FROM {path}", path.parent, system)
    if path.is_file():
        return _made(text_of(path), path.parent, system)
    if "/" in source and path.parent.exists() and path.is_absolute():
        raise PlanError(f"{source}: there is no such file")
    return Made({"from_": source} | ({"system": system} if system else {}), ())


def _made(text: str, folder: Path, system: str) -> Made:
    arguments: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    files: tuple[Path, ...] = ()
    for name, value in _instructions(text):
        if name == "FROM":
            base = folder / value if not Path(value).is_absolute() else Path(value)
            if base.exists():
                files = _files_of(base)
            else:
                arguments["from_"] = value
        elif name in ("SYSTEM", "TEMPLATE"):
            arguments[name.lower()] = value
        elif name == "PARAMETER":
            _add(parameters, value)
        else:
            raise PlanError(f"Modelfile: {name} is not supported here; use `ollama create`")
    if not files and "from_" not in arguments:
        raise PlanError("Modelfile: there is no FROM")
    if parameters:
        arguments["parameters"] = parameters
    if system:
        arguments["system"] = system
    return Made(arguments, files)


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Instructions in order; values may stand in three quotation marks over several lines."""
    lines = iter(text.splitlines())
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _INSTRUCTION.match(line)
        if not found:
            raise PlanError(f"Modelfile: line {number} is no instruction: {line[:60]!r}")
        value = line[found.end() :].strip()
        if value.startswith(_LONG):
            value = value.removeprefix(_LONG)
            while _LONG not in value:
                following = next(lines, None)
                if following is None:
                    raise PlanError(f'Modelfile: {found[1]} has no closing """')
                value += "\n" + following
            value = value[: value.index(_LONG)]
        elif len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        yield found[1].upper(), value


def _add(parameters: dict[str, Any], value: str) -> None:
    name, _, given = value.partition(" ")
    given = given.strip().strip('"')
    if name == _STOP:
        parameters.setdefault(_STOP, []).append(given)
        return
    try:
        parameters[name] = float(given) if "." in given else int(given)
    except ValueError:
        parameters[name] = given


def _files_of(base: Path) -> tuple[Path, ...]:
    if base.is_file():
        return (base,)
    files = sorted({path for pattern in _WEIGHTS for path in base.glob(pattern)})
    if not any(path.suffix in (".safetensors", ".gguf") for path in files):
        raise PlanError(f"{base}: no weights here (*.safetensors or *.gguf)")
    return tuple(files)
