"""Runs `python -m app` and `python -m precompute` as forks of a process that has imported both.

Imports are more than half of what a short command takes. A fork has its own arguments, environment,
folder, streams and exit status, and ends as any process does, so that a test cannot tell. Two such
processes take turns: what depends on the seed of hashes, which forks of one process share, shows.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import itertools
import json
import os
import runpy
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple

REPO = Path(__file__).parent.parent
PROGRAMS = ("app", "precompute")
# What Python or the C library reads before a program begins: a fork would not heed it.
_EARLY = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "TZ")
_LONGEST = 1 << 20


class Fork:
    """A process that was forked: the part of `subprocess.Popen` that tests of processes use."""

    def __init__(self, words: Sequence[str], status: IO[bytes]) -> None:
        self.args = words
        self.returncode: int | None = None
        self._status = status
        self.pid = int(status.readline())

    def poll(self) -> int | None:
        """The exit status if it has ended, negative where a signal ended it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            with self._status:
                self.returncode = int(self._status.readline())
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = subprocess.Popen[bytes] | Fork


def start(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], streams: Sequence[IO[Any] | None]
) -> Process:
    """Start a command; `streams` are its input, its output and where it says what is wrong."""
    if not _can_fork(words, env):
        stdin, stdout, stderr = (stream or subprocess.DEVNULL for stream in streams)
        return subprocess.Popen(words, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr)
    return next(_starters()).start(words, cwd, env, streams)


def run(
    words: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float,
    typed: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `typed` is its input. Raises TimeoutExpired."""
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
        streams[0].write(typed or "")
        streams[0].seek(0)
        process = start(words, cwd=cwd, env=env, streams=streams)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        for stream in streams:
            stream.seek(0)
        return subprocess.CompletedProcess(words, status, streams[1].read(), streams[2].read())


def _can_fork(words: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether it is one of our programs, this Python's, under the same early variables."""
    changed = {name for name, value in {**os.environ, **env}.items() if env.get(name) != value}
    changed |= {name for name, value in env.items() if os.environ.get(name) != value}
    return (
        hasattr(os, "pidfd_open")
        and list(words[:2]) == [sys.executable, "-m"]
        and words[2] in PROGRAMS
        and not any(name.startswith(_EARLY) for name in changed)
    )


def trust_nobody() -> None:
    """Make clients in this process without the world's authorities.

    To read them takes 50 ms for each client, more than most requests of tests; and no test asks the world.
    """
    ssl.create_default_context = lambda *_, **__: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _Starter:
    """The process that forks, as its parent sees it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forks", str(theirs.fileno())],
                cwd=REPO,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def start(
        self,
        words: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        streams: Sequence[IO[Any] | None],
    ) -> Fork:
        read, write = os.pipe()
        nothing = os.open(os.devnull, os.O_RDWR)
        numbers = [nothing if stream is None else stream.fileno() for stream in streams]
        request = json.dumps([words[2], words[3:], str(cwd), dict(env)]).encode()
        socket.send_fds(self._socket, [request], [*numbers, write])
        os.close(write)
        os.close(nothing)
        return Fork(words, os.fdopen(read, "rb", buffering=0))

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


@cache
def _starters() -> Iterator[_Starter]:
    made = (_Starter(), _Starter())
    for starter in made:
        atexit.register(starter.close)
    return itertools.cycle(made)


class _Request(NamedTuple):
    """What to run, and the file descriptors of its streams and of where its status is told."""

    program: str
    arguments: list[str]
    cwd: str
    env: dict[str, str]
    streams: list[int]


def _next_child(asked: socket.socket) -> _Request | None:
    """Fork for each request. Returns the request in the child, None when nobody asks any more."""
    polled = select.poll()
    polled.register(asked, select.POLLIN)
    running: dict[int, tuple[int, int]] = {}
    while True:
        for number, _ in polled.poll():
            if number in running:
                polled.unregister(number)
                child, status = running.pop(number)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                # Nobody may wait for it any more.
                with contextlib.suppress(BrokenPipeError):
                    os.write(status, b"%d\n" % code)
                os.close(status)
                os.close(number)
                continue
            message, received, _, _ = socket.recv_fds(asked, _LONGEST, 4)
            if not message:
                return None
            *streams, status = received
            child = os.fork()
            if not child:
                program, arguments, cwd, env = json.loads(message)
                return _Request(program, arguments, cwd, env, streams)
            os.write(status, b"%d\n" % child)
            for stream in streams:
                os.close(stream)
            watched = os.pidfd_open(child)
            polled.register(watched, select.POLLIN)
            running[watched] = child, status


def _become(request: _Request) -> None:
    """Be the process that was asked for."""
    for number, stream in enumerate(request.streams):
        os.dup2(stream, number)
    os.closerange(3, 1 << 12)
    os.environ.clear()
    os.environ.update(request.env)
    os.chdir(request.cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path[0] = request.cwd
    sys.argv[1:] = request.arguments
    runpy.run_module(request.program, run_name="__main__", alter_sys=True)


def main() -> None:
    """Import the programs, then fork for whoever asks over the socket."""
    trust_nobody()
    for name in ("app.start", "precompute.cli"):
        import_module(name)
    import_module("precompute.cli").cli.load()
    # Ctrl-C is for those who run; this ends when nobody can ask any more.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    asked = socket.socket(fileno=int(sys.argv[1]))
    request = _next_child(asked)
    if request:
        asked.detach()
        _become(request)


if __name__ == "__main__":
    main()
