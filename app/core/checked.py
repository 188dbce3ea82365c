"""What was checked once and need not be checked again at every start."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path


class Checked:
    """A file of digests, a line each: what has one of them was found in order before."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def once(self, digest: str, check: Callable[[], None]) -> None:
        """Check what never was. Where that cannot be noted, it is checked the next time, too."""
        if digest in self._known():
            return
        check()
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a") as file:
                file.write(f"{digest}\n")

    def _known(self) -> list[str]:
        with contextlib.suppress(OSError):
            return self._file.read_text(errors="replace").split()
        return []
