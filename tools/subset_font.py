"""Cuts the page's fonts out of Shippori Mincho. Run by hand when the deck or the wording grows.

    npm pack @fontsource/shippori-mincho && tar xzf fontsource-shippori-mincho-*.tgz
    python tools/subset_font.py package

Three files come out, beside the licence that they are under (SIL Open Font License 1.1):

- `mincho.woff2`: the kana, JIS level 1, and every character of the decks and of the interface, with
  the features for vertical setting. A model may write a rarer kanji; that one comes from the
  system's own font, which is why the whole of JIS is not shipped.
- `tate.woff2`: the vertical forms of punctuation and small kana under their plain code points. A
  browser picks them by itself in vertical text, but a canvas cannot be told to; the saved flyer is
  drawn sign by sign with this font first.
- `figures.woff2`: heavy Latin letters and digits, for what is read across a room.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fontTools import subset
from fontTools.ttLib import TTFont

ROOT = Path(__file__).resolve().parent.parent
BOOTH = ROOT / "app" / "static" / "booth"
FONTS = BOOTH / "fonts"
FEATURES = ["ccmp", "frac", "kern", "liga", "vert", "vrt2"]
# Rows of JIS X 0208: signs, digits and Latin, kana, and the kanji of level 1.
JIS_ROWS = (1, 2, 3, 4, 5, *range(16, 48))
LATIN = "".join(map(chr, range(0x20, 0x7F))) + "·×–—‘’“”…¥µ−"


def jis_level_1() -> set[str]:
    """The characters of the rows above."""
    signs: set[str] = set()
    for row in JIS_ROWS:
        for cell in range(1, 95):
            try:
                signs.add(bytes((0xA0 + row, 0xA0 + cell)).decode("euc_jp"))
            except UnicodeDecodeError:
                continue
    return signs


def written(folders: Iterable[Path]) -> set[str]:
    """Every character in the text files of some folders."""
    kinds = {".json", ".js", ".html", ".css"}
    files = (file for folder in folders for file in folder.rglob("*") if file.suffix in kinds)
    return {sign for file in files for sign in file.read_text(encoding="utf-8")}


def wanted() -> set[str]:
    """What the page has to be able to set."""
    own = written([ROOT / "data" / "decks", BOOTH, ROOT / "app" / "templates" / "booth"])
    everything = jis_level_1() | own | set(LATIN)
    return {sign for sign in everything if unicodedata.category(sign)[0] not in "CZ"} | {
        " ",
        "\u3000",
    }


def cut(source: Path, signs: Iterable[str], target: Path) -> TTFont:
    """One subset, saved; what the source lacks is left out."""
    font = TTFont(source)
    options = subset.Options()  # type: ignore[no-untyped-call]
    options.flavor = "woff2"
    options.layout_features = FEATURES
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.notdef_outline = True
    cutter = subset.Subsetter(options)  # type: ignore[no-untyped-call]
    cutter.populate(text="".join(signs))  # type: ignore[no-untyped-call]
    cutter.subset(font)  # type: ignore[no-untyped-call]
    subset.save_font(font, str(target), options)
    print(
        f"{target.relative_to(ROOT)}: {len(font.getBestCmap() or ())} signs, {target.stat().st_size} bytes"
    )
    return font


def vertical_forms(font: TTFont) -> dict[str, str]:
    """Glyph → its vertical form, as the font's own feature has it."""
    table: Any = font["GSUB"].table
    lookups = {
        index
        for record in table.FeatureList.FeatureRecord
        if record.FeatureTag == "vert"
        for index in record.Feature.LookupListIndex
    }
    forms: dict[str, str] = {}
    for index in lookups:
        for part in table.LookupList.Lookup[index].SubTable:
            forms.update(getattr(part, "ExtSubTable", part).mapping)
    return forms


def cut_vertical(source: Path, target: Path) -> None:
    """The signs that have a vertical form, mapped straight to it."""
    font = TTFont(source)
    forms = vertical_forms(font)
    turned = {
        code: forms[glyph] for code, glyph in (font.getBestCmap() or {}).items() if glyph in forms
    }
    for table in font["cmap"].tables:
        table.cmap = {code: turned.get(code, glyph) for code, glyph in table.cmap.items()}
    turned_font = target.with_suffix(".ttf")
    font.flavor = None
    font.save(turned_font)
    cut(turned_font, map(chr, turned), target)
    turned_font.unlink()


def main(package: Path) -> None:
    """All three, and the licence."""
    FONTS.mkdir(parents=True, exist_ok=True)
    regular = package / "files" / "shippori-mincho-japanese-400-normal.woff2"
    heavy = package / "files" / "shippori-mincho-latin-700-normal.woff2"
    cut(regular, sorted(wanted()), FONTS / "mincho.woff2")
    cut_vertical(regular, FONTS / "tate.woff2")
    cut(heavy, LATIN, FONTS / "figures.woff2")
    licence = (package / "LICENSE").read_text(encoding="utf-8")
    (FONTS / "OFL.txt").write_text(licence, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/subset_font.py FOLDER-OF-THE-PACKAGE")
    main(Path(sys.argv[1]))
