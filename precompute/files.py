"""Writing files so that nobody ever meets half of one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from app.errors import StoreWriteError
from app.store.plain import open_file


def write_whole(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Put a file in the place of another by one rename; its folder is made. Raises StoreWriteError.

    With `sync`, the bytes are on the disk before that. Of a failure nothing is left behind.
    """
    scratch = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise _fault(path, error) from None


def append_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Append lines and sync them to the disk. Raises StoreWriteError."""
    try:
        with open_file(path, "ab") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _fault(path, error) from None


def json_line(value: Mapping[str, Any]) -> bytes:
    """An object as a line of a file."""
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def _fault(path: Path, error: OSError) -> StoreWriteError:
    return StoreWriteError(f"{path}: cannot be written: {error.strerror}; what was there is safe")
