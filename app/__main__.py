"""`python -m app`."""

from __future__ import annotations

import sys


def main() -> int:
    """Serve; says in one line what to install if a library is missing or was made for another Python."""
    try:
        from app.start import main as serve
    except ImportError as error:
        if (error.name or "").partition(".")[0] in ("app", "precompute"):
            raise
        sys.stderr.write(
            f"tsukurioki: {error}; install it for Python {sys.version.split()[0]} on this machine, "
            "in an environment of its own: pip install .\n"
        )
        return 2
    return serve(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
