"""The cloud tier: the real google-genai client against a stand-in, and learning from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.kinds.chat.deck import CharacterDeck
from tests.kinds.chat import kit
from tests.kinds.chat.standin import Gemini

OLD_USER = [
    {"role": "user", "content": "おはよう"},
    {"role": "assistant", "content": "おはよ！"},
]


def ask(server: kit.Server, text: str, **more: object) -> dict[str, object]:
    """A message of somebody who has been here before."""
    body = {"messages": [*OLD_USER, {"role": "user", "content": text}], "character": "botan"}
    return server.request("POST", "/api/chat", {**body, **more}).json


def test_importance_decides_the_model(cloud: kit.Server, gemini: Gemini) -> None:
    """Ordinary talk goes to the cheap model, sparring and new users to the strong one."""
    ordinary = ask(cloud, "クジラはなにを食べるの")
    assert ordinary["tier"] == "cloud"
    assert gemini.asked[-1][0] == "gemini-3.5-flash-lite"
    playful = ask(cloud, "しりとりで勝負しよう、りんご")
    assert gemini.asked[-1][0] == "gemini-3.8-flash"
    assert playful["importance"] == 0.7
    new = cloud.say("クジラはなにを食べるの", character="botan")
    assert gemini.asked[-1][0] == "gemini-3.8-flash"
    assert "new_user" in new["signals"]
    assert gemini.keys[-1] == "a-key-for-tests"


def test_the_model_is_told_by_what_it_is_judged(
    cloud: kit.Server, gemini: Gemini, deck: CharacterDeck
) -> None:
    """With the persona it gets the expressions of the character's voice."""
    ask(cloud, "クジラはなにを食べるの")
    told = str(gemini.asked[-1][1]["systemInstruction"]["parts"][0]["text"])
    character = deck.character_by_id["botan"]
    assert told.startswith(character.persona)
    rules = (*character.voice.endings, *character.voice.forbidden)
    assert [rule.pattern for rule in rules if rule.pattern not in told] == []


def test_what_rules_know_costs_nothing(cloud: kit.Server, gemini: Gemini) -> None:
    """The cloud is not asked for what a vetted line answers, and never about life and death."""
    assert cloud.say("おはよう")["tier"] == "rules"
    assert cloud.say("もう死にたい、消えたい")["tier"] == "rules"
    assert gemini.asked == []


@pytest.mark.parametrize(
    ("change", "why", "reason"),
    [
        ({"status": 429}, "fault", "quota"),
        ({"status": 500}, "fault", "server"),
        ({"status": 403}, "fault", "key"),
        ({"finish": "SAFETY"}, "fault", "blocked"),
        ({"finish": "MAX_TOKENS"}, "gate", "cut_short"),
        ({"text": "（笑顔で）うん、いいよ！"}, "gate", "brackets"),
        ({"text": "承知しております。お手伝いいたします。"}, "gate", "voice"),
    ],
)
def test_a_fault_is_answered_in_character(
    cloud: kit.Server, gemini: Gemini, change: dict[str, object], why: str, reason: str
) -> None:
    """Whatever the cloud does, she says something of her own, and it is counted why."""
    before = cloud.passed("cloud").get(why, {}).get(reason, 0)
    for name, value in change.items():
        setattr(gemini, name, value)
    # Another message each time: what the gate refused is not asked for again at once.
    assert ask(cloud, f"クジラはなにを食べるの、{reason}")["tier"] == "fallback"
    assert cloud.passed("cloud")[why][reason] == before + 1


def test_what_was_spent_stands_beside_what_it_would_have_cost(
    cloud: kit.Server, gemini: Gemini
) -> None:
    """/stats tells the spending by today's prices, the baseline, the layers and the plan's shares."""
    before = cloud.stats()["cost"]["spent_usd"]
    ask(cloud, "クジラはなにを食べるの")
    told = cloud.stats()
    assert told["cost"]["spent_usd"] == pytest.approx(before + (300 * 0.30 + 20 * 2.50) / 1e6)
    assert told["cost"]["baseline_usd"] > 0
    assert told["cost"]["prices_of"] == "2026-10-07"
    assert told["layers"]["seen"]["cloud"]["answers"] >= 1
    plans = {plan["plan"] for plan in told["layers"]["foreseen"]}
    assert "three layers, last phase" in plans
    as_told = kit.command(cloud.environ, "stats", "--deck", "chat", "--json")
    assert json.loads(as_told.stdout)["cost"]["spent_usd"] == told["cost"]["spent_usd"]


def test_a_second_message_is_answered_by_what_was_learned(
    cloud: kit.Server, gemini: Gemini
) -> None:
    """After the next build an identical message, and one spelt otherwise, is layer 1's."""
    gemini.text = "クジラはオキアミをぱくぱくだよ、すごくない？"
    question = "クジラって何を食べてるの？"
    assert ask(cloud, question)["tier"] == "cloud"
    built = kit.command(cloud.environ, "build", "--deck", "chat", "--strategy", "misses")
    assert built.returncode == 0, built.stderr
    asked = len(gemini.asked)
    again = _until_learned(cloud, question)
    assert (again["tier"], again["text"], again["near"]) == ("learned", gemini.text, False)
    near = ask(cloud, "ねえ、くじらって".replace("くじら", "クジラ") + "何を食べてるの？？✨")
    assert (near["tier"], near["near"]) == ("learned", True)
    assert ask(cloud, "クジラって何を食べてるの")["tier"] == "cloud"
    assert ask(cloud, question, character="yuri")["tier"] == "fallback"
    assert len(gemini.asked) == asked + 2


def _until_learned(server: kit.Server, question: str) -> dict[str, object]:
    """A running server looks for a new index twice a second."""
    for _ in range(200):
        answer = ask(server, question)
        if answer["tier"] == "learned":
            return answer
    return answer


def test_a_person_reviews_what_is_learned(cloud: kit.Server, gemini: Gemini) -> None:
    """What the cloud answered waits in the review; what a person approves there is served, with no
    build, and a no is remembered. `build --review` names the command."""
    gemini.text = "カメってさ、ゆっくりでかわいくない？"
    question = "カメの甲羅は何でできてる？"
    ask(cloud, question)
    ask(cloud, "イカの足は何本ある？")
    old = kit.command(cloud.environ, "build", "--deck", "chat", "--strategy", "misses", "--review")
    assert old.returncode == 2
    assert "precompute review --terminal --status waiting" in old.stderr
    words = ("review", "--deck", "chat", "--terminal", "--status", "waiting", "--search")
    approved = kit.command(cloud.environ, *words, "カメの甲羅", typed="a\n")
    assert f"message: {question}" in approved.stdout, approved.stderr
    assert "not taken" not in approved.stdout
    kit.command(cloud.environ, *words, "イカの足", typed="r\n\n")
    assert _until_learned(cloud, question)["text"] == gemini.text
    for word in ("カメの甲羅", "イカの足"):
        assert "1 of" not in kit.command(cloud.environ, *words, word, typed="").stdout
    built = kit.command(cloud.environ, "build", "--deck", "chat", "--strategy", "misses")
    assert "イカの足".encode() not in _learned_lines(cloud), built.stdout


def _learned_lines(server: kit.Server) -> bytes:
    """The lines of the store without decisions."""
    lines = (server.folder / "store" / "chat.jsonl").read_bytes().splitlines()
    return b"\n".join(line for line in lines if b'"decision"' not in line)


def test_nothing_is_kept_unless_the_settings_say_so(plain: kit.Server) -> None:
    """Without TSUKURIOKI_CHAT_LEARN no word of a message is on the disk afterwards."""
    plain.say("わたしのひみつはワニノヒミツです", name="ナマエアリ")
    kept = b"".join(p.read_bytes() for p in Path(plain.folder).rglob("*") if p.is_file())
    assert "ワニノヒミツ".encode() not in kept
    assert "ナマエアリ".encode() not in kept
    assert plain.stats()["texts_kept"] is False


def test_what_means_something_only_now_is_not_learned(cloud: kit.Server, gemini: Gemini) -> None:
    """An answer with the user's name, or to a message about what was said before, stays one time's."""
    ledger = cloud.folder / "ledger" / "chat.jsonl"
    gemini.text = "それはね、ないしょだよ！"
    for text, name in (
        ("それってどういう意味なの", ""),
        ("サクラの根はどこまで伸びるの", "サクラ"),
    ):
        answer = ask(cloud, text, **({"name": name} if name else {}))
        assert answer["tier"] == "cloud"
        assert text not in ledger.read_text()
