"""An LMDB file that is published whole and never changed in place.

Format: the pages of LMDB, then a seal of 32 bytes:

    magic (16)  b"tsukurioki-seal1"
    length      u64, little endian: the number of bytes before the seal
    checksum    8 bytes, the 64-bit xxh3 of those bytes

A writer works in an unnamed file, which gets its seal and its name when it is published. A reader
verifies the checksum while it copies the file to an unnamed one in memory, and maps the copy, so that
nothing done to the published file affects a running process. This matters because LMDB trusts its
pages: a flipped byte in a branch page, or a truncated file under a memory map,
kills the process (SIGSEGV, SIGBUS) without an exception that could be caught. A large file is mapped
itself, and not read again as long as it is the one that was proven (see `app.store.proof`).

(Transactions in the published file, which readers see at once, were tried first. They need a lock
file with a reader table, and at no moment is there a valid checksum of the file.)
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import lmdb
import xxhash

from app.errors import IndexHarmedError, IndexUnusableError
from app.store.plain import open_file
from app.store.proof import SETTLED, forget, is_proven, remember

_SEAL = struct.Struct("<16sQ8s")
_MAGIC = b"tsukurioki-seal1"
_BLOCK = 1 << 20
# Files up to this size (20,000 to 30,000 answers) are copied into memory. A larger file is mapped
# itself; truncating that one in place, instead of renaming another over it, can still kill a worker, in
# whose place comes one that does without it.
COPIED = 32 << 20
# Address space, not memory, for a copy that grows.
_MAP_SIZE = 1 << 36


def private_copy(path: Path, *, in_memory: bool = False) -> BinaryIO:
    """An unnamed copy of a sealed file's pages, beside it or in memory.

    Raises IndexUnusableError if the seal does not fit, OSError if the file cannot be copied.
    """
    with open_file(path, "rb") as source:
        if in_memory and sys.platform == "linux":
            # A disk that is busy would delay the start by seconds.
            copy: BinaryIO = os.fdopen(os.memfd_create(path.name), "w+b")
        else:
            copy = empty_copy(path.parent)
        try:
            _prove(path, source, copy)
        except BaseException:
            copy.close()
            raise
        return copy


def empty_copy(folder: Path) -> BinaryIO:
    """An empty unnamed file, which can be given a name if the file system can do that. Raises OSError."""
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666), "w+b")
    except (AttributeError, OSError):
        # Not every system and file system has these. (Python's temporary files cannot be named.)
        return tempfile.TemporaryFile(dir=folder)


def copy_of(file: BinaryIO, folder: Path) -> BinaryIO:
    """An unnamed copy of a file that is open. Raises OSError."""
    copy = empty_copy(folder)
    _copy(file, copy)
    return copy


def _copy(file: BinaryIO, target: BinaryIO) -> None:
    # Past the file's own buffer: LMDB writes by another descriptor.
    with open(file.fileno(), "rb", 0, closefd=False) as source:
        source.seek(0)
        shutil.copyfileobj(source, target, _BLOCK)
    target.flush()


def readable(path: Path, *, whole: bool = False) -> BinaryIO:
    """A private copy, or the file itself if it is large or cannot be copied.

    The file itself is not read if it is known to be proven (see `app.store.proof`), but for `whole`.
    Raises IndexUnusableError if the seal does not fit or the file cannot be read.
    """
    try:
        with contextlib.suppress(OSError):
            if path.stat().st_size <= COPIED:
                return private_copy(path, in_memory=True)
        source = open_file(path, "rb")
        try:
            if whole or not is_proven(path, source):
                _prove_in_place(path, source)
        except BaseException:
            source.close()
            raise
    except OSError as error:
        raise IndexUnusableError(f"{path}: cannot be read: {error.strerror}") from None
    return source


def _prove_in_place(path: Path, source: BinaryIO) -> None:
    """Compare the seal of a file that will be mapped itself, and remember what was found."""
    try:
        _prove(path, source, None)
    except IndexHarmedError:
        forget(path)
        raise
    remember(path, source)


def _prove(path: Path, source: Any, target: BinaryIO | None) -> None:
    """Compare the seal with the bytes before it, and copy those to `target` if there is one."""
    length = os.fstat(source.fileno()).st_size - _SEAL.size
    seal = os.pread(source.fileno(), _SEAL.size, max(0, length))
    if length < 0 or not seal.startswith(_MAGIC):
        raise IndexHarmedError(f"{path}: is cut short, or not an index")
    _, stated_length, checksum = _SEAL.unpack(seal)
    digest = xxhash.xxh3_64()
    left = length
    while left and (block := source.read(min(_BLOCK, left))):
        digest.update(block)
        left -= len(block)
        if target:
            target.write(block)
    if stated_length != length or left or digest.digest() != checksum:
        raise IndexHarmedError(f"{path}: is damaged: its checksum does not fit")
    if target:
        target.flush()


def publish(env: lmdb.Environment, file: BinaryIO, path: Path) -> None:
    """Seal the file of an environment and put it at `path`: nothing may be written to it any more.

    The file is not synced: after a crash of the machine the seal shows whether it is complete.
    Raises OSError.
    """
    length = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    # LMDB does not write a last page that was freed in the same transaction.
    file.truncate(length)
    digest = xxhash.xxh3_64()
    for start in range(0, length, _BLOCK):
        digest.update(os.pread(file.fileno(), min(_BLOCK, length - start), start))
    file.seek(length)
    file.write(_SEAL.pack(_MAGIC, length, digest.digest()))
    file.flush()
    written = os.fstat(file.fileno()).st_mtime_ns
    # So that whatever is written to it from now on gives it another time.
    os.utime(file.fileno(), ns=(written, written - SETTLED))
    scratch = path.with_name(f"{path.name}.new")
    try:
        scratch.unlink(missing_ok=True)
        _name(file, scratch)
        scratch.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise
    if length > COPIED:
        remember(path, file)


def _name(file: BinaryIO, path: Path) -> None:
    """Give an unnamed file a name, or a copy of it where that cannot be done. Raises OSError."""
    number = file.fileno()
    try:
        # Python follows the link only if there is a descriptor, which means nothing for this path.
        os.link(f"/proc/self/fd/{number}", path, src_dir_fd=number)
    except OSError:
        with path.open("wb") as copy:
            _copy(file, copy)


def environment(
    file: BinaryIO, names: Sequence[str], *, write: bool
) -> tuple[lmdb.Environment, list[Any]]:
    """An LMDB environment on an open file, which must stay open, and its databases by `names`.

    Raises OSError and lmdb.Error.
    """
    env = lmdb.open(
        f"/dev/fd/{file.fileno()}",
        subdir=False,
        readonly=not write,
        # Nobody else has this file open.
        lock=False,
        sync=False,
        map_size=_MAP_SIZE if write else os.fstat(file.fileno()).st_size,
        max_dbs=len(names),
        readahead=False,
    )
    try:
        return env, [env.open_db(name.encode(), create=write) for name in names]
    except lmdb.Error:
        env.close()
        raise
