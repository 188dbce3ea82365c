"""Publishing: an event as a folder of files, complete before it is switched on.

    index.html, wall.html    the pages: they load what `edition.json` names
    edition.json             names everything else; replacing it switches the edition
    boot.js, sw.js           what the pages begin with; the service worker
    app.webmanifest, icon-*  for installing
    files/                   everything else, under names that follow from the contents

See docs/static-edition.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import orjson

import app
from app.errors import NothingCookedError
from app.kinds.cards import composing, template
from app.kinds.cards.deck import Deck
from app.kinds.cards.pages import page_of
from app.settings import Settings
from app.store.index import Index
from precompute.publish.bundles import bits_for, bundles
from precompute.publish.folder import EDITION, EditionFile, EditionFolder, digest
from precompute.publish.making import frames_of, pieces_of

FORMAT = 1
# Bundles that one list names, and stocked hands in one file.
LIST, HANDS = 256, 512
_APP = Path(app.__file__).parent
_MODULES = Path(__file__).parent / "browser"
# The modules that stand at the top, under names of their own.
_TOP = ("boot.js", "sw.js")
# The host's figures are a server's.
_LEFT_OUT = ("dashboard",)
_STORED = ("exact", "same_hand")
_MAKERS = {
    "composed": {"source": composing.SOURCE, "model": composing.MODEL},
    "template": {"source": template.SOURCE, "model": template.MODEL},
}


class Published(NamedTuple):
    """What was published: the edition, new files and their bytes, removed files, and remarks."""

    edition: dict[str, Any]
    new: int
    size: int
    removed: int
    remarks: list[str]


def publish(settings: Settings, deck: Deck, root: Path, collect: str = "") -> Published:
    """Write an edition of a deck of cards, and switch to it.

    `collect` is the address to which devices send misses and votes, none if it is empty. Raises
    PlanError if `root` holds something else, IndexUnusableError.
    """
    folder = EditionFolder(root)
    with folder.alone():
        before = _named(root)
        edition, remarks = _edition(settings, deck, folder)
        # A change of the files at the top alone is a new edition too.
        edition |= {"collect": collect, "top": _write_top(folder, deck)}
        changed = folder.replace(EDITION, orjson.dumps(edition))
        # Pages that are open have the edition before, and go on with it.
        removed = folder.sweep({*before, *_named(root)}) if changed else 0
    return Published(edition, folder.new, folder.size, removed, remarks)


def _edition(
    settings: Settings, deck: Deck, folder: EditionFolder
) -> tuple[dict[str, Any], list[str]]:
    making = {"composed": pieces_of(deck), "template": frames_of(deck)}
    tiers = [tier for tier in settings.tiers if tier in _STORED or making.get(tier)]
    remarks = [_why_not(deck, tier) for tier in settings.tiers if tier not in tiers]
    program, kept = folder.add_all(_program())
    pages = {name: folder.add(page, ".html") for name, page in _pages(settings, deck, program)}
    made = {
        name: folder.add(orjson.dumps(making[name]), ".json") for name in making if name in tiers
    }
    cards = folder.add(
        orjson.dumps({"hand": deck.hand_size, "cards": [card.raw for card in deck.cards]}), ".json"
    )
    try:
        stored, stock, fault = _stored(settings, deck, folder)
        remarks += [f"{fault}; it is left out"] if fault else []
    except NothingCookedError as error:
        remarks.append(f"{error}; every answer is made in the browser")
        stored, stock = (
            {"bits": 0, "lists": [], "plays": 0, "bundles": 0, "bytes": 0, "hands": 0},
            [],
        )
    kept += [*pages.values(), *made.values(), cards, *stock]
    edition = {
        "format": FORMAT,
        "deck": deck.id,
        "name": deck.name,
        "program": program,
        "pages": {name: page.path for name, page in pages.items()},
        "tiers": tiers,
        "radius": settings.radius,
        "cards": cards.path,
        "made": {name: {"path": one.path, **_MAKERS[name]} for name, one in made.items()},
        "stored": stored,
        "stock": [one.path for one in stock],
        "keep": [list(one) for one in kept],
    }
    return edition, remarks


def _why_not(deck: Deck, tier: str) -> str:
    if tier in ("local", "cloud"):
        return f"tier {tier}: a model cannot be asked without a server; it is left out"
    if (tier == "composed" and not deck.composable) or (tier == "template" and not deck.template):
        return f"tier {tier}: deck {deck.id!r} has nothing for it"
    return f"tier {tier}: not everything that it makes would pass the gate, which the browser does not have; it is left out"


def _stored(
    settings: Settings, deck: Deck, folder: EditionFolder
) -> tuple[dict[str, Any], list[EditionFile], str]:
    """Write bundles and stock.

    Returns what `edition.json` says of bundles, the stock's files, and what of the index could not
    be read.
    """
    index = Index(settings.store, deck.id)
    meta = index.meta()
    bits = bits_for(meta.entries)
    names = [""] * (1 << bits)
    size = 0
    for number, text in bundles(index, settings.store, deck, bits):
        names[number] = folder.add(text, ".json").digest
        size += len(text)
    lists = [
        folder.add(orjson.dumps(names[at : at + LIST]), ".json")
        for at in range(0, len(names), LIST)
    ]
    place = {card.id: number for number, card in enumerate(deck.cards)}
    hands = [index.stocked(position) for position in range(meta.stocked_hands)]
    known = [[place[card] for card in hand] for hand in hands if hand and place.keys() >= set(hand)]
    stock = [
        folder.add(orjson.dumps(known[at : at + HANDS]), ".json")
        for at in range(0, len(known), HANDS)
    ]
    index.close()
    stored = {
        "bits": bits,
        "lists": [one.digest for one in lists],
        "plays": meta.plays,
        "bundles": len(names) - names.count(""),
        "bytes": size,
        "hands": len(known),
    }
    return stored, stock, index.fault


def _program() -> Iterator[tuple[str, bytes]]:
    """Styles, fonts and modules of the booth; `api.js` is the edition's, the server's `server.js`."""
    booth = _APP / "static" / "booth"
    for path in sorted(path for path in booth.rglob("*") if path.is_file()):
        name = path.relative_to(booth).as_posix()
        if not name.startswith(_LEFT_OUT):
            yield f"booth/{'server.js' if name == 'api.js' else name}", path.read_bytes()
    for path in sorted(_MODULES.glob("*.js")):
        if path.name == "api.js":
            yield "booth/api.js", path.read_bytes()
        elif path.name not in _TOP:
            yield f"edition/{path.name}", path.read_bytes()


def _pages(settings: Settings, deck: Deck, program: str) -> Iterator[tuple[str, bytes]]:
    """The booth's pages, as the server renders them."""
    loader = jinja2.FileSystemLoader(_APP / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True)
    page = page_of(deck)
    values = {
        "deck": deck,
        "page": page,
        "words": page["words"][deck.language],
        "idle": settings.idle,
        "titles": deck.titles,
        "guarded": False,
        "url_for": lambda endpoint, filename: f"{program}/{filename}",
    }
    for name in ("game", "wall"):
        yield name, environment.get_template(f"booth/{name}.html").render(values).encode()


def _write_top(folder: EditionFolder, deck: Deck) -> str:
    """Write what has a name of its own; returns the digest of it all."""
    files = dict(_top(deck))
    for name, data in files.items():
        folder.replace(name, data)
    return digest(b"".join(files.values()))


def _top(deck: Deck) -> Iterator[tuple[str, bytes]]:
    """The beginnings of the pages, the service worker, what installing needs."""
    words = page_of(deck)["words"][deck.language]
    shell = jinja2.Environment(autoescape=True).from_string(
        (_MODULES / "shell.html").read_text("utf-8")
    )
    for page, path in (("game", "index.html"), ("wall", "wall.html")):
        yield path, shell.render(deck=deck, page=page, words=words).encode()
    manifest = {
        "name": deck.name,
        "short_name": deck.name,
        "lang": deck.language,
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#10131f",
        "theme_color": "#10131f",
        "icons": [
            {"src": f"icon-{size}.png", "sizes": f"{size}x{size}", "type": "image/png"}
            for size in (192, 512)
        ],
    }
    yield "app.webmanifest", orjson.dumps(manifest, option=orjson.OPT_INDENT_2)
    for name in (*_TOP, "icon-192.png", "icon-512.png", "_headers"):
        yield name, (_MODULES / name).read_bytes()
    # GitHub Pages would leave out what begins with an underscore.
    yield ".nojekyll", b""


def _named(root: Path) -> set[str]:
    """The paths under `files/` that the edition in a folder names; none if there is no edition."""
    try:
        edition = orjson.loads((root / EDITION).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return set()
    if not isinstance(edition, dict) or edition.get("format") != FORMAT:
        return set()
    lists = [f"files/{name}.json" for name in edition["stored"]["lists"]]
    found = {kept[0] for kept in edition["keep"]} | set(lists)
    for one in lists:
        if (root / one).exists():
            found |= {
                f"files/{name}.json" for name in orjson.loads((root / one).read_bytes()) if name
            }
    return found
