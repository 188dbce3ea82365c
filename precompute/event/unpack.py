"""Unpacking a bundle, and verifying one, which is unpacking into a temporary folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from app.errors import BundleError, OperatorError
from app.kinds.decks import load_all
from app.settings import Settings
from app.store.index_writer import IndexWriter
from app.store.log import Damage, LogWriter, read_log
from app.store.plain import open_file
from precompute.event.manifest import (
    DATA,
    Manifest,
    Member,
    copied,
    length_of,
    read_manifest,
    read_members,
)
from precompute.event.releases import Place


def verify(bundle: Path, environ: Mapping[str, str]) -> Manifest:
    """Unpack a bundle into a temporary folder. Raises BundleError as `unpack` does."""
    with tempfile.TemporaryDirectory(prefix="tsukurioki-verify-") as folder:
        return _accept(bundle, Path(folder), environ)


def unpack(bundle: Path, place: Path, environ: Mapping[str, str]) -> Path:
    """Install a bundle as a new release and switch to it by one rename; returns its folder.

    Raises BundleError; the current release then stays current. A release of the same bundle is
    replaced, in case it was changed.
    """
    with Place(place).locked(create=True) as here, here.new_release() as scratch:
        return here.install(scratch, _accept(bundle, scratch, environ).release)


def _accept(bundle: Path, folder: Path, environ: Mapping[str, str]) -> Manifest:
    """Verify every byte of a bundle, then write its files to an empty folder and load them.

    Raises BundleError.
    """
    try:
        with _opened(bundle) as file:
            manifest = read_manifest(file)
            length, wanted = os.fstat(file.fileno()).st_size, length_of(manifest)
            if length != wanted:
                fault = "cut" if length < wanted else "longer than its manifest says"
                raise BundleError(f"{fault}: {length:,} bytes of {wanted:,}; copy it again")
            begin = file.tell()
            read_members(file, manifest, lambda member, content: copied(content, member.size))
            file.seek(begin)
            read_members(file, manifest, lambda member, content: _extract(folder, member, content))
        _make_ready(folder, manifest, environ)
    except OSError as error:
        where = f"cannot be unpacked into {folder.parent}"
        raise BundleError(f"{bundle}: {where}: {error.strerror}; nothing was changed") from None
    except OperatorError as error:
        # The name of the temporary folder would only confuse.
        sentence = " ".join(str(error).replace(f"{folder}/", "").split())
        raise BundleError(f"{bundle}: {sentence}") from None
    return manifest


def _opened(bundle: Path) -> BinaryIO:
    try:
        return open_file(bundle, "rb")
    except OSError as error:
        raise BundleError(f"cannot be read: {error.strerror}") from None


def _extract(folder: Path, member: Member, content: BinaryIO) -> str:
    path = folder / member.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        digest = copied(content, member.size, file)
        file.flush()
        os.fsync(file.fileno())
    return digest


def _make_ready(folder: Path, manifest: Manifest, environ: Mapping[str, str]) -> None:
    """Read the settings, load the decks, build the indexes. Raises OperatorError."""
    data = folder / DATA
    settings = Settings.read({**environ, "TSUKURIOKI_DATA": str(data)})
    decks = load_all(data / "decks")
    for member in manifest.members:
        if not member.path.startswith(f"{DATA}/store/"):
            continue
        path = folder / member.path
        deck = decks.get(path.stem)
        if deck is None:
            raise BundleError(f"{path.name}: belongs to no deck of the bundle")
        damage = next((line for line in read_log(path) if isinstance(line, Damage)), None)
        if damage:
            raise BundleError(
                f"{path.name}: byte {damage.offset}: {damage.reason}; run `precompute check "
                "--repair` where it was cooked, and pack it again"
            )
        with (
            LogWriter(path.parent, deck.id),
            IndexWriter.at(settings.store_options._replace(folder=path.parent), deck) as index,
        ):
            index.catch_up()
