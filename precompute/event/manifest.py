"""The format of a bundle, down to the byte.

A bundle is a tar file of plain files without times or owners, in this order:

    manifest.json           the format, and path, size and SHA-256 of every other member
    data/decks/…            the decks
    data/settings.env       settings that do not depend on the machine (may be missing)
    data/store/<deck>.jsonl the logs; indexes are built where the bundle is unpacked
    wheels/….whl            with --wheels: packages to install without a network

The manifest determines every byte of the file that is not a member's content: the order, the
headers, the padding and the length. A reader computes those bytes and compares; it never interprets
a tar header. So links, devices, sparse members, pax records, duplicates and other members are
refused without a rule for each. (With Python's tarfile each of these needed a rule of its own, and
an 800 KB sparse member became 2 GiB.)
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import orjson

from app.errors import BundleError
from app.settings import SETTINGS_FILE

FORMAT = "tsukurioki-bundle-2"
MANIFEST = "manifest.json"
DATA, WHEELS = "data", "wheels"
SETTINGS = f"{DATA}/{SETTINGS_FILE}"
MOST_MEMBERS = 10_000
_MOST_MANIFEST = 8 << 20
_LONGEST_PATH = 400
_BLOCK = 1 << 20
_LOG = re.compile(rf"{DATA}/store/[a-z0-9][a-z0-9-]*\.jsonl")
_WHEEL = re.compile(rf"{WHEELS}/[A-Za-z0-9_.+!-]+\.whl")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Member(NamedTuple):
    """A file of a bundle: its path, its size in bytes and its SHA-256 in hex."""

    path: str
    size: int
    sha256: str


class Manifest(NamedTuple):
    """The members of a bundle. `digest` is the SHA-256 of the manifest's bytes."""

    members: tuple[Member, ...]
    digest: str

    @property
    def wheels(self) -> list[str]:
        """The file names of the wheels."""
        folder = f"{WHEELS}/"
        return [m.path.removeprefix(folder) for m in self.members if m.path.startswith(folder)]

    @property
    def release(self) -> str:
        """The name of the folder into which the bundle is unpacked."""
        return self.digest[:16]


def header(path: str, size: int) -> bytes:
    info = tarfile.TarInfo(path)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """The zeros after a content of `size` bytes."""
    return bytes(-size % tarfile.BLOCKSIZE)


def trailer(written: int) -> bytes:
    """The zeros that end a tar file after `written` bytes."""
    end = 2 * tarfile.BLOCKSIZE
    return bytes(end + -(written + end) % tarfile.RECORDSIZE)


def text_of(members: Sequence[Member]) -> bytes:
    """The manifest's bytes. Raises BundleError for members that a bundle must not contain."""
    _check(members)
    return orjson.dumps(
        {"format": FORMAT, "files": [member._asdict() for member in members]},
        option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2,
    )


def _check(members: Sequence[Member]) -> None:
    if len(members) > MOST_MEMBERS:
        raise BundleError(f"{len(members):,} files; a bundle holds {MOST_MEMBERS:,} at most")
    paths = [member.path for member in members]
    for path in paths:
        check_path(path)
    if any(first >= second for first, second in pairwise(paths)):
        raise BundleError("a file is named twice, or not in order")
    known = set(paths)
    for path in paths:
        folder = next((str(p) for p in PurePosixPath(path).parents if str(p) in known), None)
        if folder:
            raise BundleError(f"{folder!r} is named as a file and as a folder")


def check_path(path: str) -> None:
    """Raise BundleError unless a bundle may contain a file with this path."""
    parts = path.split("/")
    plain = (
        len(path) <= _LONGEST_PATH
        and path.isprintable()
        and "\\" not in path
        and all(part and part[0] != "." and len(part.encode()) <= 255 for part in parts)
    )
    deck_file = parts[:2] == [DATA, "decks"] and len(parts) >= 4 and ".lmdb" not in parts[-1]
    known = deck_file or path == SETTINGS or _LOG.fullmatch(path) or _WHEEL.fullmatch(path)
    if not plain or not known:
        raise BundleError(f"the path {path[:80]!r} is not one that a bundle may hold")


def read_manifest(file: BinaryIO) -> Manifest:
    """Read the manifest at the beginning of a bundle. Raises BundleError."""
    head = file.read(tarfile.BLOCKSIZE)
    # The size field of a tar header: octal digits.
    size = int(head[124:135], 8) if re.fullmatch(rb"[0-7]{11}\0", head[124:136]) else -1
    if not 0 < size <= _MOST_MANIFEST or head != header(MANIFEST, size):
        raise BundleError(f"not a bundle: it does not begin with {MANIFEST}")
    text = file.read(size)
    if file.read(len(padding(size))) != padding(size) or len(text) < size:
        raise BundleError("damaged or cut in its manifest; copy it again")
    members = _members(text)
    if text != text_of(members):
        raise BundleError("its manifest is not as `precompute bundle` writes it; copy it again")
    return Manifest(members, hashlib.sha256(text).hexdigest())


def _members(text: bytes) -> tuple[Member, ...]:
    try:
        value: Any = orjson.loads(text)
        found = value["format"]
        members = tuple(Member(f["path"], f["size"], f["sha256"]) for f in value["files"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BundleError(f"its manifest cannot be read: {error}; copy it again") from None
    if found != FORMAT:
        raise BundleError(
            f"has format {str(found)[:40]!r}, this is {FORMAT!r}; pack it with this version"
        )
    for path, size, digest in members:
        right = type(path) is str and type(size) is int and type(digest) is str
        if not right or size < 0 or not _DIGEST.fullmatch(digest):
            raise BundleError(f"its manifest is wrong about {str(path)[:80]!r}; copy it again")
    return members


def length_of(manifest: Manifest) -> int:
    """The length in bytes of the bundle with this manifest."""
    text = text_of(manifest.members)
    sizes = [(MANIFEST, len(text)), *((member.path, member.size) for member in manifest.members)]
    written = sum(len(header(*named)) + named[1] + len(padding(named[1])) for named in sizes)
    return written + len(trailer(written))


def read_members(
    file: BinaryIO, manifest: Manifest, take: Callable[[Member, BinaryIO], str]
) -> None:
    """Read and verify everything after the manifest. Raises BundleError.

    `take` reads a member's content and returns its SHA-256 in hex.
    """
    for member in manifest.members:
        wanted = header(member.path, member.size)
        if file.read(len(wanted)) != wanted:
            raise BundleError(f"{member.path} does not begin where it should; copy it again")
        damaged = take(member, file) != member.sha256
        if file.read(len(padding(member.size))) != padding(member.size) or damaged:
            raise BundleError(f"{member.path} is damaged; copy it again")
    wanted = trailer(file.tell())
    if file.read(len(wanted) + 1) != wanted:
        raise BundleError("damaged at its end; copy it again")


def copied(source: BinaryIO, size: int, sink: BinaryIO | None = None) -> str:
    """Read `size` bytes, copy them to `sink` if there is one, and return their SHA-256 in hex."""
    digest = hashlib.sha256()
    while size > 0 and (block := source.read(min(size, _BLOCK))):
        digest.update(block)
        size -= len(block)
        if sink:
            sink.write(block)
    return digest.hexdigest()
