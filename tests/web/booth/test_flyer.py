"""The flyer as a picture and on paper."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.booth.conftest import ARTIFACTS, KIOSK, PHONE, TABLET, Server
from tests.web.booth.player import deal_always, play, until

if TYPE_CHECKING:
    from PIL.Image import Image
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]
POSTCARD = (1200, 1776)
PAPER = (246, 241, 230)


def saved(page: Page) -> Image:
    """The image that the button gives, decoded whole."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is missing: pip install pillow")
    with page.expect_download() as download:
        page.click(".save")
    path = Path(download.value.path())
    assert download.value.suggested_filename.endswith(".png")
    image: Image = pillow.open(io.BytesIO(path.read_bytes()))
    image.load()
    return image.convert("RGB")


def ink(image: Image, box: tuple[int, int, int, int]) -> float:
    """How much of a part is darker than paper."""
    part = image.crop(box).convert("L")
    return sum(part.histogram()[:128]) / (part.width * part.height)


def test_saved_image_is_the_flyer(visit: Visit, server: Server) -> None:
    """The front is saved as a postcard with a picture above and a written poem below on paper."""
    page = visit(server, **PHONE)
    play(page, "touch")
    image = saved(page)
    ARTIFACTS.mkdir(exist_ok=True)
    image.save(ARTIFACTS / "flyer-front.png")
    assert image.size == POSTCARD
    assert image.getpixel((20, 1300)) == PAPER
    picture = image.crop((0, 0, 1200, 1000)).getcolors(1_200_000)
    assert picture is not None
    assert len(picture) > 500
    assert 0.04 < ink(image, (80, 1050, 1120, 1650)) < 0.4


def test_saved_back_is_the_flaws(visit: Visit, server: Server) -> None:
    """With the back turned up the back is saved: no picture, and ink in each of five rows."""
    page = visit(server, **PHONE)
    play(page, "touch")
    page.click(".turn")
    image = saved(page)
    assert image.size == POSTCARD
    assert image.getpixel((20, 20)) == PAPER
    for row in range(5):
        assert ink(image, (80, 360 + row * 256, 1120, 590 + row * 256)) > 0.005


@pytest.mark.long
def test_same_play_same_picture(visit: Visit, server: Server) -> None:
    """The same play gives the same image to the pixel; another play of the same cards another."""
    cards = server.deal()

    def image(pick: int) -> bytes:
        page = visit(server, **PHONE)
        deal_always(page, cards)
        play(page, "touch", pick)
        return saved(page).tobytes()

    first = image(0)
    assert image(0) == first
    other = image(2)
    assert sum(a != b for a, b in zip(first[::997], other[::997], strict=True)) > 200


@pytest.mark.long
@pytest.mark.parametrize("size", [PHONE, KIOSK], ids=["phone", "wide"])
def test_printed_on_a_postcard(visit: Visit, server: Server, size: dict[str, object]) -> None:
    """Printing gives two pages of a Japanese postcard: the poem, then the five flaws."""
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing: pip install pypdf")
    page = visit(server, **size)
    flyer = play(page)
    ARTIFACTS.mkdir(exist_ok=True)
    paper = page.pdf(
        prefer_css_page_size=True, print_background=True, path=ARTIFACTS / "postcard.pdf"
    )
    pages = pypdf.PdfReader(io.BytesIO(paper)).pages
    assert len(pages) == 2
    for sheet in pages:
        assert float(sheet.mediabox.width) == pytest.approx(100 / 25.4 * 72, abs=1)
        assert float(sheet.mediabox.height) == pytest.approx(148 / 25.4 * 72, abs=1)
    front, back = (squeezed(sheet.extract_text()) for sheet in pages)
    assert squeezed(flyer["poem"])[-6:-1] in front
    assert all(squeezed(fact)[:5] in back for fact in flyer["facts"])
    assert not any(squeezed(fact) in front for fact in flyer["facts"])


LONGEST = "\n\n".join("あいうえおかきくけこさしすせそたちつてと" * 3 for _ in range(4))
INSIDE = """() => {
  const [box, text] = ['.poem-box', '.poem'].map((one) => document.querySelector(one).getBoundingClientRect());
  return text.left >= box.left - 1 && text.right <= box.right + 1
    && text.top >= box.top - 1 && text.bottom <= box.bottom + 1;
}"""


@pytest.mark.long
@pytest.mark.parametrize("size", [PHONE, TABLET, KIOSK], ids=["phone", "tablet", "kiosk"])
def test_longest_poem_fits(visit: Visit, server: Server, size: dict[str, object]) -> None:
    """A poem of 240 characters in four paragraphs is cut off neither on a screen nor on paper."""
    page = visit(server, **size)
    answer = {
        "title": "急がないものだけが、間に合う。",
        "poem": LONGEST,
        "tier": "exact",
        "key": "0" * 32,
        "variant": 0,
    }
    page.route("**/api/decks/poem/answer", lambda route: route.fulfill(json=answer))
    play(page)
    until(page, INSIDE)
    assert page.evaluate("parseFloat(document.querySelector('.poem').style.fontSize)") >= 11
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 378, "height": 1119})
    until(page, INSIDE)


def squeezed(text: str) -> str:
    """Without what a setting adds."""
    return "".join(text.split())
