"""The server as a process: settings, sites, origins, other WSGI servers, stopping and starting."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from flask.testing import FlaskClient

from app.kinds.cards.deck import Deck
from app.settings import Settings
from app.start import main
from app.store.index import Index
from app.store.key import Query
from app.store.rows import index_path
from app.web.app import create_app
from tests.conftest import Serve
from tests.making import (
    DECKS,
    PATIENCE,
    REPO,
    Precompute,
    environment,
    free_port,
    game_body,
    serving,
    small_deck,
    wait_for,
)
from tests.web.test_http import problem, secure


@dataclass(frozen=True)
class Starting:
    """Starts a server in this process, where it cannot start: on a port that is taken."""

    monkeypatch: pytest.MonkeyPatch
    capfd: pytest.CaptureFixture[str]
    data: Path
    decks: Path

    def __call__(self, **settings: object) -> list[str]:
        """What it said; its status must be 2."""
        with (
            socket.create_server(("127.0.0.1", 0)) as other,
            self.monkeypatch.context() as patched,
        ):
            for name in set(os.environ) - set(environment()):
                patched.delenv(name)
            known = {
                "TSUKURIOKI_DATA": self.data,
                "TSUKURIOKI_DECKS": self.decks,
                "TSUKURIOKI_PORT": other.getsockname()[1],
            }
            for name, value in {**known, **settings}.items():
                patched.setenv(name, str(value))
            self.capfd.readouterr()
            assert main() == 2
        out, err = self.capfd.readouterr()
        assert out == ""
        return err.splitlines()


@pytest.fixture
def starting(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path, decks: Path
) -> Starting:
    return Starting(monkeypatch, capfd, tmp_path / "data", decks)


def test_a_port_in_use_is_a_sentence(tmp_path: Path, poem_alone: Path) -> None:
    """Where somebody listens on the port already, the server says so and exits 2."""
    (tmp_path / "tmp").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "app"],
            cwd=REPO,
            env=environment(
                TSUKURIOKI_DATA=tmp_path,
                TSUKURIOKI_DECKS=poem_alone,
                TSUKURIOKI_PORT=port,
                TMPDIR=tmp_path / "tmp",
            ),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"tsukurioki: TSUKURIOKI_PORT='{port}'")
    assert "Address already in use" in line
    # The folder of counters that it made for itself is gone.
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"TSUKURIOKI_PORT": "http"}, "TSUKURIOKI_PORT='http': expected a whole number from 1 to 65535"),
        ({"TSUKURIOKI_PORT": "0"}, "TSUKURIOKI_PORT='0'"),
        ({"TSUKURIOKI_PORT": "65536"}, "TSUKURIOKI_PORT='65536'"),
        ({"TSUKURIOKI_PORT": "٣"}, "TSUKURIOKI_PORT='٣'"),
        ({"TSUKURIOKI_WORKERS": "0"}, "TSUKURIOKI_WORKERS='0'"),
        ({"TSUKURIOKI_HOST": "no host"}, "TSUKURIOKI_HOST='no host:"),
        ({"TSUKURIOKI_HOST": "203.0.113.1"}, "TSUKURIOKI_HOST='203.0.113.1:"),
        ({"TSUKURIOKI_DECK": "nowhere"}, "TSUKURIOKI_DECK='nowhere': expected one of poem"),
        ({"TSUKURIOKI_DECKS": str(DECKS), "TSUKURIOKI_DECKS_SHOWN": "poem,peom"}, "TSUKURIOKI_DECKS_SHOWN='peom': expected one of chat, harbour, poem; did you mean 'poem'?"),
        ({"TSUKURIOKI_DECKS": str(DECKS), "TSUKURIOKI_CHAT_DECK": "chatt"}, "did you mean 'chat'?"),
        ({"TSUKURIOKI_DECKS": "/nowhere"}, "/nowhere: no deck here"),
        ({"TSUKURIOKI_TIERS": "exact,exact"}, "TSUKURIOKI_TIERS='exact,exact'"),
        ({"TSUKURIOKI_TIERS": ","}, "TSUKURIOKI_TIERS=','"),
        ({"TSUKURIOKI_RADIUS": "-1"}, "TSUKURIOKI_RADIUS='-1'"),
        ({"TSUKURIOKI_CORS_ORIGINS": "https://a.example, https://b.example/"}, "TSUKURIOKI_CORS_ORIGINS='https://b.example/': expected origins with commas"),
        ({"TSUKURIOKI_CORS_ORIGINS": "*"}, "TSUKURIOKI_CORS_ORIGINS='*'"),
        ({"TSUKURIOKI_CORS_ORIGINS": "game.example"}, "TSUKURIOKI_CORS_ORIGINS='game.example'"),
        ({"TSUKURIOKI_SITE": "/nowhere"}, "TSUKURIOKI_SITE='/nowhere': expected a folder with index.html"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_a_sentence(
    starting: Starting, settings: dict[str, str], told: str
) -> None:
    """A setting that means nothing is named with what was expected, and the status is 2."""
    (line,) = starting(**settings)
    assert line.startswith("tsukurioki: ")
    assert told in line


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_the_address_at_the_start_can_be_opened(serve: Serve, tmp_path: Path) -> None:
    """What the server says at its start is an address for browsers: IPv6 stands in brackets."""
    server = serve(TSUKURIOKI_HOST="::")
    port = server.url.rpartition(":")[2]
    assert f"http://[::]:{port}/" in (tmp_path / "server-0.log").read_text()


def test_a_wrong_deck_is_a_sentence(starting: Starting, tmp_path: Path) -> None:
    """A fault in a deck is told by file and place before any worker starts."""
    small_deck(tmp_path / "decks" / "poem")
    (tmp_path / "decks" / "poem" / "titles.json").write_text("[]")
    (line,) = starting(TSUKURIOKI_DECKS=tmp_path / "decks")
    assert "titles.json: there is no title" in line


# Origins


def test_named_origins_are_answered(serve: Serve, poem: Deck) -> None:
    """A named origin may call and read answers and errors; another gets no header."""
    named = "https://a.example, http://127.0.0.1:5173"
    with serve(TSUKURIOKI_CORS_ORIGINS=named).client() as client:
        for origin in ("https://a.example", "http://127.0.0.1:5173"):
            for response in (
                client.get("/api/decks/poem", headers={"Origin": origin}),
                client.post("/api/generate-poem", content=b"x", headers={"Origin": origin}),
                client.get("/nowhere", headers={"Origin": origin}),
            ):
                assert response.headers["access-control-allow-origin"] == origin
                assert "Origin" in response.headers["vary"]
            preflight = client.options(
                "/api/generate-poem",
                headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
            )
            assert preflight.status_code == 200
            assert "POST" in preflight.headers["access-control-allow-methods"]
            assert "Content-Type" in preflight.headers["access-control-allow-headers"]
        for origin in ("https://b.example", "https://a.example.evil", "null", "HTTPS://A.EXAMPLE"):
            response = client.get("/api/decks/poem", headers={"Origin": origin})
            assert "access-control-allow-origin" not in response.headers
            assert "Origin" in response.headers["vary"]


# A front end built elsewhere

INDEX = '<!doctype html><script>let inline = "同";</script><div id="root"></div>'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built front end, as a bundler leaves it."""
    root = tmp_path_factory.mktemp("site")
    folder = root / "dist"
    files = {
        "index.html": INDEX,
        "assets/index-4f2a.js": "export {}",
        "assets/写真.svg": "<svg/>",
        "docs/index.html": "<p>docs",
        "LICENSE": "MIT",
        "api-docs": "not ours",
        "statistics": "not ours either",
        ".well-known/x": "known",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    (root / "outside").mkdir()
    (root / "outside" / "index.html").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def visitor(site: Path, poem_alone: Path) -> Iterator[httpx.Client]:
    known = {
        "TSUKURIOKI_DATA": site.parent / "data",
        "TSUKURIOKI_DECKS": poem_alone,
        "TSUKURIOKI_SITE": site,
    }
    with serving(known, site.parent / "server.log") as started, started.client() as client:
        yield client


@pytest.mark.xdist_group("site")
def test_a_site_is_served_without_a_change(visitor: httpx.Client, site: Path) -> None:
    """Every file of the site is served byte for byte, those without a dot in the name too."""
    for path in site.rglob("*"):
        if path.is_file() and path.name != "index.html":
            response = visitor.get(f"/{path.relative_to(site)}")
            assert (response.status_code, response.content) == (200, path.read_bytes())
            secure(response)
    index = visitor.get("/")
    assert index.text == INDEX
    assert index.headers["content-type"] == 'text/html; charset="utf-8"'
    assert "content-security-policy" not in index.headers
    assert visitor.get("/docs/").text == "<p>docs"


@pytest.mark.xdist_group("site")
@pytest.mark.parametrize(
    "path", ["/play", "/play/", "/play/5/result", "/statsx", "/apian", "/a/b/c/", "/長い道", "/" + "a" * 3000, "/..", "/%00", "/../outside", "/%2e%2e/outside", "/x%2f..%2f..%2foutside/", "//outside"]
)  # fmt: skip
def test_a_path_of_the_sites_own_router_is_its_index(visitor: httpx.Client, path: str) -> None:
    """A path without a dot that is no file gets the site's index.html, and nothing else does."""
    response = visitor.get(path)
    assert response.status_code in (200, 404)
    if response.status_code == 200:
        assert response.text == INDEX
    elif ".." not in path and "%2e" not in path:
        raise AssertionError(path)
    secure(response)


@pytest.mark.xdist_group("site")
def test_our_routes_stay_ours(visitor: httpx.Client) -> None:
    """/api, /stats, /healthz and /metrics are not the site's, whatever comes after them."""
    assert visitor.get("/stats").json()["decks"]
    assert visitor.get("/healthz").json()["status"] == "ok"
    assert visitor.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
    assert visitor.get("/api/decks/poem").json()["id"] == "poem"
    for path in ("/api", "/api/", "/api/nowhere", "/stats/x", "/healthz/"):
        problem(visitor.get(path), 404)
    for path in ("/missing.js", "/assets/missing.css", "/a.b/c.d"):
        problem(visitor.get(path), 404)
    problem(visitor.post("/play"), 404)
    problem(visitor.post("/"), 405)


@pytest.mark.xdist_group("site")
def test_a_sites_redirects_and_304s_are_secure(visitor: httpx.Client) -> None:
    """Not only files: redirects and "not modified" have the security headers too."""
    for path in ("/docs", "/index.html", "/docs/index.html"):
        response = visitor.get(path)
        assert response.status_code == 302
        secure(response)
    tag = visitor.get("/LICENSE").headers["etag"]
    again = visitor.get("/LICENSE", headers={"If-None-Match": tag})
    assert again.status_code == 304
    secure(again)
    head = visitor.head("/play")
    assert (head.status_code, head.content) == (200, b"")


# Other servers


def test_flask_run_answers(tmp_path: Path, poem_alone: Path) -> None:
    """`flask --app wsgi run` serves the application."""
    known = {"TSUKURIOKI_DATA": tmp_path / "data", "TSUKURIOKI_DECKS": poem_alone}
    words = [sys.executable, "-m", "flask", "--app", "wsgi", "run", "--port", "{port}"]
    with serving(known, tmp_path / "flask.log", words) as started, started.client() as client:
        assert client.get("/api/decks/poem/deal").json()["mode"] == "random"
        problem(client.post("/api/generate-poem", content=b"x"), 400, "Bad JSON")


def test_wsgiref_answers(tmp_path: Path, poem_alone: Path) -> None:
    """`wsgi:application` is a WSGI application that the standard library's server can serve."""
    # Ctrl-C while it still sends an answer is but a traceback to that server, which goes on.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "from wsgiref.simple_server import make_server; from wsgi import application\n"
        "make_server('127.0.0.1', int(sys.argv[1]), application).serve_forever()\n"
    )
    known = {"TSUKURIOKI_DATA": tmp_path / "data", "TSUKURIOKI_DECKS": poem_alone}
    words = [sys.executable, "-c", code, "{port}"]
    with serving(known, tmp_path / "wsgiref.log", words) as started, started.client() as client:
        assert client.get("/api/decks/poem").status_code == 200
        problem(client.get("/nowhere"), 404)


def test_wsgi_with_a_wrong_setting_is_a_sentence(tmp_path: Path) -> None:
    """Loaded by any server, the application says in one line what the operator must mend."""
    done = subprocess.run(
        [sys.executable, "-c", "import wsgi"],
        cwd=REPO,
        env=environment(TSUKURIOKI_DATA=tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"tsukurioki: {tmp_path}/decks: no deck here: expected a folder with deck.json"
    ]


# Stopping and starting


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_quiet(tmp_path: Path, poem_alone: Path, end: signal.Signals) -> None:
    """Told to stop, it ends with status 0 and has said nothing but its address."""
    log = tmp_path / "server.log"
    known = {"TSUKURIOKI_DATA": tmp_path, "TSUKURIOKI_DECKS": poem_alone, "TSUKURIOKI_WORKERS": 2}
    with serving(known, log) as started:
        with started.client() as client:
            assert client.get("/healthz").status_code == 200
        started.process.send_signal(end)
        assert started.process.wait(PATIENCE) == 0
    assert log.read_text() == f"tsukurioki: {started.url}/\n"


def whole(client: httpx.Client, poem: Deck) -> tuple[dict[str, Any], bytes]:
    """Deal a hand from stock, post it as the game's client does; gives play and answer."""
    cards = client.get("/api/decks/poem/deal").json()["cards"]
    query = Query.play("poem", [(card["id"], card["poems"][1]["id"]) for card in cards])
    body = game_body(poem, query)
    response = client.post("/api/generate-poem", json=body)
    assert response.status_code == 200
    return body, response.content


def test_done_means(precompute: Precompute, tmp_path: Path, poem: Deck) -> None:
    """Build, serve, deal, post, count; stop, cut the network, start: the same answer."""
    known = dict(precompute.settings)
    precompute("build", "--n", 270)
    with serving(known, tmp_path / "first.log") as started, started.client() as client:
        body, answer = whole(client, poem)
        told = orjson.loads(answer)
        assert told["title"] in poem.known_titles
        assert 3 <= len(told["poem"].split("\n\n")) <= 4
        assert told["tier"] in ("exact", "same_hand")
        counted = client.get("/stats").json()["decks"]["poem"]
        assert counted["answers"]["total"] == 1
        assert counted["answers"]["hit_rate"] == 1
        assert counted["store"]["entries"] == 270
    said = orjson.loads(precompute("stats", "--json").stdout)
    assert said["store"]["entries"] == 270
    assert said["coverage"] == counted["coverage"]

    cut = ["unshare", "--net", "--"]
    if subprocess.run([*cut, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace without a network is allowed here")
    # In a namespace of its own there is only a loopback of its own: the client goes in as well.
    code = (
        "import subprocess, sys, time, urllib.request, urllib.error\n"
        "subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)\n"
        "server = subprocess.Popen([sys.executable, '-m', 'app'], stdout=subprocess.DEVNULL)\n"
        "url = 'http://127.0.0.1:' + sys.argv[1]\n"
        "try:\n"
        "    while server.poll() is None:\n"
        "        try: urllib.request.urlopen(url + '/healthz'); break\n"
        "        except urllib.error.URLError: time.sleep(0.05)\n"
        "    try: urllib.request.urlopen('http://192.0.2.1/', timeout=1); sys.exit('a network')\n"
        "    except urllib.error.URLError: pass\n"
        "    sent = urllib.request.Request(url + '/api/generate-poem', sys.stdin.buffer.read())\n"
        "    sys.stdout.buffer.write(urllib.request.urlopen(sent).read())\n"
        "finally:\n"
        "    server.send_signal(2); server.wait()\n"
    )
    try:
        subprocess.run(["ip", "-V"], capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("there is no `ip` to bring the loopback up with")
    port = free_port()
    again = subprocess.run(
        [*cut, sys.executable, "-c", code, str(port)],
        cwd=REPO,
        env=environment(**known, TSUKURIOKI_PORT=port),
        input=orjson.dumps(body),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout == answer


def test_a_restart_answers_the_same(precompute: Precompute, tmp_path: Path, poem: Deck) -> None:
    """Stopped and started again, with another number of workers, the answers are byte for byte the same."""
    precompute("build", "--n", 54)
    answers = []
    rng = random.Random(8)
    bodies = [
        game_body(poem, Query.play("poem", [(c.id, rng.choice(c.phrases).id) for c in hand]))
        for hand in (
            [
                rng.choice(poem.cards_by_category[name])
                for name in rng.sample(sorted(poem.cards_by_category), 5)
            ]
            for _ in range(20)
        )
    ]
    for workers in (1, 2):
        known = {**precompute.settings, "TSUKURIOKI_WORKERS": workers}
        with serving(known, tmp_path / f"{workers}.log") as started, started.client() as client:
            answers.append(
                [client.post("/api/generate-poem", json=body).content for body in bodies]
            )
    assert answers[0] == answers[1]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_and_its_workers(serve: Serve, tmp_path: Path, end: int) -> None:
    """SIGINT and SIGTERM end it with status 0; nothing listens, and it leaves nothing behind."""
    (tmp_path / "tmp").mkdir()
    started = serve(TMPDIR=tmp_path / "tmp")
    started.process.send_signal(end)
    assert started.process.wait(PATIENCE) == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(started.url)
    assert not list((tmp_path / "tmp").iterdir())
    assert "Traceback" not in (tmp_path / "server-0.log").read_text()


# The store under a running server


def test_starting_does_not_build_a_good_index_again(
    precompute: Precompute, starting: Starting, tmp_path: Path
) -> None:
    """An index that fits is opened, not made anew: starting costs the same for any store."""
    store = tmp_path / "data" / "store"
    precompute("build", "--n", 27)
    before = index_path(store, "poem").stat().st_ino
    starting()
    starting()
    assert index_path(store, "poem").stat().st_ino == before


@pytest.mark.parametrize("harm", ["missing", "cut short", "rubbish"])
def test_a_harmed_index_is_mended_at_the_start(
    precompute: Precompute, starting: Starting, tmp_path: Path, harm: str
) -> None:
    """A deleted or broken index is no reason to serve less: it is built again from the log."""
    store = tmp_path / "data" / "store"
    precompute("build", "--n", 27)
    path = index_path(store, "poem")
    if harm == "missing":
        path.unlink()
    elif harm == "cut short":
        os.truncate(path, 20_000)
    else:
        path.write_bytes(b"rubbish" * 9999)
    starting()
    index = Index(store, "poem")
    assert index.meta().entries == 27
    index.close()


def test_an_index_that_is_deleted_and_built_again_is_taken_up(
    precompute: Precompute, serve: Serve, tmp_path: Path
) -> None:
    """A running server answers from the old index, then from one of the same name."""
    precompute("build", "--n", 27)
    with serve().client() as client:

        def entries() -> int:
            return int(client.get("/stats").json()["decks"]["poem"]["store"]["entries"])

        assert entries() == 27
        for path in (tmp_path / "data" / "store").glob("*.lmdb*"):
            path.unlink()
        assert entries() == 27
        precompute("build", "--n", 54)
        wait_for(lambda: entries() == 54, "the new index")


def test_a_first_build_is_taken_up(precompute: Precompute, serve: Serve) -> None:
    """A server that started without a store finds the first one that is built."""
    with serve().client() as client:
        assert client.get("/api/decks/poem/deal").json()["mode"] == "random"
        refused = client.get("/api/decks/poem/deal?mode=stocked")
        problem(refused, 409, "Nothing stocked")
        precompute("build", "--n", 27)
        wait_for(lambda: client.get("/api/decks/poem/deal").json()["mode"] == "stocked", "stock")


def test_a_server_beside_a_build_serves_on(
    precompute: Precompute, serve: Serve, poem: Deck
) -> None:
    """While a build writes, every request is answered, and the stock only grows."""
    precompute("build", "--n", 27)
    started = serve()
    process = precompute.start("build", "--n", 540)
    try:
        seen = 0
        with started.client() as client:
            while process.poll() is None:
                whole(client, poem)
                told = client.get("/stats").json()["decks"]["poem"]["store"]
                assert told["problem"] is None
                assert told["entries"] >= seen
                seen = told["entries"]

            def entries() -> int:
                return int(client.get("/stats").json()["decks"]["poem"]["store"]["entries"])

            # A worker looks for a new index ten times a second.
            wait_for(lambda: entries() == 540, "the whole index")
    finally:
        process.communicate()


def test_a_read_only_data_folder_is_served(
    precompute: Precompute, tmp_path: Path, poem: Deck
) -> None:
    """From a read-only disk everything is answered; only misses and deals are not kept."""
    data = tmp_path / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(data)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", "-l", str(data)], check=True)
        precompute("build", "--n", 54)
        subprocess.run(["mount", "-o", "remount,ro", str(data)], check=True)
        started = stack.enter_context(serving(dict(precompute.settings), tmp_path / "ro.log"))
        with started.client() as client:
            for _ in range(4):
                assert orjson.loads(whole(client, poem)[1])["tier"] in ("exact", "same_hand")
            random_hand = client.get("/api/decks/poem/deal?mode=random").json()["cards"]
            query = Query.play("poem", [(c["id"], c["poems"][0]["id"]) for c in random_hand])
            response = client.post("/api/generate-poem", json=game_body(poem, query))
            assert response.status_code == 200


@pytest.fixture
def application(tmp_path: Path, decks: Path) -> Callable[..., FlaskClient]:
    """Makes an application in this process and a client of it."""

    def make(**settings: object) -> FlaskClient:
        known = {"TSUKURIOKI_DATA": tmp_path / "data", "TSUKURIOKI_DECKS": decks, **settings}
        read = Settings.read({name: str(value) for name, value in known.items()})
        return create_app(read).test_client()

    return make


def test_a_deck_of_the_game_is_served(
    application: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    """Another deck, in the game's form and without pieces, is answered by the template tier."""
    deck = small_deck(
        tmp_path / "decks" / "mine", size=3, rest={"answer": {"characters": [90, 140]}}
    )
    client = application(TSUKURIOKI_DECKS=tmp_path / "decks", TSUKURIOKI_DECK="mine")
    cards = client.get("/api/decks/mine/deal").get_json()["cards"]
    assert len(cards) == 3
    query = Query.play("mine", [(c["id"], c["poems"][0]["id"]) for c in cards])
    answer = client.post("/api/generate-poem", json=game_body(deck, query)).get_json()
    assert answer["tier"] == "template"
    assert all(c["poems"][0]["poem_text"] in answer["poem"] for c in cards)


def first_play(poem: Deck) -> Query:
    return next(poem.plays_of_hand([c[0] for c in list(poem.cards_by_category.values())[:5]]))


def test_a_ladder_without_an_answer_is_a_404(
    application: Callable[..., FlaskClient], poem: Deck
) -> None:
    """Where no tier of the ladder has an answer, the player is told so, with a sentence."""
    client = application(TSUKURIOKI_TIERS="exact")
    response = client.post("/api/generate-poem", json=game_body(poem, first_play(poem)))
    assert response.status_code == 404
    assert response.get_json()["title"] == "No answer"
    assert response.get_json()["error"]


def test_misses_are_noted_unless_switched_off(
    application: Callable[..., FlaskClient], tmp_path: Path, poem: Deck
) -> None:
    """What was not found as a whole is in the ledger, for the next build; `off` writes none."""
    body = game_body(poem, first_play(poem))
    ledger = tmp_path / "data" / "ledger" / "poem.jsonl"
    application(TSUKURIOKI_MISSES="off").post("/api/generate-poem", json=body)
    assert not ledger.exists()
    client = application()
    client.post("/api/generate-poem", json=body)
    client.post("/api/generate-poem", json=body)
    told = client.get("/stats").get_json()["decks"]["poem"]["misses"]
    assert (told["total"], told["distinct"]) == (2, 1)
    lines = [orjson.loads(line) for line in ledger.read_bytes().splitlines()]
    assert [line["tier"] for line in lines] == ["composed"] * 2
