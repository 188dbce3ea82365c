"""A Flask application with one route: what Python, Flask and our HTTP server take by themselves."""

from __future__ import annotations

from flask import Flask

app = Flask(__name__)


@app.get("/")
def answer() -> str:
    """One word."""
    return "here"
