"""A real browser on pages that are not the server's: it is made to ask, and nothing comes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.making import wait_for
from tests.web.booth.conftest import Server, hand_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# What a page of another origin can send without asking, and one request that asks first (JSON).
SEND = """async ({ target, sends }) => {
  for (const [path, text] of sends) {
    const url = target + path;
    for (const type of ["text/plain", "application/x-www-form-urlencoded"]) {
      await fetch(url, { method: "POST", mode: "no-cors", headers: { "Content-Type": type }, body: text });
    }
    await fetch(url, { method: "POST", mode: "no-cors", referrerPolicy: "no-referrer", body: text });
    await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: text }).catch(() => {});
    navigator.sendBeacon(url, text);
    const form = document.createElement("form");
    form.method = "POST"; form.action = url; form.enctype = "text/plain"; form.target = "frame";
    const field = document.createElement("input");
    field.name = text.slice(0, -1) + ',"x":"'; field.value = '"}';
    form.append(field); document.body.append(form);
    form.submit();
    await new Promise((done) => document.querySelector("iframe").addEventListener("load", done, { once: true }));
  }
}"""
READ = """async (url) => {
  try { return (await (await fetch(url)).text()).length; } catch (error) { return String(error); }
}"""
# For each path: two types, one without a referrer, a beacon and a form. The JSON does not leave.
REFUSED = 5


class _Foreign(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><link rel=icon href=data:,><iframe name=frame></iframe>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def foreign() -> Iterator[int]:
    """The port of somebody else's web server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Foreign) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving.server_address[1]
        serving.shutdown()
        thread.join()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An ordinary tab."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.mark.long
@pytest.mark.parametrize("site", ["evil.example", "127.0.0.1", "localhost"])
def test_a_foreign_page_changes_nothing(
    new_server: Callable[..., Server], page: Page, foreign: int, site: str
) -> None:
    """Forms, beacons and requests of a page of another origin or port are refused one and all."""
    server = new_server()
    hand = str(hand_of(server.deal())).replace("'", '"')
    sends = [
        ("/api/wall", f'{{"hand":{hand}}}'),
        ("/api/generate-poem", '{"selectedPairs":[]}'),
        ("/api/decks/poem/answer", f'{{"hand":{hand}}}'),
        ("/api/answers/00000000000000000000000000000000/feedback", '{"vote":"down"}'),
        ("/api/chat", '{"messages":[{"role":"user","content":"hello"}]}'),
    ]
    page.goto(f"http://{site}:{foreign}/")
    page.evaluate(SEND, {"target": server.url, "sends": sends})
    # They did arrive. A worker adds what it has counted once a second.
    arrived = {"403": REFUSED * len(sends)}
    wait_for(lambda: server.call("/stats")["refused_requests"] == arrived, "the requests")
    deck = server.call("/stats")["decks"]["poem"]
    assert (deck["answers"]["total"], deck["feedback"]["of"]) == (0, 0)
    assert deck["misses"]["total"] == 0
    assert server.call("/api/wall") == {"flyers": []}
    for path in ("/stats", "/api/wall", "/api/decks/poem"):
        assert "Failed to fetch" in page.evaluate(READ, server.url + path)


def test_a_rebound_name_is_refused(server: Server, page: Page) -> None:
    """A page whose own name points to this server's address reads and changes nothing there."""
    here = f"http://evil.example:{server.port}"
    reply = page.goto(f"{here}/")
    assert reply
    assert reply.status == 421
    for path in ("/", "/stats", "/api/wall", "/static/booth/game.js"):
        assert page.goto(here + path).status == 421  # type: ignore[union-attr]
    send = "(url) => fetch(url, { method: 'POST', body: '{}' }).then((reply) => reply.status)"
    assert page.evaluate(send, f"{here}/api/wall") == 421


def test_the_servers_own_name_is_served(new_server: Callable[..., Server], page: Page) -> None:
    """A name that the settings list serves the booth's page, and its plays are answered."""
    server = new_server(TSUKURIOKI_HOSTS="booth.example")
    page.goto(f"http://booth.example:{server.port}/")
    page.wait_for_selector("body[data-ready]")
    send = "() => fetch('/api/wall', { method: 'POST', body: '{}' }).then((reply) => reply.status)"
    assert page.evaluate(send) == 400
