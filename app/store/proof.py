"""What spares a large sealed file (see `app.store.sealed`) from being read whole whenever it is opened.

`<name>.proven`, beside the file, says which file it was when its checksum was last found to fit: its
`Identity`, in which boot of the machine. Whoever writes to the file, replaces or copies it gives it
another one: no program can choose the time of change. After another boot the file is read whole once
more, since what was not on the disk yet is lost in a crash, whatever the size and times say. It is on the
disk if it fits then, for which the boot is empty. Where the system does not tell its boot, a file is
always read whole.

Decay is not seen so: pages that the disk gives back otherwise than it got them. LMDB trusts its pages,
and a worker that reads such a page may be killed, once: the one that takes its place reads the file
whole (see `app.edge.serving`).

(The checksum of a sample would not see more: a page of 270,000 is hardly ever in it. Proving the file in
the background after each start was turned down: it reads gigabytes while visitors are served, to find
what `precompute check` finds before the event. To sync it would make a build, or visitors, wait for the
disk: 2 s for a million entries.)
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

import orjson

# Nanoseconds. Within a tick of the system's clock, up to 10 ms, a file can be changed twice without
# getting another time.
SETTLED = 100_000_000
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Identity(NamedTuple):
    """The attributes of a file that change when it is replaced or written to."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """The identity of a file that is open, or of another, from what the system says of it."""
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )


def identity(path: Path) -> Identity | None:
    """The identity of the file at `path`; None if there is none."""
    try:
        return Identity.of(path.stat())
    except OSError:
        return None


def is_proven(path: Path, file: BinaryIO) -> bool:
    """Whether the open file at `path` is the one that was last proven, in this boot or on the disk."""
    known, boot = _kept(path)
    return known == Identity.of(os.fstat(file.fileno())) and boot in ("", _boot())


def remember(path: Path, file: BinaryIO) -> None:
    """Remember that the open file at `path` was proven. Where nothing can be written, it is not."""
    now, boot = Identity.of(os.fstat(file.fileno())), _boot()
    known, before = _kept(path)
    if boot is None:
        return
    outlasted = known == now and before != boot
    with contextlib.suppress(OSError):
        _proof(path).write_bytes(orjson.dumps([list(now), "" if outlasted else boot]))


def _kept(path: Path) -> tuple[Identity | None, str]:
    """Which file was last proven, and in which boot."""
    try:
        known, boot = orjson.loads(_proof(path).read_bytes())
        return Identity(*known), boot
    except (OSError, ValueError, TypeError):
        return None, ""


def forget(path: Path) -> None:
    """Have the file at `path` read whole the next time."""
    with contextlib.suppress(OSError):
        _proof(path).unlink()


def _proof(path: Path) -> Path:
    return path.with_name(f"{path.name}.proven")


def _boot() -> str | None:
    """Which boot of the machine this is; None where the system does not tell."""
    try:
        return _BOOT.read_text("ascii")
    except OSError:
        return None
