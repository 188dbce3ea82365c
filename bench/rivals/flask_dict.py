"""The obvious server: Flask, and a dict of answers by a hash of the request. For gunicorn."""

import hashlib
import json
import os
from pathlib import Path

from flask import Flask, jsonify, request

app = Flask(__name__)
ANSWERS = json.loads(Path(os.environ["BENCH_ANSWERS"]).read_text(encoding="utf-8"))


@app.get("/api/answers/<key>")
def by_key(key: str):  # type: ignore[no-untyped-def]
    """An answer by its key."""
    return jsonify(ANSWERS[key])


@app.post("/api/generate-poem")
def play():  # type: ignore[no-untyped-def]
    """The game's own call."""
    pairs = request.get_json()["selectedPairs"]
    picks = sorted((p["conditionCard"]["id"], p["selectedPoem"]["id"]) for p in pairs)
    return jsonify(ANSWERS[hashlib.sha256(json.dumps(picks).encode()).hexdigest()])
