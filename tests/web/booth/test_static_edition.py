"""An edition in a real browser, served by nginx alone: played, cut off, reloaded, played on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest

from app.kinds.cards.dealing import random_play
from app.kinds.cards.loading import load_deck
from app.kinds.cards.plays import Play
from app.kinds.cards.tiers import build_ladder
from app.store.index import Index
from tests import forks
from tests.making import wait_for_port
from tests.web.booth.conftest import (
    PHONE,
    ROOT,
    Server,
    choosing,
    clean_environ,
    free_port,
    keep,
)
from tests.web.booth.player import at_card, play, screen, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]
pytestmark = [
    pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is missing: apt-get install nginx"),
    pytest.mark.xdist_group("static"),
]
WHOLE = "document.querySelector('#kept')?.dataset.whole === 'yes'"
CONF = """
{user} daemon off; pid {own}/pid; error_log stderr; worker_processes 1;
events {{}}
http {{
  access_log off; {temporary}
  server {{ listen 127.0.0.1:{port}; root {root}; include {snippet}; {more} }}
}}
"""


def cook(
    store: Path, folder: Path, root: Path, *more: str, decks: Path = ROOT / "data" / "decks"
) -> str:
    """Publish an edition of a store by the real command."""
    environ = clean_environ() | {
        "TSUKURIOKI_DATA": str(folder),
        "TSUKURIOKI_STORE": str(store),
        "TSUKURIOKI_DECKS": str(decks),
    }
    command = [sys.executable, "-m", "precompute", "publish", "--static", str(root), *more]
    done = forks.run(command, cwd=ROOT, env=environ, timeout=240)
    done.check_returncode()
    return done.stdout


@dataclass
class Nginx:
    """nginx with the documented configuration, and no Python behind it."""

    root: Path
    own: Path
    port: int
    more: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        conf = CONF.format(
            # Root's worker would be somebody else, to whom temporary folders are closed.
            user="" if os.geteuid() else "user root;",
            own=self.own,
            root=self.root,
            port=self.port,
            more=self.more,
            temporary="".join(f"{kind}_temp_path {self.own};" for kind in kinds),
            snippet=ROOT / "deploy" / "static" / "nginx.conf",
        )
        (self.own / "conf").write_text(conf)
        command = ["nginx", "-c", str(self.own / "conf"), "-p", str(self.own)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for_port(self.port)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(15)
            self.process = None


@pytest.fixture(scope="session")
def web(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """An edition under /a/place/, which most tests share."""
    folder = tmp_path_factory.mktemp("static")
    cook(store, folder, folder / "root" / "a" / "place")
    (folder / "nginx").mkdir()
    server = Nginx(folder / "root", folder / "nginx", free_port())
    server.start()
    yield server
    server.stop()


@pytest.mark.long
def test_cards_are_picked_without_a_server(
    visit: Visit, web: Nginx, store: Path, tmp_path: Path
) -> None:
    """In an edition too, marks lead a visitor who picks cards to a text in stock."""
    cook(store, tmp_path, web.root / "picked", decks=choosing(tmp_path / "decks"))
    page = visit(web, "/picked/", ready=".begin", reduced_motion="reduce", **PHONE)
    page.tap(".begin")
    for at in range(5):
        until(page, f"document.querySelectorAll('[aria-pressed=true]').length === {at}")
        until(page, "document.querySelector('.choose')?.dataset.led === 'yes'")
        page.locator(".kind:not(:has([aria-pressed=true])) .option[data-stocked]").first.tap()
    until(page, "!document.querySelector('.go').disabled")
    page.tap(".go")
    for at in range(5):
        at_card(page, at + 1)
        page.keyboard.press("1")
    screen(page, "flyer")
    assert "組み合わせた" not in page.locator(".tier").inner_text()


@pytest.mark.long
def test_played_cut_off_reloaded_and_played_on(
    visit: Visit, web: Nginx, watch: Any, tmp_path: Path
) -> None:
    """From another path than /, with no program: after one visit the web server may be gone."""
    watch.expected += ["ERR_CONNECTION_REFUSED", "ERR_INTERNET_DISCONNECTED"]
    page = visit(web, "/a/place/", **PHONE)
    first = play(page)
    assert len(first["facts"]) == 5
    page.click(".next")
    screen(page, "start")
    until(page, WHOLE)
    assert "この端末に、すべて写してあります" in (page.locator("#kept").text_content() or "")
    keep(page, "phone-static-edition")
    devtools = page.context.new_cdp_session(page)
    assert devtools.send("Page.getAppManifest")["errors"] == []
    # Every context of these tests is a private window; nothing else may keep it from being installed.
    faults = devtools.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [fault["errorId"] for fault in faults] == ["in-incognito"]
    web.stop()
    try:
        page.context.set_offline(True)
        page.reload()
        page.wait_for_selector("body[data-ready]")
        second = play(page, "touch", pick=1)
        assert second["poem"] != first["poem"]
        with page.expect_download() as saving:
            page.tap(".save")
        saving.value.save_as(tmp_path / "flyer.png")
        assert (tmp_path / "flyer.png").read_bytes().startswith(b"\x89PNG")
        assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
        page.tap(".vote[data-vote=up]")
        page.tap(".again")
        page.wait_for_selector('.flyer .vote[data-vote=up][aria-pressed="false"]')
        assert page.locator(".front .poem").text_content() != second["poem"]
        waiting = page.evaluate("JSON.parse(localStorage['tsukurioki-outbox-poem'])")
        assert [item.get("vote") for item in waiting if item.get("vote")] == ["up"]
        page.goto(f"{web.url}/a/place/wall.html")
        page.wait_for_selector(".hung .sheet")
        assert page.locator(".titles li").count() == 2
    finally:
        page.context.set_offline(False)
        web.start()


def test_nginx_sends_what_the_documents_say(web: Nginx) -> None:
    """Files under files/ compressed and for ever, all others asked for anew, both with the policy."""
    edition = httpx.get(f"{web.url}/a/place/edition.json")
    page = httpx.get(f"{web.url}/a/place/")
    pieces = httpx.get(f"{web.url}/a/place/{edition.json()['made']['composed']['path']}")
    assert page.text.startswith("<!doctype html>")
    assert pieces.headers["content-encoding"] == "gzip"
    assert int(pieces.headers["content-length"]) < len(pieces.content) / 2
    assert pieces.headers["cache-control"].startswith("max-age=")
    for response in (edition, page, pieces):
        assert "script-src 'self'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
    assert edition.headers["cache-control"] == page.headers["cache-control"] == "no-cache"
    manifest = httpx.get(f"{web.url}/a/place/app.webmanifest")
    assert manifest.headers["content-type"] == "application/manifest+json"


def test_the_browser_answers_as_the_server_does(visit: Visit, web: Nginx, store: Path) -> None:
    """A few hundred plays, stored, near and composed, in Chromium and in the ladder."""
    deck, rng = load_deck(ROOT / "data" / "decks" / "poem"), Random(8)
    index = Index(store, "poem")
    hands = [index.stocked(position) for position in range(index.meta().stocked_hands)]
    plays = [(random_play(deck, rng), rng.choice([0, 0, 1])) for _ in range(200)]
    for _ in range(200):
        cards = [deck.card_by_id[card] for card in rng.choice(hands)]
        plays.append((deck.query([rng.choice(card.phrases) for card in cards]), rng.choice([0, 1])))
    page = visit(web, "/a/place/")
    asked = [
        {"hand": query.to_json()["hand"], "variant": variant} for query, variant in plays
    ]  # fmt: skip
    told = page.evaluate(
        """async (plays) => {
          const edition = await (await fetch("edition.json")).json();
          const place = new URL(`${edition.program}/edition/answers.js`, document.baseURI);
          const { Answers } = await import(place);
          const loaded = new Map();
          const load = (path) => {
            if (!loaded.has(path)) loaded.set(path, fetch(path).then((response) => response.json()));
            return loaded.get(path);
          };
          const answers = new Answers(edition, load);
          const told = [];
          for (const { hand, variant } of plays) told.push(await answers.answer(hand, variant));
          return told;
        }""",
        asked,
    )
    ladder = build_ladder(deck, ("exact", "same_hand", "composed", "template"), lambda: index, 1)
    expected = [ladder.answer(Play(*one)) for one in plays]
    assert {answer.tier for answer in expected if answer} == {"exact", "same_hand", "composed"}
    assert told == [answer and orjson.loads(answer.body) for answer in expected]
    index.close()


@pytest.mark.long
def test_a_new_edition_is_taken_between_two_games(
    visit: Visit, web: Nginx, store: Path, tmp_path: Path
) -> None:
    """Kept whole first; a game that is played goes on, and the first screen changes over."""
    page = visit(web, "/a/place/")
    until(page, WHOLE)
    said = "document.querySelector('#edition').textContent"
    before = page.evaluate(said)
    page.click(".begin")
    screen(page, "deal")
    cook(store, tmp_path, web.root / "a" / "place", "--collect", "/elsewhere")
    kept = "fetch('edition.json').then((one) => one.json()).then((one) => one.collect)"
    page.evaluate("dispatchEvent(new Event('online'))")
    until(page, f"{kept}.then((collect) => collect === '/elsewhere')")
    assert page.evaluate(said) == before
    page.click(".deal .primary")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert orjson.loads(page.evaluate(said))["collect"] == "/elsewhere"
    until(page, WHOLE)
    cook(store, tmp_path, web.root / "a" / "place")
    with page.expect_event("load"):
        page.evaluate("dispatchEvent(new Event('online'))")
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate(said) == before


@pytest.mark.long
def test_misses_and_votes_are_sent_when_a_server_is_there(
    visit: Visit, new_server: Callable[..., Server], store: Path, tmp_path: Path, watch: Any
) -> None:
    """Kept over a reload while there is no server; later counted, each once, and then forgotten."""
    watch.expected += ["502", "503"]
    server = new_server()
    before = server.call("/stats")["decks"]["poem"]
    server.stop()
    cook(store, tmp_path, tmp_path / "root", "--collect", "/api/collect")
    (tmp_path / "nginx").mkdir()
    proxy = f"location /api/ {{ proxy_pass {server.url}; proxy_set_header Host $http_host; }}"
    web = Nginx(tmp_path / "root", tmp_path / "nginx", free_port(), proxy)
    web.start()
    waiting = "JSON.parse(localStorage['tsukurioki-outbox-poem'] ?? '[]')"
    try:
        page = visit(web, "/")
        play(page)
        page.click(".vote[data-vote=down]")
        # Of two stocked hands one has no near answers beyond the first two; those after are composed.
        for _ in range(3):
            poem = page.locator(".front .poem").text_content()
            page.click(".again")
            until(
                page,
                f"document.querySelector('.front .poem')?.textContent !== {orjson.dumps(poem).decode()}",
            )
        screen(page, "flyer")
        page.reload()
        page.wait_for_selector("body[data-ready]")
        items = page.evaluate(waiting)
        votes = sum("vote" in item for item in items)
        assert votes == 1
        assert len(items) > 1
        server.start()
        page.evaluate("dispatchEvent(new Event('online'))")
        until(page, f"{waiting}.length === 0")
        after = server.call("/stats")["decks"]["poem"]
        assert after["feedback"]["down"] == before["feedback"]["down"] + 1
        assert after["misses"]["total"] == before["misses"]["total"] + len(items) - 1
    finally:
        web.stop()


@pytest.mark.long
def test_a_file_that_is_not_what_it_should_be_is_not_kept(
    visit: Visit, store: Path, tmp_path: Path, watch: Any
) -> None:
    """A portal's page in the place of a file: the device says that it keeps nothing, until it is gone."""
    root = tmp_path / "root"
    cook(store, tmp_path, root)
    (tmp_path / "nginx").mkdir()
    web = Nginx(root, tmp_path / "nginx", free_port())
    web.start()
    try:
        stock = root / orjson.loads((root / "edition.json").read_bytes())["stock"][0]
        right, compressed = stock.read_bytes(), Path(f"{stock}.gz")
        compressed.unlink()
        stock.write_text("<!doctype html>Please log in")
        page = visit(web, "/")
        until(page, "document.querySelector('#kept')?.textContent.includes('写せません')")
        stock.write_bytes(right)
        page.evaluate("dispatchEvent(new Event('online'))")
        until(page, WHOLE)
    finally:
        web.stop()
