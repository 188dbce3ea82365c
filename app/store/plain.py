"""Opening regular files only."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO


def descriptor(path: str | Path, flags: int) -> int:
    """Open a regular file and return its descriptor.

    Raises OSError, also for anything else at that path: a named pipe would block for ever, and a
    device may have no end.
    """
    opened = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, "is not a file; move it away", str(path))
    return opened


def open_file(path: Path, mode: str, buffering: int = -1) -> BinaryIO:
    """`path.open` in a binary mode, for regular files only. Raises OSError."""
    file: Any = open(path, mode, buffering, opener=descriptor)  # noqa: SIM115  # it is the caller's
    return file  # type: ignore[no-any-return]
