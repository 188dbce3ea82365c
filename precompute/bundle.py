"""The bundle: one tar with everything for an event, which proves itself.

Layout of a bundle, members in this order, all of them plain files without times or owners, so that
the same content gives the same bytes:

    manifest.json           format, settings, and of every other member its path, size and SHA-256
    data/decks/…            the decks
    data/store/<deck>.jsonl the logs; an index is a cache and is built where the bundle is unpacked
    settings.env            settings of the machine it was made on, without secrets and paths
    wheels/…                with --wheels: what to install from with no network

Layout of the place where bundles are unpacked:

    releases/<digest>/      a bundle's members, by the first digits of its manifest's SHA-256
    current                 a link to the release in force: `TSUKURIOKI_DATA=<place>/current/data`
    previous                a link to the one before, for `rollback`
    ledger/                 misses, votes and deals: they outlive releases

Nothing of a bundle is ever executed, and no path in one can leave its folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from app.core.deck import load_decks
from app.core.index import IndexWriter
from app.core.log import Damage, LogWriter, log_path, read_log
from app.errors import BundleError
from app.settings import TABLE, Settings

FORMAT = "tsukurioki-bundle-1"
MANIFEST = "manifest.json"
SETTINGS_FILE = "settings.env"
# A place on the machine that packs says nothing on the machine that unpacks.
_PLACES = frozenset({"data", "decks", "store", "ledger", "site"})
_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSWORD")
_MAX_MANIFEST = 64 << 20
_BLOCK = 1 << 20
_SAFE_NAME = re.compile(r"[^\x00-\x1f\\]{1,255}")


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a bundle."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself. `digest` is the SHA-256 of the manifest's own bytes."""

    members: tuple[Member, ...]
    settings: Mapping[str, str]
    digest: str


def pack(settings: Settings, target: Path, environ: Mapping[str, str], *, wheels: bool) -> Manifest:
    """Write a bundle, whole or not at all. Raises BundleError and DeckError."""
    decks = load_decks(settings.decks)
    with tempfile.TemporaryDirectory(prefix="tsukurioki-bundle-") as scratch:
        files = dict(_deck_files(settings.decks))
        for deck in decks:
            path = log_path(settings.store, deck)
            if path.exists():
                files[f"data/store/{path.name}"] = path
        kept = portable_settings(environ)
        told = Path(scratch) / SETTINGS_FILE
        told.write_text("".join(f"{k}={v}\n" for k, v in sorted(kept.items())), encoding="utf-8")
        files[SETTINGS_FILE] = told
        if wheels:
            files.update(_wheels(Path(scratch) / "wheels"))
        return _write(target, files, kept)


def _deck_files(decks: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(decks.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield f"data/decks/{path.relative_to(decks).as_posix()}", path


def portable_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings that another machine can use: no secrets, no places."""
    return {
        row.name: environ[row.name]
        for row in TABLE
        if environ.get(row.name) and row.field not in _PLACES and not _SECRET.search(row.name)
    }


def _wheels(folder: Path) -> dict[str, Path]:
    """Wheels of this project and of all that serving and unpacking need, for this platform."""
    project = Path(__file__).parent.parent
    if not (project / "pyproject.toml").is_file():
        raise BundleError("--wheels needs the project's source folder; run it from a checkout")
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(folder)]
    done = subprocess.run(  # noqa: S603  # our own interpreter, with words of our own
        [*words, f"{project}[tools]"],
        check=False,
        capture_output=True,
        text=True,
        # Without it a wheel holds the time at which it was made.
        env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BundleError(f"--wheels: pip could not make the wheels: {last}")
    return {f"wheels/{path.name}": path for path in sorted(folder.iterdir())}


def _write(target: Path, files: Mapping[str, Path], kept: Mapping[str, str]) -> Manifest:
    members = tuple(_member(name, path) for name, path in sorted(files.items()))
    text = orjson.dumps(
        {
            "format": FORMAT,
            "settings": dict(kept),
            "files": [{"path": m.path, "size": m.size, "sha256": m.sha256} for m in members],
        },
        option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2,
    )
    scratch = target.with_name(target.name + ".new")
    try:
        with tarfile.open(scratch, "w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(_header(MANIFEST, len(text)), io.BytesIO(text))
            for member in members:
                with files[member.path].open("rb") as file:
                    tar.addfile(_header(member.path, member.size), file)
        scratch.replace(target)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise BundleError(f"{target}: cannot be written: {error.strerror}") from None
    return Manifest(members, kept, hashlib.sha256(text).hexdigest())


def _member(name: str, path: Path) -> Member:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return Member(name, size, digest.hexdigest())


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size = size
    header.mode = 0o644
    return header


def verify(bundle: Path) -> Manifest:
    """Read a bundle to its end and prove every byte. Raises BundleError, saying what is wrong."""
    with _opened(bundle) as (tar, manifest):
        for _ in _proved(bundle, tar, manifest):
            pass
        return manifest


@contextmanager
def _opened(bundle: Path) -> Iterator[tuple[tarfile.TarFile, Manifest]]:
    try:
        with tarfile.open(bundle, "r|") as tar:
            yield tar, _read_manifest(bundle, tar)
    except FileNotFoundError:
        raise BundleError(f"{bundle}: there is no such file") from None
    except (tarfile.TarError, EOFError) as error:
        raise BundleError(f"{bundle}: damaged or cut: {error}; copy it again") from None


def _read_manifest(bundle: Path, tar: tarfile.TarFile) -> Manifest:
    first = tar.next()
    file = tar.extractfile(first) if first and first.isreg() and first.name == MANIFEST else None
    if file is None or first is None or first.size > _MAX_MANIFEST:
        raise BundleError(f"{bundle}: not a bundle of ours: it does not begin with {MANIFEST}")
    text = file.read()
    try:
        value: Any = orjson.loads(text)
        if value["format"] != FORMAT:
            raise BundleError(f"{bundle}: has format {value['format']!r}, this is {FORMAT!r}")
        members = tuple(
            Member(_safe(item["path"]), int(item["size"]), str(item["sha256"]))
            for item in value["files"]
        )
        settings = {str(name): str(setting) for name, setting in value["settings"].items()}
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{bundle}: its manifest cannot be read: {error}") from None
    if len({member.path for member in members}) < len(members):
        raise BundleError(f"{bundle}: its manifest names a file twice")
    return Manifest(members, settings, hashlib.sha256(text).hexdigest())


def _safe(name: str) -> str:
    """A path that stays below the folder it is unpacked in. Raises ValueError."""
    path = PurePosixPath(name)
    plain = not path.is_absolute() and ".." not in path.parts and str(path) == name
    if (
        not plain
        or not _SAFE_NAME.fullmatch(name)
        or path.parts[0] not in ("data", "wheels", SETTINGS_FILE)
    ):
        raise ValueError(f"the path {name!r} is not one that a bundle may hold")
    return name


def _proved(
    bundle: Path, tar: tarfile.TarFile, manifest: Manifest, into: Path | None = None
) -> Iterator[Member]:
    """Each member once its bytes are proved; written below `into` on the way, where given."""
    for member in manifest.members:
        header = tar.next()
        if header is None:
            raise BundleError(f"{bundle}: cut: {member.path} is missing; copy it again")
        file = tar.extractfile(header) if header.isreg() else None
        if file is None or header.name != member.path or header.size != member.size:
            raise BundleError(f"{bundle}: {header.name!r} is there where {member.path!r} should be")
        digest = hashlib.sha256()
        with _sink(into, member) as sink:
            while block := file.read(_BLOCK):
                digest.update(block)
                sink.write(block)
        if digest.hexdigest() != member.sha256:
            raise BundleError(f"{bundle}: {member.path} is damaged; copy it again")
        yield member
    extra = tar.next()
    if extra is not None:
        raise BundleError(f"{bundle}: holds {extra.name!r}, which its manifest does not name")


@contextmanager
def _sink(into: Path | None, member: Member) -> Iterator[Any]:
    if into is None:
        yield _Nowhere()
        return
    path = into / member.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


class _Nowhere:
    """Takes what is written and forgets it."""

    def write(self, block: bytes) -> int:
        return len(block)


def unpack(bundle: Path, place: Path, settings: Settings) -> Path:
    """Install a bundle beside what is there and switch to it by one rename; gives the release.

    Raises BundleError; what was in force stays in force until the rename.
    """
    with _locked(place):
        releases = place / "releases"
        releases.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=releases))
        try:
            with _opened(bundle) as (tar, manifest):
                for _ in _proved(bundle, tar, manifest, scratch):
                    pass
            _make_ready(scratch, place, settings)
            release = releases / manifest.digest[:16]
            if not release.exists():
                scratch.rename(release)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        _switch(place, release)
        return release


def _make_ready(release: Path, place: Path, settings: Settings) -> None:
    """Load the decks and build the indexes: what cannot be served is not switched to."""
    (place / "ledger").mkdir(exist_ok=True)
    (release / "data" / "ledger").symlink_to(Path("../../../ledger"))
    store = release / "data" / "store"
    store.mkdir(parents=True, exist_ok=True)
    for deck in load_decks(release / "data" / "decks").values():
        path = log_path(store, deck.id)
        damage = next((d for d in read_log(path) if isinstance(d, Damage)), None)
        if damage:
            raise BundleError(f"{path.name}: byte {damage.offset}: {damage.reason}")
        with (
            LogWriter(store, deck.id),
            IndexWriter(store, deck, settings.sources, settings.radius) as index,
        ):
            index.catch_up()


def _switch(place: Path, release: Path) -> None:
    current = place / "current"
    if current.is_symlink():
        if current.resolve() == release.resolve():
            return
        _point(place, "previous", current.readlink())
    _point(place, "current", release.relative_to(place))


def _point(place: Path, name: str, target: Path) -> None:
    scratch = place / f".{name}.new"
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(target)
    scratch.replace(place / name)


def rollback(place: Path) -> Path:
    """Return to the release before; gives it. Raises BundleError where there is none."""
    with _locked(place):
        previous, current = place / "previous", place / "current"
        if not previous.is_symlink() or not previous.resolve().is_dir():
            raise BundleError(f"{place}: there is no earlier release to return to")
        target, left = previous.readlink(), current.readlink()
        _point(place, "current", target)
        _point(place, "previous", left)
        return current.resolve()


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    try:
        place.mkdir(parents=True, exist_ok=True)
        with (place / ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError:
        raise BundleError(f"{place}: another process is unpacking here; wait for it") from None
