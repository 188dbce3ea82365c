"""Packing a bundle: all decks, their logs, and the settings that do not depend on the machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from app.errors import BundleError
from app.kinds.decks import deck_folders, load_all
from app.kinds.kind import AnyDeck
from app.settings import Settings, travelling_settings, write_settings
from app.store.log import LogWriter, appending, log_path
from precompute.decks.replaced import is_kept
from precompute.event.manifest import (
    DATA,
    MANIFEST,
    SETTINGS,
    WHEELS,
    Manifest,
    Member,
    check_path,
    copied,
    header,
    padding,
    text_of,
    trailer,
)
from precompute.event.unpack import verify
from precompute.event.wheels import Target, make

# The setting that names the deck of a kind.
_NAMES = {"cards": "TSUKURIOKI_DECK", "pattern": "TSUKURIOKI_CHAT_DECK"}


class Packed(NamedTuple):
    """A bundle that was written: its manifest, and the names of settings that were left out."""

    manifest: Manifest
    left_out: list[str]


def pack(
    settings: Settings,
    target: Path,
    environ: Mapping[str, str],
    *,
    wheels: Sequence[Target],
    only: AnyDeck | None = None,
) -> Packed:
    """Write a bundle, verify it, and rename it to `target`.

    With `wheels`, it also holds wheels for these. With `only`, it holds that deck alone, as the one that is played or talked to.
    Raises BundleError, DeckError, SettingError, and StoreLockedError while a build is writing.
    """
    with tempfile.TemporaryDirectory(prefix="tsukurioki-bundle-") as name, ExitStack() as locks:
        scratch = Path(name)
        decks = {only.id: only} if only else load_all(settings.decks)
        folders = [only.folder] if only else deck_folders(settings.decks)
        files = dict(_deck_files(folder for folder in folders if folder))
        if only and (name_of_setting := _NAMES.get(only.kind)):
            # The other decks that are shown here are not in the bundle.
            environ = {**environ, name_of_setting: only.id, "TSUKURIOKI_DECKS_SHOWN": ""}
        for deck in decks:
            if log_path(settings.store, deck).exists():
                # Locked, so that the log ends with a complete line and does not change.
                log = locks.enter_context(LogWriter(settings.store, deck)).path
                # Nor does a reviewer append.
                locks.enter_context(appending(settings.store, deck))
                files[f"{DATA}/store/{log.name}"] = log
        kept, left_out = travelling_settings(environ)
        if kept:
            (scratch / "settings").write_bytes(write_settings(kept))
            files[SETTINGS] = scratch / "settings"
        if wheels:
            made = make(scratch / WHEELS, wheels)
            files.update((f"{WHEELS}/{name}", path) for name, path in made.items())
        return Packed(_write(target, files, environ), left_out)


def _deck_files(folders: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """The files of decks, without hidden ones, which belong to editors or the system.

    Files that an import has replaced are left out, too: they are no part of the deck.
    """
    for folder in folders:
        for path in sorted(folder.resolve().rglob("*")):
            inner = path.relative_to(folder.resolve())
            if any(part.startswith(".") for part in inner.parts) or is_kept(path):
                continue
            if path.is_symlink():
                raise BundleError(
                    f"{path}: a link; a bundle holds plain files, put the file itself there"
                )
            if path.is_file():
                yield f"{DATA}/decks/{folder.name}/{inner.as_posix()}", path


def _write(target: Path, files: Mapping[str, Path], environ: Mapping[str, str]) -> Manifest:
    for name in files:
        check_path(name)
    scratch = target.with_name(target.name + ".new")
    try:
        members = [_member(name, files[name]) for name in sorted(files)]
        text = text_of(members)
        with scratch.open("wb") as tar:
            tar.write(header(MANIFEST, len(text)) + text + padding(len(text)))
            for member in members:
                _append(tar, member, files[member.path])
            tar.write(trailer(tar.tell()))
            tar.flush()
            os.fsync(tar.fileno())
        # No bundle gets its name that `unpack` would refuse.
        manifest = verify(scratch, environ)
        scratch.replace(target)
    except OSError as error:
        raise BundleError(f"{target}: cannot be written: {error.strerror}") from None
    finally:
        scratch.unlink(missing_ok=True)
    return manifest


def _member(name: str, path: Path) -> Member:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return Member(name, size, copied(file, size))


def _append(tar: BinaryIO, member: Member, path: Path) -> None:
    tar.write(header(member.path, member.size))
    with path.open("rb") as file:
        if copied(file, member.size, tar) != member.sha256:
            raise BundleError(f"{path}: changed while it was packed; pack again")
    tar.write(padding(member.size))
