"""Bundles that are harmed, forged, or unpacked by a process that dies or finds no room.

The bundles are written here with Python's tarfile, not with the code that is tested.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.settings import TABLE, Settings
from app.store.log import LogWriter
from precompute.cli import main
from tests import forks
from tests.kinds.chat.test_conversation import small_deck as small_characters
from tests.making import DECKS, REPO, Precompute, entry, environment, small_deck

pytestmark = pytest.mark.xdist_group("bundle")
Files = dict[str, bytes]


def forge(files: Mapping[str, bytes], told: object = None) -> bytes:
    """A bundle of these files in its proper form, whatever their names and contents."""
    true = [
        {"path": path, "sha256": hashlib.sha256(files[path]).hexdigest(), "size": len(files[path])}
        for path in sorted(files)
    ]
    manifest = {"files": true if told is None else told, "format": "tsukurioki-bundle-2"}
    text = orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    return tarred([("manifest.json", text), *sorted(files.items())])


def tarred(members: list[tuple[str | tarfile.TarInfo, bytes]]) -> bytes:
    """A tar file. A member whose header is given has the size that the header says."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for named, content in members:
            header = tarfile.TarInfo(named) if isinstance(named, str) else named
            if isinstance(named, str):
                header.size = len(content)
            tar.addfile(header, io.BytesIO(content + bytes(max(0, header.size - len(content)))))
    return whole.getvalue()


@dataclass
class Site:
    """A folder with a place where a good bundle is in force."""

    folder: Path
    files: Files = field(repr=False)
    capture: pytest.CaptureFixture[str]

    @property
    def place(self) -> Path:
        """Where bundles are unpacked."""
        return self.folder / "event"

    def run(self, *words: object) -> tuple[int, list[str]]:
        """A command's exit status, and the lines of its stderr."""
        self.capture.readouterr()
        status = main([str(word) for word in words])
        return status, self.capture.readouterr().err.splitlines()

    def tree(self) -> dict[str, object]:
        """Everything in the folder: links by where they lead, files by what they hold."""
        return {
            str(path.relative_to(self.folder)): path.readlink()
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else None
            for path in sorted(self.folder.rglob("*"))
            if path.name != "changed.tar"
        }

    def judged(self, bundle: bytes) -> bool:
        """Whether a bundle is accepted: verify and unpack say the same, and a refusal leaves nothing."""
        path = self.folder / "changed.tar"
        path.write_bytes(bundle)
        before = self.tree()
        verified, told = self.run("verify", path)
        unpacked, again = self.run("unpack", path, "--into", self.place)
        assert (verified, told) == (unpacked, again)
        if unpacked:
            assert unpacked == 2
            assert len(told) == 1, told
            assert told[0].startswith(f"precompute: {path}: ")
            assert self.tree() == before
        return unpacked == 0

    def in_force(self, link: str = "current") -> Files:
        """The files in force that came with the bundle."""
        release = (self.place / link).resolve()
        made = ("/ledger", ".lock", ".lmdb", ".lmdb-lock")
        return {
            str(path.relative_to(release)): path.read_bytes()
            for path in release.rglob("*")
            if path.is_file() and not str(path).endswith(made) and "ledger" not in path.parts
        }


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of a small event: a deck of cards with a log, a chat deck, settings."""
    data = tmp_path_factory.mktemp("content") / "data"
    deck = small_deck(data / "decks" / "game")
    _log(data / "store", deck, 5)
    # A deck of characters with few expressions: each unpacking loads it, and compiles them.
    small_characters(data / "decks")
    (data / "settings.env").write_text("TSUKURIOKI_DECK='game'\nTSUKURIOKI_WORKERS='3'\n")
    return {
        str(path.relative_to(data.parent)): path.read_bytes()
        for path in data.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def _log(store: Path, deck: Deck, count: int) -> None:
    with LogWriter(store, deck.id) as log:
        for number in range(count):
            log.append([entry(random_play(deck, random.Random(number)))])


@pytest.fixture
def site(
    tmp_path: Path,
    content: Files,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Site:
    """The event is in force in a place."""
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    site = Site(tmp_path, content, capfd)
    assert site.judged(forge(content))
    assert site.in_force() == content
    return site


# One site for all examples: `judged` compares it with what it was before.
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


@shared
@given(st.data())
def test_no_changed_byte_is_accepted(site: Site, data: st.DataObject) -> None:
    """Flipped, put in, taken out, cut, put on: whatever is not the bundle is refused."""
    whole = forge(site.files)
    at = data.draw(
        st.one_of(st.integers(0, len(whole)), st.sampled_from(range(0, len(whole), 512)))
    )
    length = data.draw(st.integers(0, 1024))
    put = data.draw(st.one_of(st.binary(max_size=600), st.just(bytes(length))))
    changed = whole[:at] + put + whole[at + length :]
    assert site.judged(changed) == (changed == whole)


def test_no_other_letter_is_accepted(site: Site) -> None:
    """A text with one letter changed is still a text, which only the checksum tells from the true one."""
    whole, card = forge(site.files), "第3条".encode()
    assert whole.count(card) == 1
    assert not site.judged(whole.replace(card, "第4条".encode()))


def _headers(files: Files) -> st.SearchStrategy[tarfile.TarInfo]:
    """Headers of every type, size, name and pax record."""

    def make(
        name: str, kind: bytes, size: int, link: str, records: dict[str, str], mode: int
    ) -> tarfile.TarInfo:
        header = tarfile.TarInfo(name)
        header.type, header.size, header.linkname, header.mode = kind, size, link, mode
        header.pax_headers = records
        return header

    kinds = [bytes([code]) for code in b"01234567SLKDMVxgXNA\0"]
    names = st.one_of(st.sampled_from(sorted(files)), evil_paths)
    records = st.dictionaries(
        st.sampled_from(["path", "size", "linkpath", "GNU.sparse.realsize", "GNU.sparse.major"]),
        st.sampled_from(["0", "1", "2147483648", "../evil", "/tmp/evil", "-1"]),
        max_size=2,
    )
    sizes = st.sampled_from([0, 1, 511, 512, 4096])
    modes = st.sampled_from([0o644, 0o4755, 0])
    return st.builds(make, names, st.sampled_from(kinds), sizes, names, records, modes)


segments = st.one_of(
    st.sampled_from(["..", ".", "", "data", "decks", "store", "wheels", "game", "settings.env"]),
    st.sampled_from(
        ["game.jsonl", "game.000001.lmdb", "a.whl", ".hidden", "\x1b[2J", "a\nb", "\\"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.just("x" * 300),
)
prefixes = st.sampled_from(
    ["", "data/", "data/decks/", "data/decks/game/", "data/store/", "wheels/"]
)
evil_paths = st.builds(
    lambda prefix, rest: prefix + "/".join(rest),
    prefixes,
    st.lists(segments, min_size=1, max_size=4),
).filter(lambda path: "\0" not in path)


@shared
@given(st.data())
def test_no_other_member_is_accepted(site: Site, data: st.DataObject) -> None:
    """Another order, a member twice, links, devices, sparse members, pax records: all refused."""
    whole = forge(site.files)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        members: list[tuple[str | tarfile.TarInfo, bytes]] = [
            (m, f.read()) for m in tar.getmembers() if (f := tar.extractfile(m))
        ]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(members) - 1))
        what = data.draw(st.sampled_from(["swap", "drop", "twice", "header", "add"]))
        if what == "swap":
            other = data.draw(st.integers(0, len(members) - 1))
            members[at], members[other] = members[other], members[at]
        elif what == "drop" and len(members) > 1:
            del members[at]
        elif what == "twice":
            members.insert(data.draw(st.integers(0, len(members))), members[at])
        elif what == "header":
            members[at] = (data.draw(_headers(site.files)), members[at][1])
        else:
            members.insert(at, (data.draw(_headers(site.files)), b"more"))
    changed = tarred(members)
    assert site.judged(changed) == (changed == whole)


@shared
@example({"data/decks/game/../../../../evil": b""})
@example({"data/decks/game/./evil": b""})
@example({"data/decks/game/.evil": b""})
@example({"/tmp/evil": b""})
@given(st.dictionaries(evil_paths, st.binary(max_size=20), min_size=1, max_size=3))
def test_no_path_leads_out(site: Site, more: Files) -> None:
    """A bundle in its proper form with any further paths is refused, or is unpacked to its bytes."""
    files = {**site.files, **more}
    if site.judged(forge(files)):
        assert not any(part.startswith(".") for path in more for part in path.split("/"))
        assert site.in_force() == files
        site.judged(forge(site.files))


@shared
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(max_size=5)),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["format", "files", "path", "size", "sha256"]), inner, max_size=3
            )
        ),
    )
)
def test_no_other_manifest_is_accepted(site: Site, value: Any) -> None:
    """A manifest of any other shape is refused, and so are sizes that no disk holds."""
    assert not site.judged(tarred([("manifest.json", orjson.dumps(value))]))
    assert not site.judged(forge(site.files, told=value if value is not None else 0))
    wrong = [{"path": "data/decks/game/x", "sha256": "0" * 64, "size": value}]
    assert not site.judged(forge({}, told=wrong))


def test_a_sparse_member_does_not_grow(site: Site) -> None:
    """A file of a few kilobytes that says it unpacks to 2 GiB is refused before it is written."""
    header = tarfile.TarInfo("data/decks/game/big")
    header.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": header.name,
        "GNU.sparse.realsize": str(2 << 30),
    }
    assert not site.judged(tarred([("manifest.json", b"{}"), (header, b"0\n")]))
    told = [{"path": header.name, "sha256": "0" * 64, "size": 2 << 30}]
    manifest = {"files": told, "format": "tsukurioki-bundle-2"}
    text = orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    assert not site.judged(tarred([("manifest.json", text), (header, b"0\n")]))


def test_too_many_members(site: Site) -> None:
    """More files than a bundle may hold are refused."""
    many = {f"data/decks/game/{number}": b"" for number in range(10_001)}
    assert not site.judged(forge({**site.files, **many}))


@pytest.mark.parametrize("kind", ["fifo", "folder", "zero", "missing", "letter"])
def test_what_is_no_bundle(site: Site, kind: str) -> None:
    """A pipe, a folder, a device, nothing, a letter: refused in a line, without waiting for it."""
    path = site.folder / "thing"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "zero":
        path = Path("/dev/zero")
    elif kind == "letter":
        path.write_text("Dear sir")
    for command in ("verify", "unpack"):
        status, told = site.run(command, path)
        assert (status, len(told)) == (2, 1)
        assert ("cannot be read" in told[0]) == (kind not in ("letter", "folder"))


KNOWN = {row.name for row in TABLE}
setting_names = st.one_of(
    st.sampled_from(sorted(KNOWN)),
    st.sampled_from(["PYTHONPATH", "LD_PRELOAD", "PATH", "PYTHONSTARTUP", "LD_LIBRARY_PATH", "X"]),
)
setting_values = st.one_of(
    st.sampled_from(["1", "on", "poem", "exact,composed", "chat", "5", "/tmp/evil", "http://evil"]),
    st.text(max_size=12),
)
NEVER = {"TSUKURIOKI_TOKEN", "TSUKURIOKI_HOST", "GEMINI_API_KEY", "OPENAI_API_KEY"}
NEVER |= {"TSUKURIOKI_DATA", "TSUKURIOKI_DECKS", "TSUKURIOKI_STORE", "TSUKURIOKI_SITE"}
NEVER |= {"OLLAMA_HOST", "OPENAI_BASE_URL", "TSUKURIOKI_GEMINI_BASE_URL", "TSUKURIOKI_CORS_ORIGINS"}


@shared
@given(st.dictionaries(setting_names, setting_values, min_size=1, max_size=3))
def test_a_bundle_sets_only_what_it_may(site: Site, values: dict[str, str]) -> None:
    """Settings of a bundle are rows of the table that may travel, with values their readers take."""
    lines = "".join(f"{name}='{value}'\n" for name, value in sorted(values.items()))
    files = {**site.files, "data/settings.env": lines.encode("utf-8", "replace")}
    accepted = site.judged(forge(files))
    if accepted:
        assert set(values) <= KNOWN - NEVER
        Settings.read(values)
        data = site.place / "current" / "data"
        assert Settings.read({"TSUKURIOKI_DATA": str(data)}).data == data
        assert site.judged(forge(site.files))


def test_the_server_reads_them_as_unpack_does(site: Site) -> None:
    """A settings file that was changed after unpacking stops the server with a sentence."""
    data = site.place / "current" / "data"
    (data / "settings.env").write_text("PYTHONPATH='/tmp/evil'\n")
    settings = environment(TSUKURIOKI_DATA=data)
    done = forks.run([sys.executable, "-m", "app"], cwd=REPO, env=settings, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "PYTHONPATH" in done.stderr


def test_this_machine_has_the_last_word(site: Site) -> None:
    """A setting of the environment stands above the one that a bundle brought."""
    data = str(site.place / "current" / "data")
    assert Settings.read({"TSUKURIOKI_DATA": data}).workers == 3
    assert Settings.read({"TSUKURIOKI_DATA": data, "TSUKURIOKI_WORKERS": "1"}).workers == 1


@pytest.mark.long
@shared
@given(st.data())
def test_unpacking_again_mends(site: Site, data: st.DataObject) -> None:
    """Whatever became of a release, unpacking its bundle again puts a whole one in force."""
    release = (site.place / "current").resolve()
    paths = sorted(path for path in release.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(paths))
    how = data.draw(st.sampled_from(["cut", "gone", "other", "more"]))
    if how == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif how == "gone":
        path.unlink()
    elif how == "other":
        path.write_bytes(b"harmed")
    else:
        path.with_name("more").write_bytes(b"more")
    assert site.judged(forge(site.files))
    assert site.in_force() == site.files
    assert len(list((site.place / "releases").iterdir())) == 1


def test_everybody_can_read_a_release(site: Site) -> None:
    """Folders are 0755 and files 0644, under the strictest umask."""
    before = os.umask(0o077)
    try:
        assert (
            site.run("unpack", site.folder / "changed.tar", "--into", site.folder / "b/c")[0] == 0
        )
    finally:
        os.umask(before)
    for path in (site.folder / "b").rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


Doomed = Callable[..., tuple[int, int, str]]


@pytest.fixture
def doomed(site: Site) -> Iterator[Doomed]:
    """Runs a command that dies at its n-th change of the place, or may write no large file."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.precompute.event.killed"],
        cwd=REPO,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout

    def run(*arguments: object, kill_at: int = 0, room: int = 0) -> tuple[int, int, str]:
        asked = {"arguments": [str(word) for word in arguments], "place": str(site.place)}
        process.stdin.write(json.dumps({**asked, "kill_at": kill_at, "room": room}) + "\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        status, count, told = json.loads(process.stdout.readline())  # type: ignore[union-attr]
        return status, count, told

    with process:
        yield run
        process.stdin.close()


def _second(files: Files) -> Files:
    return {**files, "data/settings.env": b"TSUKURIOKI_WORKERS='4'\n"}


@pytest.mark.long
def test_killed_at_any_moment(site: Site, doomed: Doomed) -> None:
    """SIGKILL before any change of an unpack leaves a whole release in force; the next one tidies up."""
    first, second = site.folder / "changed.tar", site.folder / "second.tar"
    second.write_bytes(forge(_second(site.files)))
    words = ("unpack", second, "--into", site.place)
    status, changes, _ = doomed(*words)
    assert status == 0
    assert changes > 20
    # Every change while the release is put in force, every fourth of those before.
    for kill_at in [*range(1, changes - 30, 4), *range(max(1, changes - 30), changes + 1)]:
        assert site.run("unpack", first, "--into", site.place)[0] == 0
        status, _, _ = doomed(*words, kill_at=kill_at)
        assert status == -9
        assert site.in_force() in (site.files, _second(site.files)), kill_at
    assert site.run(*words)[0] == 0
    assert site.in_force() == _second(site.files)
    assert site.in_force("previous") == site.files
    assert len(list((site.place / "releases").iterdir())) == 2
    assert not [path.name for path in site.place.iterdir() if path.name.endswith(".new")]


def test_a_rollback_killed_at_any_moment(site: Site, doomed: Doomed) -> None:
    """SIGKILL within a rollback leaves one of the two releases in force."""
    second = site.folder / "second.tar"
    second.write_bytes(forge(_second(site.files)))
    for kill_at in range(1, 6):
        assert site.run("unpack", site.folder / "changed.tar", "--into", site.place)[0] == 0
        assert site.run("unpack", second, "--into", site.place)[0] == 0
        doomed("rollback", "--into", site.place, kill_at=kill_at)
        assert site.in_force() in (site.files, _second(site.files))


def test_no_room_at_any_moment(site: Site, doomed: Doomed) -> None:
    """Where a file cannot be written, unpack says so in a sentence and leaves nothing."""
    second = site.folder / "second.tar"
    second.write_bytes(forge(_second(site.files)))
    sizes = sorted({len(raw) for raw in site.files.values()} | {1, 5000, 36_000, 60_000})
    refused = 0
    for room in sizes:
        before = site.tree()
        status, _, told = doomed("unpack", second, "--into", site.place, room=room)
        if status == 0:
            continue
        refused += 1
        assert (status, told.count("\n")) == (2, 1), told
        assert site.tree() == before
    assert refused > 3


def test_every_deck_travels(tmp_path: Path) -> None:
    """The logs of all decks are packed, a chat's too, and answer where they are unpacked."""
    data = tmp_path / "data"
    game = small_deck(data / "decks" / "game")
    shutil.copytree(DECKS / "harbour", data / "decks" / "harbour")
    _log(data / "store", game, 3)
    shutil.copy(log := data / "store" / "game.jsonl", data / "store" / "harbour.jsonl")
    here = Precompute({"TSUKURIOKI_DATA": data})
    here("bundle", tmp_path / "event.tar", TSUKURIOKI_HOST="0.0.0.0", TSUKURIOKI_IDLE="7")
    here("unpack", tmp_path / "event.tar", "--into", tmp_path / "event")
    release = tmp_path / "event" / "current" / "data"
    for deck in ("game", "harbour"):
        assert (release / "store" / f"{deck}.jsonl").read_bytes() == log.read_bytes()
    assert (release / "settings.env").read_text() == "TSUKURIOKI_IDLE='7'\n"
    there = Precompute({"TSUKURIOKI_DATA": release})
    told = json.loads(there("stats", "--deck", "harbour", "--json").stdout)
    assert told["store"]["entries"] == 3


@pytest.mark.long
def test_what_is_packed_can_be_unpacked(tmp_path: Path) -> None:
    """A torn tail and hidden files are left out; damaged lines, links and strange names are refused."""
    data = tmp_path / "data"
    shutil.copytree(DECKS / "poem", data / "decks" / "poem")
    run = Precompute({"TSUKURIOKI_DATA": data})
    run("build", "--n", 3)
    log = data / "store" / "poem.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + b"damaged\n" + lines[1] + lines[2] + b'{"torn')
    (data / "decks" / "poem" / ".DS_Store").write_bytes(b"x")
    told = run("bundle", tmp_path / "event.tar", status=2).stderr
    assert "check --repair" in told
    run("check", "--repair")
    run("bundle", tmp_path / "event.tar")
    run("unpack", tmp_path / "event.tar", "--into", tmp_path / "event")
    release = tmp_path / "event" / "current" / "data"
    assert (release / "store" / "poem.jsonl").read_bytes() == b"".join(lines)
    assert not (release / "decks" / "poem" / ".DS_Store").exists()
    for strange in ("a\nb", "old.lmdb"):
        path = data / "decks" / "poem" / strange
        path.write_bytes(b"x")
        assert run("bundle", tmp_path / "no.tar", status=2).stderr.count("\n") == 1
        path.unlink()
    (data / "decks" / "poem" / "link").symlink_to("/etc/passwd")
    assert "link" in run("bundle", tmp_path / "no.tar", status=2).stderr
    with LogWriter(data / "store", "poem"):
        run("bundle", tmp_path / "no.tar", status=2)
    assert not list(tmp_path.glob("no.tar*"))
