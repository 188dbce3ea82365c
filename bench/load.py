"""Load: wrk on the other core, and the processor time that the server took meanwhile."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

CONNECTIONS = 64
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7}
# Requests are made beforehand and sent in turn, so that wrk costs as little as it can. With `pause`
# each connection waits before it asks again, which holds the rate down.
_SCRIPT = """
wrk.headers["Host"] = "%(host)s"
wrk.headers["Accept-Encoding"] = "gzip"
local requests = {}
for line in io.lines("%(file)s") do
  local method, kind, path, body = line:match("^(%%S+) (%%S+) (%%S+) ?(.*)$")
  local headers = kind ~= "-" and {["Content-Type"] = kind} or nil
  requests[#requests + 1] = wrk.format(method, path, headers, body ~= "" and body or nil)
end
local i = %(first)d
function request()
  i = i %% #requests + 1
  return requests[i]
end
%(pause)s
"""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: wrk cannot hold line breaks, and none of ours has one."""

    method: str
    path: str
    body: bytes = b""
    kind: str = "-"

    def line(self) -> bytes:
        """As it stands in wrk's list: method, content type or -, path, body."""
        return f"{self.method} {self.kind} {self.path} ".encode() + self.body


@dataclass(frozen=True, slots=True)
class Measure:
    """What one round gave: requests a second, latencies and processor time in microseconds."""

    rate: float
    p50: float
    p99: float
    cpu: float
    failed: int


def cores() -> tuple[int, int]:
    """The server's core and the load's. The same one where there is no other."""
    there = sorted(os.sched_getaffinity(0))
    return there[0], there[-1]


def cpu_seconds(process: psutil.Process) -> float:
    """Processor time of a process and its children so far."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        total += times.user + times.system
    return total


def ask(
    process: psutil.Process,
    port: int,
    requests: Sequence[Request],
    seconds: float,
    *,
    rate: float | None = None,
    first: int = 0,
) -> Measure:
    """Ask for so long, as fast as it goes or at about a rate."""
    connections, pause = CONNECTIONS, ""
    if rate:
        # Many connections that wait some 10 ms each: the rate does not hang on the latency.
        connections = max(8, min(256, round(rate * 0.01)))
        wait = 1000 * connections / rate
        pause = f"function delay() return math.random(0, {max(1, round(2 * wait))}) end"
    with tempfile.TemporaryDirectory() as folder:
        lines, script = Path(folder, "requests"), Path(folder, "script.lua")
        lines.write_bytes(b"\n".join(request.line() for request in requests) + b"\n")
        host = f"127.0.0.1:{port}"
        script.write_text(_SCRIPT % {"host": host, "file": lines, "first": first, "pause": pause})
        command = ["taskset", "-c", str(cores()[1]), "wrk", "-t1", f"-c{connections}"]
        command += [f"-d{seconds:g}s", "--latency", "-s", str(script), f"http://{host}/"]
        before = cpu_seconds(process)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return _measure(done.stdout, cpu_seconds(process) - before)


def _measure(told: str, cpu: float) -> Measure:
    count = int(_find(r"(\d+) requests in", told))
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    broken = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", told
    )
    return Measure(
        rate=float(_find(r"Requests/sec:\s+([\d.]+)", told)),
        p50=_microseconds(_find(r"\n +50% +(\S+)", told)),
        p99=_microseconds(_find(r"\n +99% +(\S+)", told)),
        cpu=1e6 * cpu / max(1, count),
        failed=(int(errors[1]) if errors else 0)
        + (sum(map(int, broken.groups())) if broken else 0),
    )


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if not found:
        raise RuntimeError(f"wrk said something else than expected:\n{text}")
    return found[1]


def _microseconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)([a-z]+)", text)
    assert found, text
    return float(found[1]) * _UNITS[found[2]]
