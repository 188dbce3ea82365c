"""Writes the tables of docs/your-own-deck.md and .ja.md from the code. Run it after a change.

python -m tools.deck_tables
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from app.kinds.cards.deck import MEMBERS, RULE_MEANINGS, THEME, default_rules
from app.kinds.cards.prompts import PLACES, RULE_PLACES
from app.kinds.cards.words import known_words
from app.kinds.cards.written import LINE_MEMBERS
from app.kinds.language import LANGUAGES
from precompute.decks.new import answer_length, languages

DOCS = Path(__file__).parent.parent / "docs"
Row = tuple[str, ...]

MEMBERS_JA: Mapping[str, str] = {
    "id": "小文字、数字、ハイフン。フォルダーの名と同じ",
    "kind": "`cards`、`pattern`（登場人物）、`prompts`。なければ `cards`",
    "name": "人に見える名。なければ id",
    "language": f"{'、'.join(LANGUAGES)} のどれか。なければ `ja`",
    "hand": '`{"size": 3}`：手札の枚数。札の分類はすべて違う',
    "answer": "答えの規則（下を参照）",
    "groups": "分類をまとめた名。計画がこれをならす",
    "template": "`openings`、`links`、`closings`：template の段の文",
    "theme": "画面の色と書体（下を参照）",
    "written_by": "`written.jsonl` を書いた人。答えに示される。なければ `by hand`",
}
RULES_JA: Mapping[str, str] = {
    "characters": "`[最少, 最多]`：改行を除いた字数",
    "words": "`[最少, 最多]`：`characters` の代わりに、語の数",
    "paragraphs": "`[最少, 最多]`：段落の数",
    "sentence": "一文の字数の上限",
    "wording": "言い換えから続けて写してよい字数",
    "forbidden": "使ってはならない語",
    "polite": "文の終わりにあってはならない結び",
    "address": "読む人への呼びかけで、使ってはならない語",
    "showcase": "一度だけ使ってよい語",
    "echo": "課題について語るモデルの語で、使ってはならないもの",
    "script": f"文字。{'、'.join([*LANGUAGES, 'any'])} のうち一つ、またはいくつか",
}
THEME_JA: Mapping[str, str] = {
    "background": "全体の背景。暗い色",
    "deep": "文章の紙の背後。さらに暗い色",
    "paper": "紙と札。明るい色",
    "ink": "紙の上の文字",
    "soft": "紙の上の小さい文字",
    "accent": "線と縁",
    "accent_ink": "紙の上の小見出し",
    "light": "ボタンと、背景の上の見出し",
    "seal": "選んだ言い換えに押す印",
    "type": "serif、sans、mincho のどれか",
}

WRITTEN_JA: Mapping[str, str] = {
    "picks": "`[[札の id, 言い換えの id], …]`：手札の枚数だけ。順は問わない",
    "title": "`titles.json` のうちの一つ",
    "text": "文章。改行（いくつ続いても）が段落を分ける",
}


def tables(japanese: bool) -> dict[str, list[Row]]:
    """The rows of each table by its name in the document."""
    members, rules, theme, written = (
        (MEMBERS_JA, RULES_JA, THEME_JA, WRITTEN_JA)
        if japanese
        else (MEMBERS, RULE_MEANINGS, THEME, LINE_MEMBERS)
    )
    return {
        "members": [(f"`{name}`", text) for name, text in members.items()],
        "rules": [(f"`{name}`", text, *_defaults(name)) for name, text in rules.items()],
        "lengths": list(_lengths()),
        "theme": [(f"`{name}`", text) for name, text in theme.items()],
        "written": [(f"`{name}`", text) for name, text in written.items()],
        "places": list(_places()),
        "languages": list(_languages(japanese)),
    }


def _defaults(rule: str) -> Iterator[str]:
    for language in ("en", "ja"):
        value = getattr(default_rules(LANGUAGES[language]), rule)
        yield f"`{orjson.dumps(value).decode()}`" if value else "–"


def _lengths() -> Iterator[Row]:
    for language in languages():
        found = (orjson.dumps(answer_length(language, hand)).decode() for hand in (1, 3, 5))
        yield f"`{language}`", *(f"`{length}`" for length in found)


def _places() -> Iterator[Row]:
    for file, sections in PLACES.items():
        for number, places in enumerate(sections, 1):
            yield f"`{file}`", str(number), ", ".join(f"`{{{name}}}`" for name in sorted(places))


def _languages(japanese: bool) -> Iterator[Row]:
    ours, english = ("あり", "英語") if japanese else ("yes", "in English")
    for row in LANGUAGES.values():
        text = row.space.join(row.ended(text) for text in ("A", "B"))
        yield f"`{row.id}`", row.name, row.quoted(text), ours if known_words(row.id) else english


def filled(document: str, japanese: bool) -> str:
    """A document with its tables and the list of places for rules filled in."""
    for name, rows in tables(japanese).items():
        body = "".join(f"| {' | '.join(row)} |\n" for row in rows)
        pattern = rf"(<!-- {name} -->\n\|.*\n\|.*\n)(?:\|.*\n)*(<!-- end -->)"
        found = re.search(pattern, document)
        assert found, name
        table = f"{found[1]}{body}{found[2]}"
        document = document[: found.start()] + table + document[found.end() :]
    places = ", ".join(f"`{{{name}}}`" for name in sorted(RULE_PLACES))
    return re.sub(r"(<!-- list -->).*(<!-- end -->)", rf"\1{places}\2", document)


if __name__ == "__main__":
    for path, is_japanese in (
        (DOCS / "your-own-deck.md", False),
        (DOCS / "your-own-deck.ja.md", True),
    ):
        path.write_text(filled(path.read_text(encoding="utf-8"), is_japanese), encoding="utf-8")
