"""The types of options and arguments: what click lets pass and a slip of the hand should not."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import click

from app.store.plain import open_file

# Other numbers are counts; beyond this one they are slips, and no arithmetic here is made for them.
_MOST = 1_000_000_000


class _Whole(click.IntRange):
    """Calls itself what a person would: click says "integer range" of a single number."""

    name = "whole number"


def whole(least: int, most: int = _MOST) -> click.IntRange:
    """The type of an option that is a count."""
    return _Whole(least, most)


# Seeds stand in JSON files, of which a whole number has 64 bits.
SEED = _Whole(-(2**63), 2**63 - 1)


class Amount(click.FloatRange):
    """The type of an option that is a finite number: no comparison holds for `nan`, no limit for `inf`."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class Name(click.types.StringParamType):
    """The type of an argument that names something for another program."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        name = str(super().convert(value, param, ctx))
        if not name.strip() or not name.isprintable():
            self.fail(f"{name!r} is no name.", param, ctx)
        return name


class GivenPath(click.Path):
    """The type of a file or a folder; an empty text, as of a variable that is not set, is neither.

    For `Path` it would be the folder in which the command runs.
    """

    def __init__(
        self, *, exists: bool = False, file_okay: bool = True, dir_okay: bool = True
    ) -> None:
        super().__init__(exists, file_okay, dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("it is empty: name a file or a folder.", param, ctx)
        return super().convert(value, param, ctx)


class WrittenFile(GivenPath):
    """The type of a file that the command writes, which is `what` and begins with `begins`.

    It replaces only what it has written before: a slip in a name must cost nobody a file.
    """

    def __init__(self, what: str, begins: bytes) -> None:
        super().__init__(dir_okay=False)
        self._what = what
        self._begins = begins

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path: Path = super().convert(value, param, ctx)
        try:
            if not path.parent.is_dir():
                self.fail(f"{path}: there is no folder {path.parent}.", param, ctx)
            with open_file(path, "rb") as file:
                # An empty file is the name that `mktemp` has reserved.
                if file.read(len(self._begins)) not in (b"", self._begins):
                    fault = f"{path} is there already and is no {self._what}; name another file."
                    self.fail(fault, param, ctx)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.fail(f"{path}: {error.strerror}.", param, ctx)
        return path
