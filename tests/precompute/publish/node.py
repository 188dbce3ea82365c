"""Runs the modules of the static edition in Node, as a browser would."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.making import REPO

MODULES = REPO / "precompute" / "publish" / "browser"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="Node is missing: apt-get install nodejs")


def in_node(folder: Path, code: str, value: object) -> Any:
    """The value that `code` leaves in `told`; it has the modules beside it, and `given`."""
    shutil.copytree(MODULES, folder, dirs_exist_ok=True)
    # Without this, Node takes .js for CommonJS.
    (folder / "package.json").write_text('{"type": "module"}')
    frame = (
        'import { readFileSync } from "node:fs";\n'
        'const given = JSON.parse(readFileSync(0, "utf8"));\n'
        f"let told;\n{code}\nprocess.stdout.write(JSON.stringify(told));\n"
    )
    (folder / "main.js").write_text(frame)
    assert NODE
    done = subprocess.run(
        [NODE, str(folder / "main.js")], input=orjson.dumps(value), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return orjson.loads(done.stdout)
