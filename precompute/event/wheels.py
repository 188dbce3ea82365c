"""Wheels in a bundle: for which Pythons and machines they are, and getting those for others.

pip evaluates the environment markers of dependencies for the Python that runs it. So wheels for an
older Python could lack a package that only older ones need, and are refused.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from app.errors import BundleError

PYTHONS = ("3.11", "3.12", "3.13")


def _glibc(machine: str) -> tuple[str, ...]:
    """Platform tags that run on any Linux of 2019 or later with glibc."""
    named = [f"manylinux_2_{minor}_{machine}" for minor in range(28, 16, -1)]
    return (*named, f"manylinux2014_{machine}", f"linux_{machine}")


PLATFORMS: Mapping[str, tuple[str, ...]] = {
    "linux-x86_64": _glibc("x86_64"),
    "linux-aarch64": _glibc("aarch64"),
    "macos-arm64": tuple(mac_platforms((13, 0), "arm64")),
    "macos-x86_64": tuple(mac_platforms((13, 0), "x86_64")),
}
_SYSTEMS = {"Linux": "linux", "Darwin": "macos"}


class Target(NamedTuple):
    """A Python and a machine, as `--python` and `--platform` name them."""

    python: str
    platform: str

    def __str__(self) -> str:
        return f"Python {self.python} on {self.platform}"

    def tags(self) -> frozenset[Tag]:
        """The tags of wheels that can be installed there."""
        major, minor = map(int, self.python.split("."))
        platforms = PLATFORMS[self.platform]
        compiled = cpython_tags((major, minor), platforms=platforms)
        pure = compatible_tags((major, minor), f"cp{major}{minor}", platforms)
        return frozenset((*compiled, *pure))


ALL = tuple(Target(python, name) for name in PLATFORMS for python in PYTHONS)


def here() -> Target:
    """The Python and the machine that run this; the platform may be one that is not supported."""
    system = _SYSTEMS.get(platform.system(), platform.system().lower())
    return Target("{}.{}".format(*sys.version_info), f"{system}-{platform.machine()}")


def wanted(pythons: str, platforms: str) -> list[Target]:
    """The targets of two lists with commas; an empty list means this one. Raises BundleError."""
    now = here()
    if not pythons and not platforms:
        return [now]
    found = [
        Target(python, name)
        for name in _listed("--platform", platforms or now.platform, PLATFORMS)
        for python in _listed("--python", pythons or now.python, PYTHONS)
    ]
    oldest = min(found, key=lambda target: PYTHONS.index(target.python)).python
    if now.python in PYTHONS and PYTHONS.index(oldest) < PYTHONS.index(now.python):
        raise BundleError(
            f"--python {oldest}: pip finds wheels for its own Python and later ones; run precompute "
            f"with Python {oldest}, this is {now.python}"
        )
    return found


def _listed(option: str, text: str, known: Iterable[str]) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    strange = [word for word in words if word not in known]
    if strange or not words:
        raise BundleError(f"{option} {text}: expected a list of {', '.join(known)}")
    return words


def targets_of(names: Iterable[str]) -> list[Target]:
    """The targets for which every package has a wheel, by the wheels' file names."""
    packages: defaultdict[str, set[Tag]] = defaultdict(set)
    for name in names:
        try:
            package, _, _, tags = parse_wheel_filename(name)
        except InvalidWheelFilename:
            continue
        packages[package] |= tags
    return [t for t in ALL if packages and all(tags & t.tags() for tags in packages.values())]


def note_on(names: Iterable[str]) -> str:
    """What a bundle's wheels are for, in words; empty if it has none."""
    wheels = list(names)
    if not wheels:
        return ""
    pythons: defaultdict[str, list[str]] = defaultdict(list)
    for target in targets_of(wheels):
        pythons[target.platform].append(target.python)
    found = "; ".join(f"Python {', '.join(some)} on {name}" for name, some in pythons.items())
    return f"{len(wheels)} wheels, for {found or 'no Python and machine that are supported'}"


def make(folder: Path, targets: Sequence[Target]) -> dict[str, Path]:
    """Wheels of this project and of all that serving and unpacking need, by name. Raises BundleError."""
    project = Path(__file__).parents[2]
    if not (project / "pyproject.toml").is_file():
        raise BundleError(
            "--wheels needs the project's source folder: run it from a checkout, in which the project is "
            "installed with pip install -e"
        )
    folder.mkdir(parents=True, exist_ok=True)
    # Otherwise setuptools builds in the source folder, and packs what an earlier build left there.
    config = folder.parent / "build.cfg"
    config.write_text(f"[build]\nbuild_base = {folder.parent / 'build'}\n", "utf-8")
    for target in targets:
        # For this machine, what has no wheel is built.
        if target == here():
            _pip(config, "wheel", "--wheel-dir", str(folder), f"{project}[tools]")
    own = next(folder.glob("tsukurioki-*.whl"), None)
    if own is None:
        _pip(config, "wheel", "--no-deps", "--wheel-dir", str(folder), str(project))
        own = next(folder.glob("tsukurioki-*.whl"))
    for target in targets:
        if target != here():
            places = [word for tag in PLATFORMS[target.platform] for word in ("--platform", tag)]
            words = ("--only-binary", ":all:", "--python-version", target.python, *places)
            _pip(config, "download", *words, "--dest", str(folder), f"{own}[tools]", target=target)
    return {path.name: path for path in sorted(folder.iterdir())}


def _pip(config: Path, command: str, *words: str, target: Target | None = None) -> None:
    done = subprocess.run(  # noqa: S603  # our own interpreter, with words of our own
        [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", *words],
        check=False,
        capture_output=True,
        text=True,
        # Otherwise a wheel contains the time at which it was made.
        env={**os.environ, "SOURCE_DATE_EPOCH": "315532800", "DIST_EXTRA_CONFIG": str(config)},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        what = f" for {target}" if target else ""
        raise BundleError(f"--wheels: pip could not make the wheels{what}: {last}")
