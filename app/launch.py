"""What `python -m app` and `python -m precompute` share: saying what to install."""

from __future__ import annotations

import importlib
import io
import sys


def run(program: str, module: str, advice: str) -> int:
    """Run the `main` of a module with the process's arguments; returns the exit status.

    If a library is missing or was made for another Python, says so in one line with `advice`.
    """
    for stream, fault in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            # Where they are not UTF-8, or what comes is not, a mark or an escape is shown.
            stream.reconfigure(errors=fault)
    try:
        main = importlib.import_module(module).main
    except ImportError as error:
        if (error.name or "").partition(".")[0] in ("app", "precompute"):
            raise
        sys.stderr.write(f"{program}: {error}; {advice}\n")
        return 2
    except KeyboardInterrupt:
        # While the modules are loaded, which takes a second or more on a busy machine.
        sys.stderr.write(f"{program}: stopped before it had begun\n")
        return 130
    status: int = main(sys.argv[1:])
    return status
