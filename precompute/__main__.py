"""`python -m precompute`, and the command `precompute`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run a command; says in one line what to install if the command line's libraries are missing."""
    try:
        from precompute.cli import main as run
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing in ("app", "precompute"):
            raise
        sys.stderr.write(
            f"precompute: {missing} is not installed, which only serving does without; "
            "run: pip install 'tsukurioki[tools]'\n"
        )
        return 2
    return run()


if __name__ == "__main__":
    raise SystemExit(main())
