"""`precompute preview`: pages that follow a deck's files, with its faults in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from precompute.decks.new import CHAT, PROMPTS, NewDeck, new_deck
from tests.making import (
    PATIENCE,
    REPO,
    Precompute,
    Previewed,
    museum,
    previewing,
    write_json,
)

PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Previewed]:
    """The preview of a new deck of cards, which the tests of this file edit one after another."""
    data = tmp_path_factory.mktemp("preview")
    new_deck(data / "decks", NewDeck("mine", "en", 3, "First name"))
    with previewing(data, "mine") as started:
        yield started


def state(shown: Previewed, after: int = -1) -> dict[str, Any]:
    """The state, when it is newer than `after`."""
    reply = httpx.get(f"{shown.url}/_preview/state?after={after}", timeout=PATIENCE)
    found: dict[str, Any] = reply.json()
    return found


def state_with(shown: Previewed, part: str) -> dict[str, Any]:
    """The first state whose words have a part; each question waits for news."""
    found = state(shown)
    while part not in found["told"] + str(found["faults"]):
        found = state(shown, found["serial"])
    return found


def page(shown: Previewed, path: str = "/") -> str:
    return httpx.get(f"{shown.url}{path}", headers=PAGE, timeout=PATIENCE).text


def edit(shown: Previewed, **members: object) -> None:
    path = shown.folder / "deck.json"
    write_json(path, {**orjson.loads(path.read_bytes()), **members})


def test_pages_have_the_overlay_and_no_fault_is_shown(shown: Previewed) -> None:
    """The script may run under the page's own policy, and what it loads is there."""
    found = state_with(shown, "0 errors, 0 warnings")
    assert found["faults"] == []
    reply = httpx.get(shown.url, headers=PAGE, timeout=PATIENCE)
    assert "First name" in reply.text
    (script,) = re.findall(r'<script src="(/_preview/[^"]+)"', reply.text)
    assert "script-src 'self'" in reply.headers["content-security-policy"]
    for path in (script, "/_preview/overlay.css"):
        assert httpx.get(shown.url + path).status_code == 200
    assert httpx.get(f"{shown.url}/_preview/../preview.py").status_code != 200


def test_the_server_behind_it_is_that_of_the_event(shown: Previewed) -> None:
    """Cards are dealt and answered through the preview; nothing is kept of it."""
    with httpx.Client(base_url=shown.url, timeout=PATIENCE) as client:
        cards = client.get("/api/decks/mine/deal").json()["cards"]
        hand = [{"card": card["id"], "phrase": card["poems"][0]["id"]} for card in cards]
        answer = client.post("/api/decks/mine/answer", json={"hand": hand})
        assert answer.json()["tier"] == "template"
        assert client.post("/api/decks/mine/answer", json={"hand": []}).status_code == 400
    data = shown.folder.parents[1]
    assert sorted(path.name for path in data.iterdir()) == ["decks", "preview.log"]


def test_a_saved_deck_is_a_new_version(shown: Previewed) -> None:
    """The page has the new name, and those that are open are told to load it."""
    before = state(shown)
    edit(shown, name="Second name")
    found = before
    while found["version"] == before["version"]:
        found = state(shown, found["serial"])
    assert "Second name" in page(shown)
    state_with(shown, "0 errors")


BROKEN = {
    "no JSON": ("deck.json", b"{", "deck.json: line 1: not JSON"),
    "a misspelt member": ("deck.json", b'{"id": "mine", "hnd": 3}', "did you mean 'hand'?"),
    "UTF-16": ("titles.json", '["A"]'.encode("utf-16"), "titles.json: line 1: is UTF-16"),
    "no titles": ("titles.json", b"[]", "titles.json: there is no title"),
    "an empty file": ("cards.json", b"", "cards.json: line 1: not JSON"),
}


def test_a_broken_deck_is_told_and_the_last_good_one_served(shown: Previewed) -> None:
    """One fault after another, with the file that is edited, not the copy; mended, they are gone."""
    good = {name: (shown.folder / name).read_bytes() for name, _, _ in BROKEN.values()}
    version = state(shown)["version"]
    for file, wrong, fault in BROKEN.values():
        # The next fault before the last one is mended, so that the deck is never sound between.
        (shown.folder / file).write_bytes(wrong)
        for name in good.keys() - {file}:
            (shown.folder / name).write_bytes(good[name])
        found = state_with(shown, fault)
        assert found["version"] == version
        assert "the last version that worked is shown" in found["told"]
        assert str(shown.folder / file) in found["faults"][0]["text"]
        assert "begin" in page(shown)
    for name, data in good.items():
        (shown.folder / name).write_bytes(data)
    state_with(shown, "0 errors, 0 warnings")


def test_what_check_says_is_shown_beside_the_new_version(shown: Previewed) -> None:
    """An error that does not keep the deck from being loaded: its new version is served with it."""
    edit(shown, template={"openings": ["Come."], "links": ["So."], "closings": ["Stay."]})
    found = state_with(shown, "tier template answers 0 of 1,000 hands")
    assert found["told"].startswith("1 errors")
    assert found["faults"][0]["error"] is True


def test_a_deck_that_is_broken_from_the_start(tmp_path: Path) -> None:
    """The fault is the page, until the deck can be loaded; then the deck's page is."""
    deck = museum(tmp_path / "decks" / "museum")
    assert deck.folder
    good = (deck.folder / "cards.json").read_bytes()
    (deck.folder / "cards.json").write_bytes(b"[")
    with previewing(tmp_path, "museum") as shown:
        found = state_with(shown, "cards.json: line 1")
        assert "nothing yet" in found["told"]
        assert "Preview of museum" in page(shown)
        (deck.folder / "cards.json").write_bytes(good)
        state_with(shown, "0 errors")
        assert "Preview of museum" not in page(shown)


@pytest.mark.long
@pytest.mark.parametrize("kind", [CHAT, PROMPTS])
def test_other_kinds_have_a_preview_too(tmp_path: Path, kind: str) -> None:
    """A character talks through it, also in a stream, on a page in its language; prompts are asked by
    their model's name."""
    new_deck(tmp_path / "decks", NewDeck("mine", "fr", name="Pepper", kind=kind))
    with (
        previewing(tmp_path, "mine") as shown,
        httpx.Client(base_url=shown.url, timeout=PATIENCE) as client,
    ):
        if kind == PROMPTS:
            assert "/_preview/" in shown.said
            body = {"model": "mine", "messages": [{"role": "user", "content": "x"}]}
            assert client.post("/v1/chat/completions", json=body).status_code == 404
            return
        assert f"{shown.url}/chat?deck=mine" in shown.said
        chat = page(shown, "/chat?deck=mine")
        assert "Pepper" in chat
        assert "Votre nom (facultatif)" in chat
        assert "Your name" not in chat
        assert "/_preview/overlay.js" in chat
        said = {"messages": [{"role": "user", "content": "Bonjour"}], "stream": True}
        with client.stream("POST", "/api/chat", json=said) as stream:
            events = [line for line in stream.iter_lines() if line.startswith("event: ")]
        assert events[0] == "event: start"
        assert events[-1] == "event: done"


def test_it_is_for_this_machine_alone(shown: Previewed) -> None:
    """A page of another site that names this machine by a host of its own is turned away."""
    for host in ("evil.example", "evil.example:80", ""):
        assert httpx.get(shown.url, headers={"Host": host}).status_code == 421


def test_what_cannot_be_previewed_is_said(tmp_path: Path, shown: Previewed) -> None:
    """One line and status 2: no such deck, a deck without a folder, a port that is taken."""
    new_deck(tmp_path / "decks", NewDeck("mine", "en", 3))
    run = Precompute({"TSUKURIOKI_DATA": tmp_path})
    for words, told in (
        (("--deck", "nowhere"), "there is no deck 'nowhere'"),
        (("--deck", "recorded"), "has no folder"),
        (("--deck", "mine", "--port", shown.url.rpartition(":")[2]), "name another with --port"),
    ):
        said = run("preview", *words, status=2).stderr
        assert told in said
        assert len(said.splitlines()) == 1


def test_the_server_of_the_event_has_nothing_of_it() -> None:
    """No word of it in the program that is served."""
    for path in (REPO / "app").rglob("*"):
        if path.suffix in (".py", ".js", ".html", ".css"):
            assert "_preview" not in path.read_text(encoding="utf-8"), path
