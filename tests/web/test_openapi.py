"""The description of the routes, held against a running server by schemathesis."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import Settings
from app.web.app import create_app
from tests.conftest import Serve
from tests.making import DECKS, Precompute, environment

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_every_route_is_described(tmp_path: Path) -> None:
    """Each route of the application is in the description with its methods, and nothing else is."""
    app = create_app(
        Settings.read({"TSUKURIOKI_DATA": str(tmp_path), "TSUKURIOKI_DECKS": str(DECKS)})
    )
    described = json.loads(app.test_client().get("/openapi.json").data)["paths"]
    routes = {
        (rule.rule.replace("<", "{").replace(">", "}").replace("path:", ""), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint != "static"
    }
    methods = ("get", "post", "delete", "put", "patch")
    assert routes == {(path, m) for path, told in described.items() for m in told if m in methods}


@pytest.mark.long
def test_the_server_does_what_is_described(precompute: Precompute, serve: Serve) -> None:
    """Generated requests to each route get a status, a type and a body as described, never a 5xx."""
    pytest.importorskip("schemathesis", reason="schemathesis is missing: pip install schemathesis")
    precompute("build", "--n", 27)
    server = serve(TSUKURIOKI_DECKS=DECKS, TSUKURIOKI_CHAT_RATE=0, TSUKURIOKI_CHAT_PACE=0)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    command += ["--checks", CHECKS, "--max-examples", "6", "--phases", "examples,coverage,fuzzing"]
    command += ["--seed", "1", "--no-color"]
    ended = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=False, cwd=server.data
    )
    assert ended.returncode == 0, ended.stdout[-6000:]
