"""`python -m app`."""

from __future__ import annotations

import sys

from app.entry import run

if __name__ == "__main__":
    python = sys.version.split()[0]
    advice = f"install it for Python {python} on this machine, in an environment of its own: pip install ."
    sys.exit(run("tsukurioki", "app.start", advice))
