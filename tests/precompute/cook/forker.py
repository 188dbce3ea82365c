"""Runs builds in forked children of one process that has everything imported.

A killed build costs a fork instead of two seconds of imports. Reads one JSON list of arguments a
line, answers with the child's process id, and with its exit status when it has ended.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Serve until the input ends."""
    import google.genai  # imported for the children
    import google.genai.types  # noqa: F401  # imported for the children
    import httpx2  # noqa: F401  # imported for the children

    from precompute import cli

    log = Path(sys.argv[1]).open("ab")  # noqa: SIM115  # for as long as the process
    _say("ready")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            os._exit(cli.main(json.loads(line)))
        _say(child)
        _, status = os.waitpid(child, 0)
        _say(os.waitstatus_to_exitcode(status))


def _say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
