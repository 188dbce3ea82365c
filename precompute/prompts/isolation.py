"""Taking the network away from a program: a namespace with a loopback and nothing else.

The kernel counts what finds no route out of a namespace. Where namespaces are not allowed, every
Python process runs with sockets that refuse to leave the machine and write down who tried.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
NAMESPACES: tuple[tuple[str, ...], ...] = (
    ("unshare", "--net"),
    ("unshare", "--user", "--map-root-user", "--net"),
)
# Put before everything else on the path of every Python process where there is no namespace.
_GUARD = """
import os, socket
_connect = socket.socket.connect
def _guarded(self, address):
    host = address[0] if isinstance(address, tuple) else "local"
    if host not in ("local", "localhost", "::1") and not host.startswith("127."):
        with open(os.environ["TRIES_TO_LEAVE"], "a") as file:
            file.write(f"{os.getpid()} {host}\\n")
        raise OSError(101, "Network is unreachable")
    return _connect(self, address)
socket.socket.connect = _guarded
"""


@dataclass(frozen=True, slots=True)
class Isolation:
    """How the network is taken away: words before a command, and settings for it.

    `tries` is the file in which sockets that refuse write down who tried to leave; it does not exist
    as long as nobody did.
    """

    strength: str
    words: tuple[str, ...]
    settings: Mapping[str, str]
    tries: Path


def isolate(folder: Path, environ: Mapping[str, str]) -> Isolation:
    """The strongest isolation that this system allows; its files are put into `folder`."""
    tries = folder / "tries"
    for words in NAMESPACES:
        try:
            done = subprocess.run([*words, "true"], check=False, capture_output=True)  # noqa: S603
        except FileNotFoundError:
            break
        if done.returncode == 0:
            return Isolation("a namespace with a loopback only", words, {}, tries)
    guard = folder / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(_GUARD)
    path = os.pathsep.join(filter(None, (str(guard), environ.get("PYTHONPATH"))))
    settings = {"PYTHONPATH": path, "TRIES_TO_LEAVE": str(tries)}
    strength = "Python's sockets refuse to leave; other programs are not held (no namespaces here)"
    return Isolation(strength, (), settings, tries)


def raise_loopback() -> bool:
    """Bring the loopback up, in a namespace where it is down; True where we are in a namespace."""
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(handle, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
    return True


def tries_to_leave() -> int:
    """How many packets or connections of this namespace found no route, by the kernel's count."""
    lines = Path("/proc/self/net/snmp").read_text("ascii").splitlines()
    names, values = [line.split()[1:] for line in lines if line.startswith("Ip:")]
    count = int(dict(zip(names, values, strict=True))["OutNoRoutes"])
    six = Path("/proc/self/net/snmp6")
    if six.exists():
        rows = (line.split() for line in six.read_text("ascii").splitlines())
        count += int({row[0]: row[1] for row in rows}.get("Ip6OutNoRoutes", "0"))
    return count
