"""The pages of a deck of one's own: its language, its words, its colours, nothing of another's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from precompute.decks.new import NewDeck, new_deck
from tests.web.booth.conftest import DECKS, KIOSK, PHONE, Server, choosing, hand_of, keep
from tests.web.booth.player import at_card, begin, screen, tab_to, until
from tests.web.booth.test_access import violations

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

Visit = Callable[..., "Page"]
UPRIGHT_KIOSK: dict[str, Any] = {"viewport": {"width": 1080, "height": 1920}}
FOREIGN = re.compile(r"[぀-ヿ一-鿿「」]|Estates|propert|move in|live there|five")
COLUMNS = """() => [...document.querySelectorAll("#stage *")].filter((element) =>
  getComputedStyle(element).writingMode !== "horizontal-tb").map((element) => element.className)"""
LAST_LINE_SHOWS = """() => {
  const box = document.querySelector(".poem-box").getBoundingClientRect();
  const last = [...document.querySelectorAll(".poem p")].at(-1).getBoundingClientRect();
  return last.bottom <= box.bottom + 1;
}"""
LEADS_ON = """() => {
  const kind = document.activeElement.closest(".kind");
  return kind?.querySelector("[data-stocked]") && !kind.querySelector("[aria-pressed=true]");
}"""
ON_A_MARK = "() => document.activeElement.matches('[data-stocked][aria-pressed=false]')"
ANSWERED = """() => document.querySelector("#stop").disabled
  && document.querySelector("#talk .assistant p")?.textContent"""
PLACES = """() => [...document.querySelectorAll(".kind h2, .option, .foot")].map((one) => {
  const { top, left, width, height } = one.getBoundingClientRect();
  return one.matches(".foot") ? [height] : [top + scrollY, left + scrollX, width, height];
})"""
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def museum(new_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of a new deck in English with a hand of three; the template tier answers."""
    decks = tmp_path_factory.mktemp("decks")
    new_deck(decks, NewDeck("museum", "en", 3, "The Small Museum"))
    return new_server(TSUKURIOKI_DECKS=str(decks), TSUKURIOKI_DECK="museum")


@pytest.fixture(scope="module")
def two(new_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of the museum, of poems for cards that visitors pick themselves, and of a character."""
    decks = choosing(tmp_path_factory.mktemp("two"))
    new_deck(decks, NewDeck("museum", "en", 3, "The Small Museum"))
    new_deck(decks, NewDeck("pepper", "fr", name="Pepper", kind="chat"))
    return new_server(
        TSUKURIOKI_DECKS=str(decks),
        TSUKURIOKI_DECKS_SHOWN="pepper,museum,poem",
        TSUKURIOKI_IDLE="8",
        TSUKURIOKI_CHAT_PACE="0",
    )


@pytest.mark.long
def test_a_kiosk_of_two_decks(visit: Visit, two: Server) -> None:
    """A visitor chooses deck and language by touch; left alone, the kiosk is back at the choice."""
    page = visit(two, "/?kiosk", language="ja-JP", **UPRIGHT_KIOSK)
    page.clock.install()
    names = ["Pepper", "The Small Museum", "マンションポエム"]
    assert page.locator(".deck-name").all_inner_texts() == names
    assert page.locator("a[href]").count() == 0
    keep(page, "decks")
    page.click('[data-deck="poem"] .spoken[lang="en"]')
    page.wait_for_selector(".begin")
    assert page.locator(".begin").inner_text() == "Begin the viewing"
    page.click(".begin")
    screen(page, "choose")
    page.clock.run_for(9_000)
    page.wait_for_selector(".tiles")
    page.click('[data-deck="museum"] .enter')
    page.wait_for_selector(".begin")
    assert "The Small Museum" in page.locator("h1").inner_text()
    page.click(".home")
    page.wait_for_selector(".tiles")


def test_a_kiosk_offers_characters_too(visit: Visit, two: Server) -> None:
    """A character's tile leads, by keys or touch, to its chat in its language, which has no other way
    out than home; left alone, the kiosk is back at the choice, and nobody reads what was said."""
    page = visit(two, "/?kiosk", **UPRIGHT_KIOSK, has_touch=True)
    page.clock.install()
    assert page.locator("html").get_attribute("lang") == "fr"
    tab_to(page, '[data-deck="pepper"] .enter')
    page.keyboard.press("Enter")
    page.wait_for_selector("#say")
    page.wait_for_selector("body[data-ready]")
    assert page.locator("html").get_attribute("lang") == "fr"
    assert page.evaluate(WIDER) <= 0
    page.keyboard.type("je veux mourir")
    page.keyboard.press("Enter")
    page.wait_for_selector("#help:not([hidden])")
    until(page, ANSWERED)
    # How she was answered is for the host. Not even the numbers to call are links, and who reads them
    # has more time.
    assert page.locator("#talk small").count() == 0
    assert page.locator("#contacts .number").count() > 0
    assert page.locator("a[href]").count() == 0
    keep(page, "kiosk-chat")
    page.clock.run_for(30_000)
    assert page.locator("#help").is_visible()
    page.clock.run_for(11_000)
    page.wait_for_selector(".tiles")
    page.tap('[data-deck="pepper"] .spoken')
    page.wait_for_selector("body[data-deck=pepper][data-ready]")
    assert page.locator("#talk li").count() == 0
    page.locator("#message").fill("bonjour")
    page.clock.run_for(5_000)
    assert "Retour au début" in page.locator("#leaving").inner_text()
    page.tap("#home")
    page.wait_for_selector(".tiles")


def test_one_character_alone_on_a_kiosk(visit: Visit, new_server: Callable[..., Server]) -> None:
    """Where a character is all that is shown, the kiosk is its chat, and begins anew when left alone.

    The page without a kiosk does not lead to characters that are not shown either.
    """
    server = new_server(
        TSUKURIOKI_DECKS=str(DECKS), TSUKURIOKI_DECKS_SHOWN="harbour", TSUKURIOKI_IDLE="8"
    )
    assert visit(server, "/chat").locator("nav a").count() == 0
    page = visit(server, "/?kiosk", **KIOSK)
    page.clock.install()
    assert page.locator("#home, a[href]").count() == 0
    page.locator("#message").fill("Ahoy")
    page.keyboard.press("Enter")
    until(page, ANSWERED)
    with page.expect_navigation():
        page.clock.run_for(9_000)
    page.wait_for_selector("body[data-ready]")
    assert page.locator("#talk li").count() == 0


def test_cards_are_picked_with_keys_alone(visit: Visit, two: Server) -> None:
    """Marks lead from card to card to a hand in stock, whose text was written for it."""
    page = visit(two, "/?deck=poem&lang=ja", **KIOSK, reduced_motion="reduce")
    page.keyboard.press("Enter")
    page.wait_for_selector(".option[data-stocked]")
    assert page.locator('.kind .option[tabindex="0"]').count() == page.locator(".kind").count()
    assert page.locator(".go").is_disabled()
    for at in range(5):
        until(page, f"document.querySelectorAll('[aria-pressed=true]').length === {at}")
        until(page, "document.querySelector('.choose')?.dataset.led === 'yes'")
        for key, reached in (("Tab", LEADS_ON), ("ArrowDown", ON_A_MARK)):
            for _ in range(20):
                if page.evaluate(reached):
                    break
                page.keyboard.press(key)
        page.keyboard.press("Enter")
    until(page, "!document.querySelector('.go').disabled")
    until(page, "document.querySelector('.chosen').textContent.includes('ございます')")
    keep(page, "choose")
    tab_to(page, ".go")
    page.keyboard.press("Enter")
    for at in range(5):
        at_card(page, at + 1)
        page.keyboard.press("1")
    screen(page, "flyer")
    assert page.locator(".tier").inner_text() in (
        "この札のために書き置いた一篇",
        "同じ五枚のために書き置いた一篇",
        "この五枚のために書き置いた一篇",
    )


@pytest.mark.parametrize("size", [UPRIGHT_KIOSK, KIOSK, PHONE], ids=["upright", "wide", "phone"])
def test_cards_stay_where_they_are(visit: Visit, two: Server, size: dict[str, Any]) -> None:
    """When cards are chosen, given back, and their hand is told about, nothing on the page moves."""
    page = visit(two, "/?deck=poem&lang=ja", **size)
    deck = two.call("/api/decks/poem")
    for length, card in enumerate(deck["cards"], 3):
        card["condition_text"] = "駅まで歩いて三分の南向き。"[: length % 13 + 1] * (1 + length % 4)
    page.route("**/api/decks/poem", lambda route: route.fulfill(json=deck))
    page.click(".begin")
    page.wait_for_selector(".option[data-stocked]")
    before = page.evaluate(PLACES)
    for at in (0, 1, 2, 3, 4, 4, 5):
        # The longest has the least room for a mark.
        group = page.locator(".kind").nth(at)
        lengths = group.locator(".option").evaluate_all(
            "all => all.map((one) => one.innerText.length)"
        )
        group.locator(".option").nth(lengths.index(max(lengths))).click()
        until(page, "document.querySelector('.choose').dataset.led === 'yes'")
        assert page.evaluate(PLACES) == before
    assert page.locator('[aria-pressed="true"]').count() == 5


def test_another_hand_is_told_what_it_will_be(visit: Visit, two: Server) -> None:
    """A card that leads to no hand in stock can be picked all the same; the page says what comes."""
    page = visit(two, "/?deck=poem&lang=ja", **PHONE)
    page.tap(".begin")
    page.wait_for_selector(".option[data-stocked]")
    for at in range(5):
        page.locator(".kind").nth(at).locator(".option").last.tap()
    until(page, "document.querySelector('.chosen').textContent.includes('組み合わせた')")
    assert page.locator(".kind").nth(6).locator('[aria-disabled="true"]').count() > 0
    page.locator(".kind").nth(6).locator(".option").first.tap(force=True)
    assert page.locator('[aria-pressed="true"]').count() == 5
    # One of a category that has one already takes its place.
    page.locator(".kind").nth(0).locator(".option").first.tap()
    until(page, "document.querySelector('.option').getAttribute('aria-pressed') === 'true'")
    assert page.locator('[aria-pressed="true"]').count() == 5
    assert page.evaluate(WIDER) <= 0
    page.tap(".surprise")
    screen(page, "deal")


@pytest.mark.long
@pytest.mark.parametrize("size", [UPRIGHT_KIOSK, PHONE], ids=["upright", "phone"])
def test_choosing_is_accessible_and_fits(
    visit: Visit, two: Server, axe: str, size: dict[str, Any]
) -> None:
    """axe finds no fault with the start page of two decks and the cards to pick; nothing is cut off."""
    page = visit(two, "/", language="ja-JP", **size)
    assert violations(page, axe) == []
    assert page.evaluate(WIDER) <= 0
    page.click('[data-deck="poem"] .enter')
    page.wait_for_selector(".begin")
    page.click(".begin")
    page.wait_for_selector(".option[data-stocked]")
    page.locator(".option").first.click()
    assert violations(page, axe) == []
    assert page.evaluate(WIDER) <= 0


def test_the_hosts_pages_are_a_decks(visit: Visit, two: Server) -> None:
    """Wall and dashboard show one deck and lead to those of the others; a play hangs on its own."""
    others = two.call("/api/wall?deck=poem")
    cards = two.call("/api/decks/museum/deal")["cards"]
    two.call("/api/wall?deck=museum", {"hand": hand_of(cards)})
    assert len(two.call("/api/wall?deck=museum")["flyers"]) == 1
    assert two.call("/api/wall?deck=poem") == others
    page = visit(two, "/dashboard?deck=poem", language="ja-JP")
    page.wait_for_selector(".panel h2")
    page.click(".deck-links a")
    page.wait_for_selector(".panel h2")
    assert page.locator("header p").first.inner_text() == "The Small Museum"


@pytest.mark.long
@pytest.mark.parametrize("letters", [40, 1600])
def test_short_and_long_texts_fit(visit: Visit, museum: Server, letters: int) -> None:
    """On page and postcard no line of a text is lost, whatever its length."""
    text = "\n\n".join(["A clock that has kept its own counsel. " * (letters // 160 + 1)] * 4)[
        :letters
    ]
    page = visit(museum, "/", **PHONE)
    page.route("**/answer", lambda route: _with_poem(route, text))
    begin(page, "touch")
    for number in range(1, 4):
        page.wait_for_selector(f"text=Card {number} of 3")
        page.keyboard.press("1")
    page.wait_for_selector(".face.front .poem p")
    size = "() => parseFloat(getComputedStyle(document.querySelector('.poem')).fontSize)"
    assert page.evaluate(size) >= 12
    page.locator(".poem p").last.scroll_into_view_if_needed()
    assert page.evaluate(LAST_LINE_SHOWS)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 378, "height": 1119})
    assert page.evaluate(LAST_LINE_SHOWS)
    assert page.evaluate("document.querySelector('.poem-box').scrollTop") == 0


@pytest.mark.long
def test_no_line_breaks_at_the_spaces_beside_french_marks(visit: Visit, museum: Server) -> None:
    """The spaces before : ; ? ! and inside « » hold their words together."""
    page = visit(museum, "/", **PHONE)
    page.route("**/answer", lambda route: _with_poem(route, "Il dit : « Oui » ! Vraiment ?"))
    begin(page, "touch")
    for number in range(1, 4):
        page.wait_for_selector(f"text=Card {number} of 3")
        page.keyboard.press("1")
    page.wait_for_selector(".face.front .poem p")
    shown = page.locator(".poem").text_content() or ""
    assert "Il dit\u00a0: «\u00a0Oui\u00a0»\u00a0! Vraiment\u00a0?" in shown


def _with_poem(route: Route, text: str) -> None:
    reply = route.fetch()
    route.fulfill(response=reply, json={**reply.json(), "poem": text})


def examine(page: Page, where: str) -> None:
    """A screen is set in lines, fits, and says nothing of another deck."""
    assert page.evaluate(COLUMNS) == [], where
    assert page.evaluate(WIDER) <= 0, where
    said = page.locator("body").inner_text()
    assert said.strip(), where
    assert not FOREIGN.search(said), (where, said)
    assert not re.search(r"\{[a-z:]+\}|undefined|<<", said), (where, said)


@pytest.mark.long
@pytest.mark.parametrize("size", [UPRIGHT_KIOSK, PHONE], ids=["upright", "phone"])
def test_every_screen_is_in_the_decks_language(
    visit: Visit, museum: Server, size: dict[str, Any]
) -> None:
    """A kiosk with a Japanese browser plays an English deck in English, in lines, to the end."""
    page = visit(museum, "/?kiosk=print", language="ja-JP", **size)
    examine(page, "start")
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("#language").is_hidden()
    assert "The Small Museum" in page.locator("h1").inner_text()
    page.click(".begin")
    page.wait_for_selector(".deal .ready")
    examine(page, "deal")
    page.click(".deal .primary")
    for number in range(1, 4):
        page.wait_for_selector(f"text=Card {number} of 3")
        examine(page, "pick")
        page.keyboard.press("1")
    page.wait_for_selector(".face.front .poem p")
    examine(page, "front")
    page.click(".turn")
    page.wait_for_selector('[data-side="back"]')
    examine(page, "back")
    assert page.locator(".said").nth(1).inner_text().startswith("“")


def test_the_host_pages_and_the_theme(visit: Visit, museum: Server) -> None:
    """Wall and dashboard too; the deck's colours are the pages'."""
    wall = visit(museum, "/wall", language="ja-JP")
    examine(wall, "wall")
    dashboard = visit(museum, "/dashboard", language="fr-FR")
    dashboard.wait_for_selector(".panel h2")
    said = dashboard.locator("#stage").inner_text()
    assert "Answers by tier over time" in said
    assert not FOREIGN.search(said)
    colour = "() => getComputedStyle(document.documentElement).getPropertyValue('--paper').trim()"
    assert wall.evaluate(colour) == "#f4f1e8"
    family = wall.evaluate("() => getComputedStyle(document.body).fontFamily")
    assert "Mincho" not in family.split(",")[0]
