"""`python -m precompute`, and the command `precompute`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run a command; says in one line what to install if a library is missing or of another Python."""
    try:
        from precompute.cli import main as run
    except ImportError as error:
        if (error.name or "").partition(".")[0] in ("app", "precompute"):
            raise
        sys.stderr.write(
            f"precompute: {error}; the command needs more than serving, "
            "run: pip install 'tsukurioki[tools]'\n"
        )
        return 2
    return run()


if __name__ == "__main__":
    raise SystemExit(main())
