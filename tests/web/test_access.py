"""Who may ask, over HTTP: hosts, pages of other origins, the token, a site's hidden files."""

from __future__ import annotations

import http.client
import itertools
import os
import random
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.settings import Settings
from app.store.index import Index
from app.web.app import create_app
from tests import forks
from tests.conftest import Serve
from tests.making import (
    DECKS,
    REPO,
    Precompute,
    Server,
    environment,
    free_port,
    game_body,
    serving,
    wait_for,
)

pytestmark = pytest.mark.xdist_group("http")

TOKEN = "open-sesame"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")
GUARDED = {
    "/stats": METHODS,
    "/metrics": METHODS,
    "/api/wall": ("GET", "HEAD", "DELETE"),
    f"/api/wall/{'0' * 32}": ("DELETE",),
    "/api/chat": ("POST",),
}
OPEN = (
    "/", "/wall", "/dashboard", "/chat", "/healthz", "/api/decks/poem", "/api/decks/poem/deal",
    "/api/generate-poem", "/api/decks/poem/answer", f"/api/answers/{'0' * 32}",
)  # fmt: skip


def call(server: Server, method: str, path: str, body: bytes = b"", **headers: str | None) -> int:
    """Status and JSON of one request with just these headers; None leaves one out."""
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        told = {"Host": parts.netloc, "Content-Length": str(len(body)), **headers}
        for name, value in told.items():
            if value is not None:
                connection.putheader(name.replace("_", "-"), value.encode("latin-1"))
        connection.endheaders(body)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status >= 400 and method != "HEAD":
        told_wrong = orjson.loads(text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert told_wrong["status"] == answer.status
        assert told_wrong["detail"]
        assert told_wrong["error"]
    return answer.status


@pytest.fixture
def asks(server: Server, poem: Deck) -> list[tuple[str, str, bytes]]:
    """A request of every sort: a stored answer and a play of the fast path, a page, a file."""
    index = Index(server.data / "store", "poem")
    (key, _), *_ = index.keys()
    index.close()
    play = orjson.dumps(game_body(poem, random_play(poem, random.Random(1))))
    return [
        ("GET", f"/api/answers/{key}", b""),
        ("POST", "/api/generate-poem", play),
        ("GET", "/", b""),
        ("GET", "/static/booth/game.js", b""),
        ("GET", "/healthz", b""),
    ]


# Hosts


def hosts(rng: random.Random) -> tuple[list[str], list[str]]:
    """Hosts that are ours, and names that somebody else's DNS could point here."""
    four = ".".join(str(rng.randrange(256)) for _ in range(4))
    six = ":".join(f"{rng.randrange(1, 65536):x}" for _ in range(8))
    label = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=8))
    ours = ["localhost", "LOCALHOST", socket.gethostname(), four, f"[{six}]", "[::1]", "127.0.0.1"]
    theirs = [
        f"{label}.example", f"localhost.{label}.example", f"{four}.{label}.example", f"{label}",
        f"{four}.nip.io", f"{label}localhost", f"localhost{label}", f"xn--{label}.example",
    ]  # fmt: skip
    port = rng.randrange(1, 65536)
    return [*ours, *(f"{h}:{port}" for h in ours)], [*theirs, *(f"{h}:{port}" for h in theirs)]


def test_only_our_own_hosts_are_answered(
    server: Server, asks: list[tuple[str, str, bytes]]
) -> None:
    """Localhost, the machine's name and any IP address are answered; any other name gets a 421."""
    for seed in range(3):
        ours, theirs = hosts(random.Random(seed))
        for host, (method, path, body) in itertools.product(ours, asks):
            assert call(server, method, path, body, Host=host) == 200, (host, path)
        for host, (method, path, body) in itertools.product(theirs, asks):
            assert call(server, method, path, body, Host=host) == 421, (host, path)


@pytest.mark.parametrize(
    "host",
    ["", " ", "a b", "a,b", "127.0.0.1, localhost", "[::1", "::1", "localhost:x", "localhost:70000", "user@localhost", "localhost/", "http://localhost", "ev\xedl.example", "a" * 5000, "localhost:", "-", "localhost\t"],
)  # fmt: skip
def test_what_is_no_host_is_refused(
    server: Server, asks: list[tuple[str, str, bytes]], host: str
) -> None:
    """A Host that names nothing is refused by a 400 or a 421, never answered and never a 5xx."""
    for method, path, body in asks:
        assert call(server, method, path, body, Host=host) in (400, 421) or host == "localhost\t"


def test_no_host_at_all_is_refused(server: Server, asks: list[tuple[str, str, bytes]]) -> None:
    """HTTP/1.1 without Host is a 400."""
    for method, path, body in asks:
        assert call(server, method, path, body, Host=None) == 400


def test_hosts_are_a_setting(serve: Serve) -> None:
    """A name that is listed is answered, with a dot before it its subdomains too, `*` all names."""
    listed = serve(TSUKURIOKI_HOSTS="booth.example, .play.example,作り置き.example")
    for host, status in {
        "booth.example": 200,
        "Booth.Example:8443": 200,
        "play.example": 200,
        "a.play.example": 200,
        "xn--u9jwge2j8v.example": 421,
        "作り置き.example".encode("idna").decode(): 200,
        "a.booth.example": 421,
        "evilplay.example": 421,
        "localhost": 200,
        "192.0.2.7": 200,
    }.items():
        assert call(listed, "GET", "/healthz", Host=host) == status, host
    assert call(serve(TSUKURIOKI_HOSTS="*"), "GET", "/healthz", Host="evil.example") == 200


# Pages of other origins

TYPES = (None, "text/plain", "application/x-www-form-urlencoded", "application/json")


def changes(poem: Deck) -> list[tuple[str, str, bytes]]:
    """Requests that change something or cost something, of every route."""
    query = random_play(poem, random.Random(2))
    hand = [{"card": card, "phrase": phrase} for card, phrase in query.picks]
    return [
        ("POST", "/api/generate-poem", orjson.dumps(game_body(poem, query))),
        ("POST", "/api/decks/poem/answer", orjson.dumps({"hand": hand})),
        ("POST", f"/api/answers/{'0' * 32}/feedback", b'{"vote":"down"}'),
        ("POST", "/api/wall", orjson.dumps({"hand": hand})),
        ("POST", "/api/chat", '{"messages":[{"role":"user","content":"こんにちは"}]}'.encode()),
        ("DELETE", "/api/wall", b""),
    ]


def test_pages_of_other_origins_change_nothing(server: Server, poem: Deck) -> None:
    """Whatever a page of another origin sends, under any content type, gets a 403."""
    own = urlsplit(server.url).netloc
    foreign: list[dict[str, str]] = [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://{own}1"},
        {"Origin": f"http://evil.example/{own}"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "nonsense"},
        {"Sec-Fetch-Site": "cross-site", "Origin": f"http://{own}"},
    ]
    for headers, (method, path, body) in itertools.product(foreign, changes(poem)):
        for kind in TYPES:
            told = {**headers, "Content-Type": kind}
            assert call(server, method, path, body, **told) == 403, (path, told)


def test_own_pages_and_programs_are_answered(server: Server, poem: Deck) -> None:
    """This server's own pages are answered, and programs, which send no Origin, under any type."""
    own = urlsplit(server.url).netloc
    welcome: list[dict[str, str]] = [
        {},
        {"Origin": f"http://{own}"},
        {"Origin": f"https://{own}"},
        {"Origin": f"http://{own}", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://proxied.example", "Sec-Fetch-Site": "same-origin"},
    ]
    for headers, (method, path, body) in itertools.product(welcome, changes(poem)):
        for kind in TYPES:
            status = call(server, method, path, body, **{**headers, "Content-Type": kind})
            # A vote lacks its ballot; so many chat messages are too many.
            other = {"/api/chat": 429, changes(poem)[2][1]: 400}.get(path)
            assert status in (200, 204, other), path


def test_named_origins_may_send(serve: Serve, poem: Deck) -> None:
    """An origin of TSUKURIOKI_CORS_ORIGINS may send, whatever the browser says of its site."""
    server = serve(TSUKURIOKI_DECKS=DECKS, TSUKURIOKI_CORS_ORIGINS="https://game.example")
    for site in (None, "cross-site"):
        headers = {"Origin": "https://game.example", "Sec-Fetch-Site": site}
        for method, path, body in changes(poem)[:2]:
            assert call(server, method, path, body, **headers) == 200
    assert call(server, *changes(poem)[0], Origin="https://game.example.evil") == 403


def test_reading_is_not_refused(server: Server, asks: list[tuple[str, str, bytes]]) -> None:
    """A link or a picture from another site may ask for what anybody may read."""
    for method, path, body in asks:
        if method == "GET":
            told = {"Origin": "https://a.example", "Sec-Fetch-Site": "cross-site"}
            assert call(server, method, path, body, **told) == 200


# The token


@pytest.mark.parametrize("bad", ["合言葉", " ", "a b", "a\n", "\t", "naïve", "\udcff\udcfe", "x\x7f", "\x1b[0m"])  # fmt: skip
def test_a_token_that_no_header_carries_is_refused_at_start(
    tmp_path: Path, poem_alone: Path, bad: str
) -> None:
    """Such a token gets one sentence that names the setting and does not show the token."""
    known = {"TSUKURIOKI_DATA": tmp_path, "TSUKURIOKI_DECKS": poem_alone}
    settings = environment(**known, TSUKURIOKI_TOKEN=bad)
    done = forks.run([sys.executable, "-m", "app"], cwd=REPO, env=settings, timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("tsukurioki: TSUKURIOKI_TOKEN='…': expected ASCII")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a token, behind one proxy, of one worker."""
    folder = tmp_path_factory.mktemp("guarded")
    known = {
        "TSUKURIOKI_DATA": folder / "data",
        "TSUKURIOKI_DECKS": DECKS,
        "TSUKURIOKI_TOKEN": TOKEN,
        "TSUKURIOKI_PROXIES": 1,
        "TSUKURIOKI_WORKERS": 1,
        "TSUKURIOKI_CHAT_RATE": 0,
    }
    with serving(known, folder / "server.log") as started:
        yield started
    assert "Traceback" not in (folder / "server.log").read_text("utf-8")


def test_guarded_routes_ask_for_the_token(guarded: Server) -> None:
    """Without the token no method does anything on a guarded route but ask whether it may."""
    for path, method in itertools.product((*GUARDED, *OPEN), METHODS):
        status = call(guarded, method, path)
        if method == "OPTIONS":
            assert status == 200, path
        elif method in GUARDED.get(path, ()):
            assert status == 401, (method, path)
        else:
            assert status in (200, 204, 302, 400, 404, 405), (method, path)


def test_a_preflight_of_a_guarded_route_needs_no_token(serve: Serve) -> None:
    """A browser asks without the token whether a page of a named origin may send it."""
    origin = "https://host.example"
    with serve(TSUKURIOKI_TOKEN=TOKEN, TSUKURIOKI_CORS_ORIGINS=origin).client() as client:
        for path in GUARDED:
            headers = {
                "Origin": origin,
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "authorization",
            }
            answer = client.options(path, headers=headers)
            assert answer.status_code == 200, path
            assert answer.headers["access-control-allow-origin"] == origin
            assert "Authorization" in answer.headers["access-control-allow-headers"]


def guess(server: Server, address: str, token: str, path: str = "/stats") -> httpx.Response:
    with server.client() as client:
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
        if path == "/api/chat":
            body = {"messages": [{"role": "user", "content": "こんにちは"}]}
            return client.post(path, json=body, headers=headers)
        return client.get(path, headers=headers)


@pytest.mark.parametrize("path", ["/stats", "/api/wall", "/api/chat"])
def test_guesses_of_the_token_are_limited(guarded: Server, path: str) -> None:
    """Ten wrong tokens at once, on whatever route; then even the right one has to wait. Others need not."""
    here = {"/stats": "192.0.2.1", "/api/wall": "192.0.2.2", "/api/chat": "192.0.2.3"}[path]
    for number in range(10):
        assert guess(guarded, here, f"guess-{number}", path).status_code == 401
    for token in ("guess", TOKEN):
        refused = guess(guarded, here, token, path)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 6
    assert guess(guarded, "192.0.2.200", TOKEN, path).status_code == 200


def test_an_ipv6_client_is_its_network(guarded: Server) -> None:
    """All addresses of one /64 guess as one client; the next /64 is another."""
    for number in range(10):
        assert guess(guarded, f"2001:db8:1:2::{number:x}", "guess").status_code == 401
    assert guess(guarded, "2001:db8:1:2:ffff::1", "guess").status_code == 429
    assert guess(guarded, "2001:db8:1:3::1", "guess").status_code == 401


def test_the_right_token_is_never_limited(guarded: Server) -> None:
    """Whoever shows the right token, or none, is not counted."""
    for _ in range(30):
        assert guess(guarded, "192.0.2.9", TOKEN).status_code == 200
        assert call(guarded, "GET", "/stats", X_Forwarded_For="192.0.2.9") == 401


def test_odd_credentials_are_refused(guarded: Server) -> None:
    """Whatever stands in Authorization and X-Forwarded-For, the answer is a 401 or a 429."""
    rng = random.Random(3)
    for _ in range(150):
        noise = bytes(rng.choices([*range(32, 127), *range(128, 256)], k=rng.randrange(60)))
        scheme = rng.choice(["", "Bearer ", "bearer  ", "Basic ", "BEARER"])
        headers = {"Authorization": scheme + noise.decode("latin-1").strip()}
        headers["X-Forwarded-For"] = rng.choice(
            ["", "unknown", "1.2.3.4:80", "::1%x", "é", "a" * 999]
        )
        assert call(guarded, "GET", "/stats", b"", **headers) in (401, 429)


def test_the_client_is_who_the_proxy_says(serve: Serve) -> None:
    """Without TSUKURIOKI_PROXIES nobody can choose an address to be counted by."""
    server = serve(TSUKURIOKI_TOKEN=TOKEN, TSUKURIOKI_WORKERS=1)
    seen = [guess(server, f"198.51.100.{n}", "guess").status_code for n in range(11)]
    assert seen == [401] * 10 + [429]


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is missing: apt-get install nginx")
@pytest.mark.parametrize("name", ["security.md", "security.ja.md"])
def test_the_proxy_that_the_handbook_shows(serve: Serve, tmp_path: Path, name: str) -> None:
    """Behind nginx as docs/security sets it up: own pages are answered, clients are told apart."""
    server = serve(TSUKURIOKI_TOKEN=TOKEN, TSUKURIOKI_PROXIES=1, TSUKURIOKI_HOSTS="play.example")
    shown = re.search(
        r"(location / \{.*?\n\})", (REPO / "docs" / name).read_text("utf-8"), re.DOTALL
    )
    assert shown
    port, root = free_port(), tmp_path / "nginx"
    root.mkdir()
    location = shown[1].replace("http://127.0.0.1:8000", server.url)
    paths = "".join(
        f"{kind}_temp_path {root};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (root / "conf").write_text(
        f"daemon off; pid {root}/pid; error_log stderr; events {{}}"
        f"http {{ access_log off; {paths} server {{ listen 127.0.0.1:{port}; {location} }} }}"
    )
    proxy = subprocess.Popen(["nginx", "-c", root / "conf", "-p", root], stderr=subprocess.DEVNULL)
    try:
        through = Server(f"http://127.0.0.1:{port}", server.data, server.process)
        wait_for(lambda: _answers(through), "nginx")
        own = {"Host": "play.example:8443", "Origin": "https://play.example:8443"}
        assert call(through, "POST", "/api/wall", b"{}", **own) == 400
        assert (
            call(through, "POST", "/api/wall", b"{}", **own | {"Origin": "https://b.example"})
            == 403
        )
        assert call(through, "GET", "/", Host="other.example") == 421
        # What a client writes there itself changes nothing: it is the proxy's last word that counts.
        seen = [guess(through, f"192.0.2.{n}", "guess").status_code for n in range(30)]
        assert seen[-1] == 429
        assert guess(server, "192.0.2.99", TOKEN).status_code == 200
    finally:
        proxy.terminate()
        proxy.wait()


def _answers(server: Server) -> bool:
    try:
        return call(server, "GET", "/healthz") == 200
    except OSError:
        return False


# A site's files


def test_a_sites_hidden_files_are_not_served(tmp_path: Path, poem_alone: Path) -> None:
    """Dotfiles anywhere and links that lead out of the folder are not there; links within it are."""
    site, outside = tmp_path / "dist", tmp_path / "outside"
    for folder in (
        site / ".git",
        site / "a" / ".svn",
        site / ".well-known",
        outside,
        site / "b" / ".well-known",
    ):
        folder.mkdir(parents=True)
    secret = "SECRET"
    for path in (
        site / ".env", site / ".git" / "config", site / ".git" / "index.html", site / "a" / ".htpasswd",
        site / "a" / ".svn" / "entries", outside / "secret.txt", outside / "index.html",
        site / ".well-known" / ".hidden", site / "b" / ".well-known" / "x",
    ):  # fmt: skip
        path.write_text(secret)
    (site / "index.html").write_text("<p>index")
    (site / "app.js").write_text("let here;" * 99)
    (site / ".well-known" / "security.txt").write_text("Contact:")
    links = {
        "file.txt": outside / "secret.txt", "folder": outside, "a/deep.txt": outside / "secret.txt",
        "app.js.gz": outside / "secret.txt", "passwd.txt": Path("/etc/passwd"), "env.txt": Path("loop.txt"),
        "up": Path(".."), "self": Path(), "loop.txt": Path("loop.txt"), "gone.txt": Path("nowhere"),
        "inner.js": Path("app.js"), "again": Path("a"),
    }  # fmt: skip
    for name, target in links.items():
        (site / name).symlink_to(target)
    os.mkfifo(site / "pipe.txt")
    (site / "a" / "b.txt").write_text("b")
    known = {
        "TSUKURIOKI_DATA": tmp_path / "data",
        "TSUKURIOKI_DECKS": poem_alone,
        "TSUKURIOKI_SITE": site,
    }
    with serving(known, tmp_path / "log") as server, server.client() as client:
        for hidden in (
            ".env", ".git/config", ".git/", ".git/index.html", "a/.htpasswd", "a/.svn/entries",
            ".well-known/.hidden", "b/.well-known/x", "file.txt", "folder/secret.txt", "folder/",
            "a/deep.txt", "passwd.txt", "up/outside/secret.txt", "up/data", "self/app.js",
            "loop.txt", "gone.txt", "pipe.txt", "app.js.gz",
        ):  # fmt: skip
            for written in (hidden, hidden.replace(".", "%2e"), f"./{hidden}", f"a/../{hidden}"):
                answer = client.get(f"/{written}")
                assert secret not in answer.text, written
                assert answer.status_code == 404 or answer.text == "<p>index", written
        assert client.get("/app.js", headers={"Accept-Encoding": "gzip"}).text.startswith(
            "let here"
        )
        for shown in ("inner.js", "again/b.txt", "a/b.txt", ".well-known/security.txt"):
            assert client.get(f"/{shown}").status_code == 200, shown
        assert call(server, "GET", "/app.js", Host="evil.example") == 421
    assert "Traceback" not in (tmp_path / "log").read_text("utf-8")


def test_a_site_whose_index_lies_elsewhere_is_refused(
    precompute: Precompute, tmp_path: Path
) -> None:
    """An index.html that is a link out of the folder is told at the start."""
    site = tmp_path / "dist"
    site.mkdir()
    (tmp_path / "index.html").write_text("x")
    (site / "index.html").symlink_to(tmp_path / "index.html")
    done = precompute("check", status=2, TSUKURIOKI_SITE=site)
    assert "TSUKURIOKI_SITE" in done.stderr


# Odd bytes


def test_odd_bytes_anywhere_are_a_clients_fault(server: Server) -> None:
    """Bytes that are no UTF-8 in a query or a header never give a 5xx, nor a traceback in the log."""
    rng = random.Random(4)
    parts = urlsplit(server.url)
    paths = (
        "/",
        "/chat",
        "/stats",
        "/api/decks/poem/deal",
        f"/api/answers/{'0' * 32}",
        "/static/chat.js",
    )
    names = ("Origin", "Authorization", "If-None-Match", "If-Match", "Range", "Cookie", "Sec-Fetch-Site", "X-Forwarded-For")  # fmt: skip
    for path, name in itertools.product(paths, names):
        noise = [bytes(rng.choices([*range(33, 127), *range(128, 256)], k=9)) for _ in range(3)]
        with socket.create_connection((str(parts.hostname), parts.port), timeout=30) as connection:
            connection.sendall(
                b"GET %b?deck=%b&%b=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%b: %b\r\n\r\n"
                % (path.encode(), noise[0], noise[1], name.encode(), noise[2])
            )
            with connection.makefile("rb") as reading:
                status = reading.readline().split()[1]
        assert status.startswith((b"2", b"4")), (path, name, noise)
    assert "Traceback" not in (server.data.parent / "server.log").read_text("utf-8")


@pytest.mark.parametrize("query", ["deck=\x84", "\xff=1", "mode=\xe3\x81", "a=b&\xed\xa0\x80"])
def test_a_query_that_is_no_utf_8_is_a_400_on_any_wsgi_server(
    tmp_path: Path, poem_alone: Path, query: str
) -> None:
    """Some servers hand such a query on to `wsgi:application`, some refuse it themselves."""
    app = create_app(
        Settings.read({"TSUKURIOKI_DATA": str(tmp_path), "TSUKURIOKI_DECKS": str(poem_alone)})
    )
    for path in ("/chat", "/api/decks/poem/deal", f"/api/answers/{'0' * 32}", "/healthz"):
        answer = app.test_client().get(path, environ_overrides={"QUERY_STRING": query})
        assert answer.status_code == 400
        assert answer.get_json()["title"] == "Bad query"
