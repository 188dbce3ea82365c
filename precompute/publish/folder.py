"""The folder of an edition on the disk: files that are never changed, and a few that are.

Files under `files/` are named by their contents, so that a browser or a CDN keeps them for ever. They
are written once, with a gzip and a Brotli form beside them. Each text file at the top is replaced
whole. `sweep` removes what neither this edition nor the one before names.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import brotli

from app.errors import PlanError
from app.store.lock import locked
from precompute.files import write_whole

FILES = "files"
EDITION = "edition.json"
# By this file a folder is known as ours.
_MARK = f"{FILES}/.tsukurioki"
# What is not compressed already.
_TEXTS = frozenset({".json", ".js", ".css", ".html", ".svg", ".txt", ".webmanifest"})
_FORMS = (".gz", ".br")
# From 9 on, Brotli takes ten times as long for a hundredth less.
_GZIP, _BROTLI = 9, 8


class EditionFile(NamedTuple):
    """A file of the edition: its path in the folder, its bytes uncompressed, its name by contents."""

    path: str
    size: int
    digest: str


def digest(data: bytes) -> str:
    """The name of some contents: the first 128 bits of their SHA-256, which browsers can check."""
    return hashlib.sha256(data).hexdigest()[:32]


class EditionFolder:
    """Writes an edition. `new` counts the files that were not there before, `size` their bytes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.new = 0
        self.size = 0
        if root.exists() and not (root / _MARK).exists() and any(root.iterdir()):
            raise PlanError(f"{root}: holds something else than an edition; name another folder")
        (root / FILES).mkdir(parents=True, exist_ok=True)
        # First of all, so that a folder whose first publishing was killed is known too.
        (root / _MARK).touch()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from publishing here. Raises PlanError if one does."""
        try:
            with locked(self.root, wait=False):
                yield
        except BlockingIOError:
            fault = f"{self.root}: another process is publishing here; wait for it"
            raise PlanError(fault) from None

    def add(self, data: bytes, suffix: str) -> EditionFile:
        """Write a file named by its contents, if it is not there yet."""
        name = digest(data)
        path = f"{FILES}/{name}{suffix}"
        self._write(path, data)
        return EditionFile(path, len(data), name)

    def add_all(self, files: Iterable[tuple[str, bytes]]) -> tuple[str, list[EditionFile]]:
        """Write files that name each other, in a folder named by all their contents."""
        found = sorted(files)
        listing = "".join(f"{digest(data)} {name}\n" for name, data in found)
        folder = f"{FILES}/{digest(listing.encode())}"
        kept = [EditionFile(f"{folder}/{name}", len(data), digest(data)) for name, data in found]
        for one, (_, data) in zip(kept, found, strict=True):
            self._write(one.path, data)
        return folder, kept

    def _write(self, path: str, data: bytes) -> None:
        target = self.root / path
        if self._whole(target, len(data)):
            return
        self._put(target, data)
        self.new += 1
        self.size += len(data)

    def _whole(self, target: Path, size: int) -> bool:
        """Whether a file is there, and its compressed forms are."""
        forms = _FORMS if target.suffix in _TEXTS else ()
        there = all(target.with_name(target.name + form).exists() for form in forms)
        return there and target.exists() and target.stat().st_size == size

    def replace(self, path: str, data: bytes) -> bool:
        """Write a file that may change under its name; returns whether it did."""
        target = self.root / path
        if self._whole(target, len(data)) and target.read_bytes() == data:
            return False
        self._put(target, data)
        return True

    def _put(self, target: Path, data: bytes) -> None:
        if target.suffix in _TEXTS:
            # mtime=0: the same contents give the same bytes.
            zipped = gzip.compress(data, _GZIP, mtime=0)
            write_whole(Path(f"{target}.gz"), zipped, sync=False)
            smaller = brotli.compress(data, quality=_BROTLI)  # type: ignore[no-untyped-call]
            write_whole(Path(f"{target}.br"), smaller, sync=False)
        write_whole(target, data, sync=False)

    def sweep(self, named: Iterable[str]) -> int:
        """Remove the files under `files/` that are not named; returns how many."""
        known, removed = {*named, _MARK}, 0
        for path in sorted((self.root / FILES).rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
                continue
            name = path.relative_to(self.root).as_posix()
            if name.removesuffix(_FORMS[0]).removesuffix(_FORMS[1]) not in known:
                path.unlink()
                removed += path.suffix not in _FORMS
        return removed
