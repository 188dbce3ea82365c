"""Files, whole and in part: each byte is the file's, and a reader that takes nothing costs no memory."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from tests.making import Server, serving

pytestmark = pytest.mark.xdist_group("ranges")
LARGE = 64 << 20
READERS = 8
FONT = Path(__file__).parents[2] / "app/static/booth/fonts/tate.woff2"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, poem_alone: Path) -> Iterator[Server]:
    """A server with a site in which a film lies."""
    folder = tmp_path_factory.mktemp("ranges")
    site = folder / "site"
    site.mkdir()
    (site / "index.html").write_text("<p>film")
    (site / "font.bin").write_bytes(FONT.read_bytes())
    with (site / "film.mp4").open("wb") as film:
        film.truncate(LARGE)
    known = {"TSUKURIOKI_DATA": folder, "TSUKURIOKI_DECKS": poem_alone, "TSUKURIOKI_SITE": site}
    with serving(known, folder / "server.log") as started:
        yield started


@pytest.mark.parametrize("path", ["/font.bin", "/static/booth/fonts/tate.woff2"])
def test_a_part_of_a_file_is_that_part(server: Server, path: str) -> None:
    """Whatever range is asked for, a 206 holds the bytes that its Content-Range names, a 200 all."""
    whole, rng = FONT.read_bytes(), random.Random(1)
    places = [0, 1, 9, len(whole) - 1, len(whole), len(whole) + 1, 10**30]
    places += [rng.randrange(len(whole)) for _ in range(9)]
    texts = [f"bytes={rng.choice(places)}-{rng.choice(places)}" for _ in range(40)]
    texts += [f"bytes={place}-" for place in places] + [f"bytes=-{place}" for place in places]
    texts += ["bytes=", "bytes=0-0,5-9", "bytes=--5", "lines=1-2", "bytes=" + "0-," * 2000 + "0-"]
    with server.client() as client:
        for text in texts:
            answer = client.get(path, headers={"Range": text})
            assert answer.status_code in (200, 206, 416), text
            if answer.status_code == 206:
                span, _, size = (
                    answer.headers["content-range"].removeprefix("bytes ").partition("/")
                )
                start, _, end = span.partition("-")
                assert (answer.content, int(size)) == (whole[int(start) : int(end) + 1], len(whole))
            elif answer.status_code == 200:
                assert answer.content == whole
            head = client.head(path, headers={"Range": text})
            assert (head.status_code, head.content) == (answer.status_code, b"")


def memory(server: Server) -> int:
    """Bytes that the server's processes hold by themselves."""
    own = psutil.Process(server.process.pid)
    return sum(one.memory_full_info().uss for one in (own, *own.children()))


@pytest.mark.parametrize("asked", ["", "Range: bytes=0-\r\n", "Range: bytes=1-\r\n"])
def test_readers_that_take_nothing_hold_no_file_in_memory(server: Server, asked: str) -> None:
    """Readers of a large file, or of most of it, that read only its head cost less than the file."""
    before, url = memory(server), httpx.URL(server.url)
    address = url.host, url.port
    with ExitStack() as stack:
        for _ in range(READERS):
            reader = stack.enter_context(socket.create_connection(address))
            reader.sendall(f"GET /film.mp4 HTTP/1.1\r\nHost: localhost\r\n{asked}\r\n".encode())
            assert reader.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 206")
        with httpx.Client(base_url=server.url) as client:
            assert client.get("/healthz").status_code == 200
        assert memory(server) - before < LARGE
