"""The small files for web servers and stores do what docs/static-edition says."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from precompute.publish.edition import publish
from precompute.publish.folder import EDITION
from tests.making import REPO, small_deck
from tests.precompute.publish.test_publish import settings_of

FAKE = '#!/bin/sh\nprintf "%s\\n" "$(printf "%s\\t" "$@")" >> "$LOG"\n'


def test_a_store_gets_the_switch_last(tmp_path: Path) -> None:
    """s3.sh sends lasting files first, then the others, then edition.json, and deletes nothing."""
    (tmp_path / "bin").mkdir()
    aws = tmp_path / "bin" / "aws"
    aws.write_text(FAKE)
    aws.chmod(0o755)
    log = tmp_path / "log"
    environ = {**os.environ, "PATH": f"{aws.parent}:{os.environ['PATH']}", "LOG": str(log)}
    script = REPO / "deploy" / "static" / "s3.sh"
    subprocess.run([script, "the edition", "s3://b/p"], env=environ, check=True)
    files, top, switch = (line.split("\t") for line in log.read_text().splitlines())
    assert files[:4] == ["s3", "sync", "the edition/files", "s3://b/p/files"]
    assert "public, max-age=31536000, immutable" in files
    assert {"files/*", EDITION} <= set(top)
    assert switch[:4] == ["s3", "cp", "the edition/edition.json", "s3://b/p/edition.json"]
    assert "--delete" not in shlex.join([*files, *top, *switch])


def test_hosts_that_read_headers_find_them(tmp_path: Path) -> None:
    """`_headers` names each file at the top: only what is under files/ may be kept without asking."""
    root = tmp_path / "edition"
    publish(settings_of(tmp_path), small_deck(tmp_path / "small"), root)
    rules = {}
    for line in (root / "_headers").read_text().splitlines():
        if not line.startswith(" "):
            path = line
        elif "Cache-Control" in line:
            rules[path] = line.split(": ")[1]
    assert rules.pop("/files/*") == "public, max-age=31536000, immutable"
    assert set(rules.values()) == {"no-cache"}
    changing = {
        f"/{path.name}"
        for path in root.iterdir()
        if path.is_file() and path.suffix not in (".gz", ".br", ".png") and path.name[0] not in "._"
    }
    # By name: hosts join the values of all rules that match, as a pattern for .js would within files/.
    assert changing <= set(rules)
    assert (root / ".nojekyll").exists()
