"""A problem's sentence is in the client's language where there is one."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from app.settings import Settings
from app.web.app import create_app
from app.web.problems import language_for, sentence_in, translations
from precompute.decks.new import NewDeck, new_deck
from tests.making import REPO


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """A server of a deck in French, without frames, so that nothing answers."""
    folder = tmp_path_factory.mktemp("french")
    new_deck(folder / "decks", NewDeck("puces", "fr", 3))
    environ = {
        "TSUKURIOKI_DATA": str(folder),
        "TSUKURIOKI_DECK": "puces",
        "TSUKURIOKI_TIERS": "exact",
    }
    return create_app(Settings.read(environ)).test_client()


@pytest.mark.parametrize(
    ("header", "language", "sentence"),
    [
        (None, "fr", "Veuillez choisir 3 carte(s)."),
        ("ja,en;q=0.5", "ja", "カードは3枚、選んでください。"),
        ("en-GB,fr;q=0.9", "en", "Please choose 3 card(s)."),
        ("de,en;q=0.7,fr;q=0.8", "fr", "Veuillez choisir 3 carte(s)."),
        ("xx", "fr", "Veuillez choisir 3 carte(s)."),
        (";;;=q", "fr", "Veuillez choisir 3 carte(s)."),
    ],
)
def test_the_client_chooses_and_else_the_deck(
    client: FlaskClient, header: str | None, language: str, sentence: str
) -> None:
    """Accept-Language decides; a client that names no language of ours gets the deck's."""
    headers = {"Accept-Language": header} if header else {}
    reply = client.post("/api/decks/puces/answer", json={"hand": []}, headers=headers)
    assert reply.status_code == 400
    assert reply.get_json()["error"] == sentence
    assert reply.headers["Content-Language"] == language
    assert "Accept-Language" in reply.headers["Vary"]


def test_a_client_without_a_language_gets_the_poem_decks() -> None:
    """The first game's clients are Japanese."""
    assert language_for(None, "ja") == "ja"
    assert language_for("*", "ja") == "ja"
    assert language_for(None, "de") == "en"


def test_every_sentence_has_its_row() -> None:
    """What an error says in Japanese is said in each other language."""
    said: set[str] = set()
    for room in ("web", "kinds/cards"):
        for path in (REPO / "app" / room).glob("*.py"):
            for call in re.findall(r"RequestError\((.*?)\n\s*\)", path.read_text(), re.DOTALL):
                said |= set(re.findall(r'"([^"\n]*[ぁ-ん][^"\n]*。)"', call))
    assert len(said) > 5
    for sentence in said:
        plain = re.sub(r"\{[^}]*\}", "3", sentence)
        for language in translations():
            assert sentence_in(language, plain) != plain, sentence


def test_languages_are_complete() -> None:
    """Each language has every sentence, with the same place."""
    tables = list(translations().values())
    for japanese in {sentence for table in tables for sentence in table}:
        assert len({"{number}" in text for text in (japanese, *(t[japanese] for t in tables))}) == 1
