"""`python -m app`."""

from __future__ import annotations

import gc
import sys

from app.launch import run

if __name__ == "__main__":
    # What is imported and loaded stays: looking for garbage in it takes a tenth of the start.
    # `app.edge.serving.serve` turns the collector on again, for what comes after.
    gc.disable()
    python = sys.version.split()[0]
    advice = f"install it for Python {python} on this machine, in an environment of its own: pip install ."
    sys.exit(run("tsukurioki", "app.start", advice))
