"""Runs a command in forked children that die, or that find no room, at a given moment.

Reads one JSON object a line: `arguments` of the command; `place`: the folder whose changes are
counted; `kill_at`: which of them SIGKILL comes before (0: none); `room`: the largest file in bytes
(0: no limit). Answers with the child's exit status, how many changes it made, and its stderr.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from multiprocessing import Pipe
from typing import Any

CHANGES = {"open", "os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "os.chmod"}


def main() -> None:
    """Serve until the input ends."""
    from precompute import cli

    for line in sys.stdin:
        asked = json.loads(line)
        ours, theirs = Pipe(duplex=False)
        # A pipe, not a file: the limit on files would cut what is said.
        told, stderr = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(stderr, 2)
            os.dup2(stderr, 1)
            counted = _watch(asked["place"], asked["kill_at"])
            if asked["room"]:
                resource.setrlimit(resource.RLIMIT_FSIZE, (asked["room"], asked["room"]))
            status = 1
            try:
                status = cli.main(asked["arguments"])
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                sys.stderr.flush()
                theirs.send(counted[0])
                os._exit(status)
        theirs.close()
        os.close(stderr)
        _, status = os.waitpid(child, 0)
        count = ours.recv() if os.WIFEXITED(status) else 0
        with os.fdopen(told) as words:
            answer = [os.waitstatus_to_exitcode(status), count, words.read()]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _watch(place: str, kill_at: int) -> list[int]:
    counted = [0]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES and any(str(word).startswith(place) for word in arguments[:2]):
            counted[0] += 1
            if counted[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return counted


if __name__ == "__main__":
    main()
