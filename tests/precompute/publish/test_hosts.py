"""The small files for web servers and stores do what docs/static-edition says."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from precompute.publish.edition import publish
from precompute.publish.folder import EDITION
from tests.making import REPO, small_deck, wait_for_port
from tests.precompute.publish.test_publish import settings_of

# The programs of the environment that runs the tests, and of the system.
SEARCHED = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
READABLE = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", '
    '"Action": "s3:GetObject", "Resource": "arn:aws:s3:::event/*"}]}'
)
STORE_SCRIPT = REPO / "deploy" / "static" / "s3.sh"
FAKE = '#!/bin/sh\nprintf "%s\\n" "$(printf "%s\\t" "$@")" >> "$LOG"\n'


def test_a_store_gets_the_switch_last(tmp_path: Path) -> None:
    """s3.sh sends lasting files first, then the others, then edition.json, and deletes nothing."""
    (tmp_path / "bin").mkdir()
    aws = tmp_path / "bin" / "aws"
    aws.write_text(FAKE)
    aws.chmod(0o755)
    log = tmp_path / "log"
    environ = {**os.environ, "PATH": f"{aws.parent}:{os.environ['PATH']}", "LOG": str(log)}
    subprocess.run([STORE_SCRIPT, "the edition", "s3://b/p"], env=environ, check=True)
    files, top, switch = (line.split("\t") for line in log.read_text().splitlines())
    assert files[:4] == ["s3", "sync", "the edition/files", "s3://b/p/files"]
    assert "public, max-age=31536000, immutable" in files
    assert {"files/*", EDITION} <= set(top)
    assert switch[:4] == ["s3", "cp", "the edition/edition.json", "s3://b/p/edition.json"]
    assert "--delete" not in shlex.join([*files, *top, *switch])


@pytest.mark.long
def test_a_store_that_speaks_the_protocol_sends_what_was_copied(tmp_path: Path) -> None:
    """The AWS CLI and moto's server: each object has its type and says how long it may be kept."""
    commands = [shutil.which(name, path=SEARCHED) for name in ("aws", "moto_server")]
    if not all(commands):
        pytest.skip("the AWS CLI and moto are missing: pip install awscli 'moto[server,s3]'")
    root = tmp_path / "edition"
    publish(settings_of(tmp_path), small_deck(tmp_path / "small"), root)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environ = {
        **os.environ,
        "PATH": SEARCHED,
        "AWS_ENDPOINT_URL": url,
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "none"),
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = ["moto_server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as store:
        try:
            wait_for_port(port)
            copying: list[str | Path] = [STORE_SCRIPT, root, "s3://event/p"]
            opening = [
                "aws",
                "s3api",
                "put-bucket-policy",
                "--bucket",
                "event",
                "--policy",
                READABLE,
            ]
            for words in (["aws", "s3", "mb", "s3://event"], opening, copying):
                subprocess.run(words, env=environ, check=True, timeout=300, capture_output=True)
            sent = {
                path: httpx.get(f"{url}/event/p/{path.relative_to(root)}")
                for path in root.rglob("*")
                if path.is_file() and path.suffix not in (".gz", ".br")
            }
        finally:
            store.terminate()
            store.wait(15)
    assert len(sent) > 20
    for path, response in sent.items():
        assert response.content == path.read_bytes(), path
        lasting = path.is_relative_to(root / "files")
        kept = "public, max-age=31536000, immutable" if lasting else "no-cache"
        assert response.headers["cache-control"] == kept, path
    page, manifest = sent[root / "index.html"], sent[root / "app.webmanifest"]
    assert page.headers["content-type"] == "text/html"
    assert manifest.headers["content-type"] == "application/manifest+json"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@pytest.fixture
def caddy(tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of Caddy, which serves an edition by the documented file: only its address and folder differ."""
    if not shutil.which("caddy"):
        pytest.skip("caddy is missing: apt-get install caddy")
    publish(settings_of(tmp_path), small_deck(tmp_path / "small"), tmp_path / "edition")
    port = free_port()
    text = (REPO / "deploy" / "static" / "Caddyfile").read_text()
    for documented, here in (
        ("play.example {", f"http://127.0.0.1:{port} {{"),
        ("/srv/edition", str(tmp_path / "edition")),
    ):
        assert documented in text
        text = text.replace(documented, here)
    (tmp_path / "Caddyfile").write_text("{\n\tadmin off\n}\n" + text)
    config = str(tmp_path / "Caddyfile")
    command = ["caddy", "run", "--config", config, "--adapter", "caddyfile"]
    environ = {**os.environ, "HOME": str(tmp_path)}
    with (
        subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environ) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        try:
            wait_for_port(port)
            yield client
        finally:
            server.terminate()
            server.wait(15)


def test_caddy_sends_what_the_documents_say(caddy: httpx.Client) -> None:
    """Files under files/ compressed and for ever, all others asked for anew, both with the policy."""
    edition, page = caddy.get("/edition.json"), caddy.get("/")
    lasting = caddy.get(f"/{edition.json()['program']}/edition/answers.js")
    assert page.text.startswith("<!doctype html>")
    for coding in ("br", "gzip"):
        with caddy.stream("GET", lasting.url, headers={"accept-encoding": coding}) as sent:
            assert sent.headers["content-encoding"] == coding
            assert sum(map(len, sent.iter_raw())) < len(lasting.content) / 2
    assert lasting.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert edition.headers["cache-control"] == page.headers["cache-control"] == "no-cache"
    for response in (edition, page, lasting):
        assert "script-src 'self'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
    assert caddy.get("/app.webmanifest").headers["content-type"] == "application/manifest+json"


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
