"""`python -m precompute`, and the command `precompute`."""

from __future__ import annotations

import sys

from app.launch import run


def main() -> int:
    """Run a command; returns the exit status."""
    advice = "the command needs more than serving, run: pip install 'tsukurioki[tools]'"
    return run("precompute", "precompute.cli", advice)


if __name__ == "__main__":
    sys.exit(main())
