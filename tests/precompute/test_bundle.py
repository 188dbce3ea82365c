"""Bundles: they prove themselves, are switched by one rename, and cannot reach out of their folder."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import orjson
import pytest

from app.core.deal import random_play
from app.core.deck import Deck
from tests.conftest import Serve
from tests.making import Precompute, game_body

Change = Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]


@pytest.fixture
def bundle(precompute: Precompute, tmp_path: Path) -> Path:
    """A bundle of a small store."""
    precompute("build", "--n", 27)
    precompute("bundle", tmp_path / "event.tar")
    return tmp_path / "event.tar"


def changed(bundle: Path, change: Change, target: str = "changed.tar") -> Path:
    """A bundle whose members were changed."""
    with tarfile.open(bundle) as tar:
        members = [(m, f.read()) for m in tar.getmembers() if (f := tar.extractfile(m))]
    change(members)
    path = bundle.with_name(target)
    with tarfile.open(path, "w") as tar:
        for header, content in members:
            header.size = len(content) if header.isreg() else 0
            tar.addfile(header, io.BytesIO(content))
    return path


def with_manifest(members: list[tuple[tarfile.TarInfo, bytes]], path: str, content: bytes) -> None:
    """Add a member, named in the manifest with its true checksum."""
    told = orjson.loads(members[0][1])
    digest = hashlib.sha256(content).hexdigest()
    told["files"].append({"path": path, "size": len(content), "sha256": digest})
    members[0] = (members[0][0], orjson.dumps(told))
    members.append((tarfile.TarInfo(path), content))


def test_same_content_same_bytes(precompute: Precompute, bundle: Path, tmp_path: Path) -> None:
    """Packing the same content again, later, gives the same bytes."""
    for path in (tmp_path / "data").rglob("*"):
        os.utime(path, (1, 1))
    precompute("bundle", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == bundle.read_bytes()


def test_unpacked_is_served(
    precompute: Precompute, bundle: Path, serve: Serve, poem: Deck, tmp_path: Path
) -> None:
    """What was unpacked answers as the machine did on which it was packed."""
    precompute("verify", bundle)
    precompute("unpack", bundle, "--into", tmp_path / "event")
    data = tmp_path / "event" / "current" / "data"
    query = random_play(poem, Random(1))
    with (
        serve().client() as here,
        serve(TSUKURIOKI_DATA=data, TSUKURIOKI_DECKS=data / "decks").client() as there,
    ):
        asked = game_body(poem, query)
        first = here.post("/api/generate-poem", json=asked)
        assert there.post("/api/generate-poem", json=asked).content == first.content
        assert there.get("/api/decks/poem/deal").json()["mode"] == "stocked"


def test_no_secret_is_packed(precompute: Precompute, tmp_path: Path) -> None:
    """Settings travel, but no key, no token and no path of the machine."""
    precompute(
        "bundle",
        tmp_path / "event.tar",
        GEMINI_API_KEY="secret-one",
        OPENAI_API_KEY="secret-two",
        TSUKURIOKI_TOKEN="secret-three",
        TSUKURIOKI_WORKERS=3,
    )
    packed = (tmp_path / "event.tar").read_bytes()
    assert b"TSUKURIOKI_WORKERS='3'" in packed
    assert b"secret" not in packed
    assert str(tmp_path).encode() not in packed


def test_rollback(precompute: Precompute, bundle: Path, tmp_path: Path) -> None:
    """After a second bundle, rollback returns to the first, and again to the second."""
    place = tmp_path / "event"
    precompute("unpack", bundle, "--into", place)
    first = (place / "current").resolve()
    precompute("rollback", "--into", place, status=2)
    precompute("build", "--n", 54)
    precompute("bundle", tmp_path / "second.tar")
    precompute("unpack", tmp_path / "second.tar", "--into", place)
    second = (place / "current").resolve()
    assert second != first
    precompute("rollback", "--into", place)
    assert (place / "current").resolve() == first
    precompute("rollback", "--into", place)
    assert (place / "current").resolve() == second


def test_votes_outlive_a_release(precompute: Precompute, bundle: Path, tmp_path: Path) -> None:
    """The ledger is one folder for all releases."""
    place = tmp_path / "event"
    precompute("unpack", bundle, "--into", place)
    (place / "current" / "data" / "ledger" / "poem.votes.jsonl").write_text("{}\n")
    precompute("build", "--n", 54)
    precompute("bundle", tmp_path / "second.tar")
    precompute("unpack", tmp_path / "second.tar", "--into", place)
    assert (place / "current" / "data" / "ledger" / "poem.votes.jsonl").exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_a_cut_bundle(precompute: Precompute, bundle: Path, tmp_path: Path, share: float) -> None:
    """A bundle that ends too early is refused with a sentence, wherever it ends."""
    whole = bundle.read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: int(len(whole) * share)])
    for command in ("verify", "unpack"):
        done = precompute(command, tmp_path / "cut.tar", status=2)
        assert done.stderr.count("\n") == 1
        assert "cut.tar" in done.stderr


def test_a_flipped_bit(precompute: Precompute, bundle: Path, tmp_path: Path) -> None:
    """A single changed bit anywhere that matters is noticed, and what is in force stays in force."""
    place = tmp_path / "event"
    precompute("unpack", bundle, "--into", place)
    before = (place / "current").readlink()
    whole = bytearray(bundle.read_bytes())
    rng = Random(3)
    for _ in range(4):
        at = rng.randrange(len(whole) - 12_000)
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.randrange(8)
        (tmp_path / "damaged.tar").write_bytes(damaged)
        inside_padding = whole[at] == 0
        if not inside_padding:
            precompute("unpack", tmp_path / "damaged.tar", "--into", place, status=2)
    assert (place / "current").readlink() == before
    assert [path.name for path in (place / "releases").iterdir()] == [before.name]


EVIL = ["/etc/evil", "../evil", "data/../../evil", "data//evil", "evil", "data\\evil", "data/\nx"]


@pytest.mark.parametrize("path", EVIL)
def test_no_path_escapes(precompute: Precompute, bundle: Path, tmp_path: Path, path: str) -> None:
    """A manifest that names a path outside its folder is refused before anything is written."""
    evil = changed(bundle, lambda members: with_manifest(members, path, b"evil"))
    done = precompute("unpack", evil, "--into", tmp_path / "event", status=2)
    assert "path" in done.stderr
    assert list((tmp_path / "event" / "releases").iterdir()) == []


def _link(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with_manifest(members, "data/link", b"")
    header = tarfile.TarInfo("data/link")
    header.type, header.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members[-1] = (header, b"")


def _drop(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.pop()


def _add(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append((tarfile.TarInfo("data/more"), b"more"))


def _swap(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[1], members[2] = members[2], members[1]


def _foreign(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    del members[0]


def _newer(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    told = orjson.loads(members[0][1])
    members[0] = (members[0][0], orjson.dumps({**told, "format": "tsukurioki-bundle-9"}))


@pytest.mark.parametrize("change", [_link, _drop, _add, _swap, _foreign, _newer])
def test_a_bundle_that_is_not_what_it_says(
    precompute: Precompute, bundle: Path, tmp_path: Path, change: Change
) -> None:
    """A link, a missing, an extra or a swapped file, no manifest, another format: all refused."""
    other = changed(bundle, change)
    assert precompute("verify", other, status=2).stderr.count("\n") == 1
    precompute("unpack", other, "--into", tmp_path / "event", status=2)
    assert not (tmp_path / "event" / "current").exists()


def test_a_file_that_is_no_tar(precompute: Precompute, tmp_path: Path) -> None:
    """Any other file, and none at all, is refused in a line."""
    (tmp_path / "letter").write_text("Dear sir")
    precompute("verify", tmp_path / "letter", status=2)
    precompute("verify", tmp_path / "nothing", status=2)
    precompute("unpack", tmp_path, status=2)
