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
from app.kinds.chat import care, characters, intents
from app.kinds.chat import deck as chat
from app.kinds.language import LANGUAGES
from app.kinds.prompts import deck as prompts
from app.kinds.prompts import template
from precompute.decks.new import answer_length, languages

DOCS = Path(__file__).parent.parent / "docs"
Row = tuple[str, ...]

MEMBERS_JA: Mapping[str, str] = {
    "id": "小文字、数字、ハイフン。フォルダーの名と同じ",
    "kind": "`cards`、`pattern`（登場人物）、`prompts`。なければ `cards`",
    "name": "人に見える名。なければ id",
    "language": f"{'、'.join(LANGUAGES)} のどれか。なければ `ja`",
    "hand": '`{"size": 3}`：手札の枚数。札の分類はすべて違う（`"distinct": "category"` はそのことで、なくてもよい）。`"choose": true` なら、札は訪れた人が選ぶ',
    "answer": "答えの規則（下を参照）",
    "groups": "分類をまとめた名。計画がこれをならす",
    "template": "`openings`、`links`、`closings`：template の段の文",
    "theme": "画面の色、書体、絵（下を参照）",
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
    "script": f"文字と言語。{'、'.join([*LANGUAGES, 'any'])} のうち一つ、またはいくつか",
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
    "picture": "`shapes`（テーマの色の図形）、`plain`（色のぼかしだけ）、`estate`（建物のある景色）。なければ `shapes`",
}

WRITTEN_JA: Mapping[str, str] = {
    "picks": "`[[札の id, 言い換えの id], …]`：手札の枚数だけ。順は問わない",
    "title": "`titles.json` のうちの一つ",
    "text": "文章。改行（いくつ続いても）が段落を分ける",
}


CHAT_JA: Mapping[str, str] = {
    "kind": "`pattern`",
    "id": "小文字、数字、ハイフン。フォルダーの名と同じ",
    "name": "人に見える名。なければ id",
    "language": "`en` など。なければ `ja`",
    "calls": "呼びかけの語。名前に添えても意味を変えないもの",
    "times": '時間帯：`[{"id": "morning", "from": 5, "to": 11}]`（時）',
    "time_words": "ある時間帯にしか合わない言葉の式 → その時間帯の id",
    "moods": "気分 → それを表す意味。モデルに気分を伝える",
    "greetings": "挨拶の意味 → 挨拶の式。返事がほかの挨拶を混ぜないように",
    "answer": "検査の規則（下を参照）",
    "longest": "世間話として読むメッセージの字数の上限。なければ 60",
    "context": "前の言葉なしでは意味をなさないメッセージの式。これは覚えない",
    "importance": "クラウドの強いモデルに頼むメッセージの決め方",
    "vary": "言い換えのときにモデルへ言うこと",
    "foreseen": "段ごとに見込んだ割合。`stats` が実際と並べる",
}
CHARACTERS_JA: Mapping[str, str] = {
    "id": "小文字と数字。`lines.json` での名",
    "name": "人に見える名",
    "about": "人のための一文",
    "persona": "この登場人物として話すモデルへの system プロンプト",
    "names": "呼び名。なければ `name`",
    "voice": "`allowed_endings` と `forbidden`：どの言葉も、前者のどれかに合い、後者のどれにも合わない",
    "leads": "意味 → 意味がいくつもあるメッセージへの返事を始める短い言葉",
    "age": "言葉を書く人のため。プログラムは読まない",
}
CHAT_RULES_JA: Mapping[str, str] = {
    "characters": "`[最少, 最多]`：返す言葉の字数",
    "script": "`ja`、またはほかの言語：使える文字",
    "latin": "日本語の言葉に入ってよいラテン文字の語。名前はいつでもよい",
    "echo": "モデルが頼み文を繰り返したと分かる語",
    "backchannel": "それだけでは何も言っていない語（うんうん など）",
    "polite": "同じく、丁寧なだけの語",
    "familiar": "モデルの言葉のうち、デッキの言葉にある部分の最少の割合（0 から 1）",
    "copy": "ほかの言葉の写しとみなす似かたの下限（0 から 1）",
    "kept": "言い換えに残す割合の下限（0 から 1）",
    "promises": "誰にもできない約束（起こしてあげる など）の式",
}
INTENTS_JA: Mapping[str, str] = {
    "id": "`lines.json` での名",
    "name": "人とモデルのための名",
    "expressions": "RE2 の式。どれかがメッセージの節に見つかればよい",
    "not": "同じ節に見つかってはならない式",
    "not_message": "メッセージのどこにも見つかってはならない式",
    "weight": "重さ。いちばん重い意味に答える。なければ 1",
    "priority": "重なって長さも同じなら、大きいほう。なければ 0",
    "aside": "`true`：ほかに何も言っていないときだけ数える",
    "grave": "`true`：生死にかかわる。人の書いた言葉だけが答える",
    "doubt": "`true`：生死にかかわるかもしれない。登場人物が尋ねる",
    "cue": "doubt のとき：これがなければ、分類器だけでは尋ねない",
    "must": "モデルの答えが合わなければならない式",
    "must_not": "モデルの答えが合ってはならない式",
    "example": "小さいモデルに話し方を見せるためのメッセージ",
}
CARE_JA: Mapping[str, str] = {
    "countries": "国 → `name`、`checked`（番号へかけて確かめた日）、`emergency`、`contacts`（`name`、`number`、`hours`、`url`）",
    "shown": "番号を見せる国。なければすべて",
    "low": "沈んだ気分の意味",
    "signs": "`low`、`context`、`relief`、`denial`、`yes` の式",
    "plan": "気をつけて答えるメッセージの数。[chat.ja.md](chat.ja.md) を参照",
}
PROMPTS_JA: Mapping[str, str] = {
    "kind": "`prompts`",
    "id": "小文字、数字、ハイフン。フォルダーの名と同じ。クライアントはこれをモデル名にする",
    "name": "人に見える名。なければ id",
    "mode": "replay、record、auto のどれか。なければ `replay`",
    "models": "このデッキが答える、ほかのモデルの名",
    "upstream": "設定の代わりに記録する openai、ollama、gemini の宛先",
    "key": "同じでなければならないもの：`model`、`options`、`normalise`、`vary`",
    "redact": "`***` と書く式",
    "answers": "一つの要求に返事がいくつもあるとき：order か random",
    "seed": "random の順",
    "pace": "ストリームの速さ：`at once`、`recorded`、または何倍か",
    "near": "ほかのプロンプトの答えを返してよい似かた（0 から 1）。なければ同じときだけ",
    "miss": "`status`：答えのない要求への状態（400、404、410、422、424）。`keep`：その文を残すか",
    "checks": "`characters`、`schema`、`must`、`must_not`、`script`：返事を残す条件",
}
TEMPLATE_JA: Mapping[str, str] = {
    "template": 'メッセージ：`[{"role": "user", "content": "… {場所} …"}]`',
    "slots": "場所 → そこに入る値",
    "format": "要求の response format。クライアントが送るまま",
}
# The tables with a name and a meaning: ours, and in Japanese.
MEANINGS: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "members": (MEMBERS, MEMBERS_JA),
    "theme": (THEME, THEME_JA),
    "written": (LINE_MEMBERS, WRITTEN_JA),
    "chat": (chat.MEMBERS, CHAT_JA),
    "characters": (characters.MEMBERS, CHARACTERS_JA),
    "chat-rules": (chat.RULE_MEANINGS, CHAT_RULES_JA),
    "intents": (intents.MEMBERS, INTENTS_JA),
    "care": (care.MEMBERS, CARE_JA),
    "prompts": (prompts.MEMBERS, PROMPTS_JA),
    "template": (template.MEMBERS, TEMPLATE_JA),
}


def tables(japanese: bool) -> dict[str, list[Row]]:
    """The rows of each table by its name in the document."""
    rules = RULES_JA if japanese else RULE_MEANINGS
    return {
        **{
            name: [(f"`{member}`", text) for member, text in pair[japanese].items()]
            for name, pair in MEANINGS.items()
        },
        "rules": [(f"`{name}`", text, *_defaults(name)) for name, text in rules.items()],
        "lengths": list(_lengths()),
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
