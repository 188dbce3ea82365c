"""The folder where bundles are unpacked, and the links that say which release is current.

    releases/<digest>/      a bundle's members, named by the first digits of its manifest's SHA-256;
                            with -2, -3 … if the same bundle was unpacked again
    current                 a link to the current release: `TSUKURIOKI_DATA=<place>/current/data`
    previous                a link to the one before, for `rollback`
    ledger/                 the records of events, shared by all releases

The next unpack removes releases that neither link names, and what a killed unpack left.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import BundleError
from app.store.lock import locked

_OURS = re.compile(r"\.new-.+|[0-9a-f]{16}(-[0-9]+)?")


class Place:
    """A folder with releases. All methods but `locked` need its lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._releases = folder / "releases"
        self._current = folder / "current"
        self._previous = folder / "previous"

    @contextmanager
    def locked(self, *, create: bool = False) -> Iterator[Place]:
        """Lock the folder. Raises BundleError if another process has it, or there is no folder.

        Files made meanwhile are readable by all users, because the service may be another user.
        """
        if not create and not self._releases.is_dir():
            raise BundleError(f"{self._folder}: no bundle was unpacked here")
        before = os.umask(0o022)
        try:
            if create:
                self._releases.mkdir(parents=True, exist_ok=True)
            with locked(self._folder, wait=False):
                yield self
        except BlockingIOError:
            raise BundleError(
                f"{self._folder}: another process is unpacking here; wait for it"
            ) from None
        except OSError as error:
            raise BundleError(f"{self._folder}: cannot be written: {error.strerror}") from None
        finally:
            os.umask(before)

    @contextmanager
    def new_release(self) -> Iterator[Path]:
        """An empty folder to unpack into; removed afterwards unless it was installed."""
        self._sweep()
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=self._releases))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def install(self, scratch: Path, name: str) -> Path:
        """Name a new release, make it current and remove old ones; returns its folder."""
        ledger = self._folder / "ledger"
        ledger.mkdir(exist_ok=True)
        (scratch / "data" / "ledger").symlink_to(Path("../../../ledger"))
        _make_readable(scratch)
        names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
        release = next(p for p in map(self._releases.joinpath, names) if not os.path.lexists(p))
        scratch.rename(release)
        _sync(self._releases)
        self._switch(release)
        self._sweep()
        return release

    def _switch(self, release: Path) -> None:
        old = self._target(self._current)
        if old and old.name[:16] != release.name[:16]:
            self._point(self._previous, old)
        self._point(self._current, release)

    def rollback(self) -> Path:
        """Make the previous release current; returns its folder. Raises BundleError without one."""
        previous, current = self._target(self._previous), self._target(self._current)
        if previous is None or previous == current:
            raise BundleError(f"{self._folder}: there is no earlier release to return to")
        self._point(self._current, previous)
        if current:
            self._point(self._previous, current)
        return previous

    def _target(self, link: Path) -> Path | None:
        """The release to which a link points, None if there is none."""
        release = self._releases / link.readlink().name if link.is_symlink() else None
        return release if release and release.is_dir() else None

    def _point(self, link: Path, release: Path) -> None:
        scratch = link.with_name(f".{link.name}.new")
        scratch.unlink(missing_ok=True)
        scratch.symlink_to(release.relative_to(self._folder))
        scratch.replace(link)
        _sync(self._folder)

    def _sweep(self) -> None:
        kept = {self._target(self._current), self._target(self._previous)}
        for path in self._releases.iterdir():
            if path not in kept and _OURS.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
        for link in (self._current, self._previous):
            link.with_name(f".{link.name}.new").unlink(missing_ok=True)


def access_notes(folder: Path) -> list[str]:
    """What keeps another user, as whom the service may run, from reading or writing a place."""
    ledger = folder.resolve() / "ledger"
    notes = [f"if the service is another user: chown -R THAT-USER {ledger}, to let it write there"]
    closed = [str(p) for p in ledger.parents if not p.stat().st_mode & stat.S_IXOTH]
    if closed:
        notes.append(
            f"other users cannot enter {', '.join(closed)}: chmod o+x, or unpack elsewhere"
        )
    return notes


def _make_readable(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
            if path.is_dir():
                _sync(path)
    _sync(folder)


def _sync(folder: Path) -> None:
    """Sync the entries of a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
