"""Wheels in a bundle: it says for which Pythons and machines they are, and can have several."""

from __future__ import annotations

import subprocess
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from precompute.event.wheels import ALL, Target, here, note_on, targets_of
from tests.making import DECKS, Precompute, environment, serving

# How wheels of compiled packages are named for a platform.
_TAGS = {
    "linux-x86_64": ("manylinux_2_17_x86_64.manylinux2014_x86_64", "manylinux_2_28_x86_64"),
    "linux-aarch64": ("manylinux_2_17_aarch64.manylinux2014_aarch64", "manylinux_2_27_aarch64"),
    "macos-arm64": ("macosx_11_0_arm64", "macosx_12_0_arm64"),
    "macos-x86_64": ("macosx_10_12_x86_64", "macosx_13_0_x86_64"),
}


def _wheel(package: str, target: Target, rng: Random) -> str:
    """A name of a wheel that fits a target, and perhaps later Pythons."""
    number = target.python.replace(".", "")
    tag = rng.choice(_TAGS[target.platform])
    return f"{package}-1.0-cp{number}-cp{number}-{tag}.whl"


@pytest.mark.parametrize("seed", range(6))
def test_wheels_are_for_the_targets_that_every_package_has(seed: int) -> None:
    """Packages without code fit all; a package that lacks a target takes it away."""
    rng = Random(seed)
    wanted = rng.sample(ALL, rng.randint(1, 5))
    pure = ["flask-3.1.0-py3-none-any.whl", "six-1.0-py2.py3-none-any.whl"]
    # A stable ABI: one wheel for this Python and later ones.
    stable = [f"a-1.0-cp39-abi3-{tag}.whl" for tags in _TAGS.values() for tag in tags]
    packages = ("granian", "lmdb", "re2")
    whole = [_wheel(package, target, rng) for package in packages for target in wanted]
    found = targets_of([*pure, *stable, *whole])
    assert set(found) == set(wanted)
    lacking = rng.choice(wanted)
    cut = [name for name in whole if not name.startswith("lmdb")]
    cut += [_wheel("lmdb", target, rng) for target in wanted if target != lacking]
    if len(wanted) > 1:
        assert set(targets_of([*pure, *stable, *cut])) == set(wanted) - {lacking}
    both = targets_of(["lmdb-1.0-cp312-cp312-macosx_10_13_universal2.whl"])
    assert both == [Target("3.12", "macos-arm64"), Target("3.12", "macos-x86_64")]
    assert targets_of(["lmdb-1.0-cp311-cp311-win_amd64.whl", *pure]) == []
    assert targets_of([*pure, "not-a-wheel.whl"]) == list(ALL)
    assert "no Python and machine" in note_on(["lmdb-1.0-cp39-cp39-win_amd64.whl"])
    assert note_on([]) == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--python", "3.12"], "add --wheels"),
        (["--wheels", "--python", "3.9"], "--python 3.9: expected a list of 3.11, 3.12, 3.13"),
        (
            ["--wheels", "--platform", "windows"],
            "--platform windows: expected a list of linux-x86_64",
        ),
        (["--wheels", "--python", ","], "--python ,: expected a list"),
    ],
)
def test_wrong_targets_are_one_line(
    words: Sequence[str], told: str, precompute: Precompute, tmp_path: Path
) -> None:
    """A Python or a machine that is not supported is refused before anything is packed."""
    said = precompute("bundle", tmp_path / "event.tar", *words, status=2)
    assert said.stderr.count("\n") == 1
    assert told in said.stderr
    assert not (tmp_path / "event.tar").exists()


def _run(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment(PIP_DISABLE_PIP_VERSION_CHECK=1),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.long
def test_a_bundle_installs_without_a_network_on_each_of_its_targets(
    precompute: Precompute, tmp_path: Path
) -> None:
    """Wheels for here and another machine: named, installed by pip alone, and served without a checkout."""
    other = "macos-arm64" if here().platform != "macos-arm64" else "linux-x86_64"
    bundle, home = tmp_path / "event.tar", Precompute({"TSUKURIOKI_DATA": DECKS.parent})
    names = f"{here().platform},{other}"
    words = ["--deck", "harbour", "--wheels", "--platform", names]
    stale = DECKS.parents[1] / "build" / "lib" / "app" / "left_over.py"
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.write_text("")
    try:
        done = _run(*home.words("bundle", bundle, *words), folder=DECKS.parents[1])
    finally:
        stale.unlink()
    if "pip could not make the wheels" in done.stderr:
        pytest.skip(f"no registry: {done.stderr}")
    assert done.returncode == 0, done.stderr
    for name in names.split(","):
        assert f"Python {here().python} on {name}" in done.stdout
    assert f"Python {here().python} on {other}" in precompute("verify", bundle).stdout
    # As docs/day-of-the-event says.
    wheels, made = tmp_path / "wheels", tmp_path / "installed"
    wheels.mkdir()
    _run("tar", "-xf", bundle, "--strip-components=1", "-C", wheels, "wheels", folder=tmp_path)
    (own,) = wheels.glob("tsukurioki-*.whl")
    packed = [name for name in zipfile.ZipFile(own).namelist() if name.endswith(".py")]
    # What an earlier build left in the source folder is not packed.
    assert "app/__main__.py" in packed
    assert "app/left_over.py" not in packed
    venv.create(made, with_pip=True)
    pip = (made / "bin" / "pip", "install", "--no-index", "--find-links", wheels)
    assert _run(*pip, "tsukurioki", folder=tmp_path).returncode == 0
    plain = _run(made / "bin" / "precompute", "stats", folder=tmp_path)
    assert plain.returncode == 2
    assert plain.stderr.count("\n") == 1
    assert "pip install 'tsukurioki[tools]'" in plain.stderr
    assert _run(*pip, "tsukurioki[tools]", folder=tmp_path).returncode == 0
    command = made / "bin" / "precompute"
    unpacked = _run(command, "unpack", bundle, "--into", "event", folder=tmp_path)
    assert unpacked.returncode == 0, unpacked.stderr
    # In a folder without decks, a deck of one's own is what can be begun with.
    nothing = _run(command, "stats", folder=tmp_path)
    assert (nothing.returncode, nothing.stderr.count("\n")) == (2, 1)
    assert "no deck here" in nothing.stderr
    new = _run(command, "new-deck", "mine", "--language", "en", "--hand", "3", folder=tmp_path)
    assert new.returncode == 0, new.stderr
    assert (
        _run(
            command, "build", "--deck", "mine", "--n", "5", "--dry-run", folder=tmp_path
        ).returncode
        == 0
    )
    server = [str(made / "bin" / "python"), "-P", "-m", "app"]
    settings = {"TSUKURIOKI_DATA": tmp_path / "event" / "current" / "data", "PYTHONSAFEPATH": 1}
    with serving(settings, tmp_path / "log", server) as started, started.client() as client:
        assert client.get("/chat").status_code == 200
        assert "harbour" in client.get("/stats").json()["decks"]
