"""Files of a deck that were replaced: each stays beside the new one, numbered."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

_KEPT = re.compile(r"\.before(?:-[0-9]+)?$")


def keep(path: Path) -> Path:
    """Copy a file that is about to be replaced; returns the copy."""
    number = 1
    while (kept := path.with_name(f"{path.name}.before-{number}")).exists():
        number += 1
    shutil.copyfile(path, kept)
    return kept


def not_of_the_deck(_folder: str, names: list[str]) -> list[str]:
    """For `shutil.copytree`: such copies, and hidden files, which belong to editors."""
    return [name for name in names if name.startswith(".") or is_kept(Path(name))]


def is_kept(path: Path) -> bool:
    """Whether a file is such a copy, which is no part of the deck."""
    return bool(_KEPT.search(path.name))
