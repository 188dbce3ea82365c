"""Reviewing what was cooked: over HTTP, in the terminal, in a spreadsheet, beside a build."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import httpx
import orjson
import pytest

from app.errors import PromptMissError
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.gate import TEXT
from app.kinds.decks import load_all
from app.kinds.prompts.deck import PromptDeck
from app.kinds.prompts.gate import REPLY
from app.kinds.prompts.key import DEFAULT_RULES, query_of
from app.kinds.prompts.reply import Choice, Reply
from app.kinds.prompts.request import Message, PromptRequest
from app.ledger.misses import Ledger
from app.ledger.votes import VoteBox
from app.settings import Settings
from app.store.decision import APPROVED, REJECTED, Decision
from app.store.entry import Entry
from app.store.key import Query
from app.store.log import LogWriter, log_path
from precompute.learn.recordings import take_deck_in
from precompute.review.desk import DecisionRequest, Desk, TextFilter, mark_of
from tests import forks
from tests.conftest import Serve
from tests.kinds.prompts.kit import asked, recording, served, text_of, upstream
from tests.kit import Booth, poem_deck
from tests.making import DECKS, PATIENCE, Precompute, environment, wait_for, write_json
from tests.making import row as figure
from tests.precompute.export.kit import STAMP, poems
from tests.precompute.review.desk_kit import (
    Page,
    await_status,
    commands,
    folder_of,
    now,
    reviewing,
    store,
)
from tests.standin import StandIn

POEMS = 12


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Precompute:
    """Twelve poems, of which the tests that share it decide about different ones."""
    command = commands(tmp_path_factory.mktemp("review"))
    store(command, *poems(POEMS - 2), *poems(POEMS, "gemini")[-2:])
    return command


@pytest.fixture(scope="module")
def page(shared: Precompute) -> Iterator[Page]:
    with reviewing(shared) as found:
        yield found


@pytest.fixture
def own(tmp_path: Path, poem_alone: Path) -> Precompute:
    """A folder of this test's own, with four poems."""
    command = commands(tmp_path, TSUKURIOKI_DECKS=poem_alone)
    store(command, *poems(4))
    return command


def decision_of(entry: Entry) -> Decision:
    """The decision of a line that is one."""
    assert entry.decision
    return entry.decision


def test_every_answer_stands_beside_its_cards(page: Page) -> None:
    """A row has the cards with the phrases of the play, the texts, and where they are from."""
    deck = poem_deck()
    entry = poems(1)[0]
    row = page.rows(search=entry.key)[0]
    assert row["asked"] == [
        [deck.card_by_id[phrase.card].text, phrase.text] for phrase in deck.phrases(entry.query)
    ]
    assert row["texts"] == dict(entry.response)
    assert (row["source"], row["status"], row["check"]) == ("ollama", "open", "")
    assert row["length"] == len(entry.response["poem"].replace("\n", ""))


def test_answers_are_found_by_what_is_said_of_them(page: Page, shared: Precompute) -> None:
    """Search, source, decision, check, length and votes each narrow the list."""
    entry = poems(1)[0]
    box = VoteBox(Path(str(shared.settings["TSUKURIOKI_DATA"])) / "ledger", "poem")
    box.vote(entry.key, 0, "up", STAMP, entry.created)
    length = len(entry.response["poem"].replace("\n", ""))
    phrase = poem_deck().phrases(entry.query)[0].text
    for wanted in ({"search": entry.response["poem"][5:15]}, {"search": phrase}, {"votes": "up"}):
        assert entry.key in [row["key"] for row in page.rows(**wanted)], wanted
    assert len(page.rows(source="gemini")) == 2
    assert not page.rows(votes="down")
    assert not page.rows(check="fails", source="gemini")
    assert all(row["length"] == length for row in page.rows(least=length, most=length))
    assert page.rows(least=length, most=length)
    assert len(page.rows(limit=3, offset=1)) == 3


def test_nobody_else_reads_or_decides(page: Page) -> None:
    """Without the token, with a wrong one, or under the name of another host, nothing is told."""
    row = page.rows()[0]
    path = f"{page.url}/api/answers/{row['key']}/0"
    body = {"verdict": "deleted", "mark": row["mark"]}
    for wrong in ({}, {"Authorization": "Bearer guess"}, {"Authorization": page.token}):
        for reply in (
            httpx.get(f"{page.url}/api/answers", headers=wrong),
            httpx.post(path, json=body, headers=wrong),
        ):
            assert reply.status_code == 401
            assert reply.headers["content-type"] == "application/problem+json"
    assert page.ask("/api/answers", Host="evil.example").status_code == 400
    assert page.ask("/", Host="evil.example").status_code == 400
    assert page.rows()[0] == row
    assert page.token not in httpx.get(page.url).text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "no JSON"),
        (b"[]", "an object"),
        (b'{"verdict": "approved"}', "an object"),
        (b'{"verdict": "approved", "mark": "t", "more": 1}', "an object"),
        (b'{"verdict": "approved", "mark": 1}', "mark"),
        (b'{"verdict": "edited", "mark": "t", "texts": {"poem": 1}}', "texts"),
        (b'{"verdict": "praised", "mark": "t"}', "no such decision"),
        (b'{"verdict": "edited", "mark": "MARK", "texts": {"verse": "a"}}', "texts of this answer"),
        (b'{"verdict": "edited", "mark": "MARK"}', "texts of this answer"),
        (b'{"verdict": "edited", "mark": "MARK", "texts": {"poem": "a"}, "force": true}', "why"),
    ],
)
def test_a_wrong_decision_changes_nothing(page: Page, body: bytes, said: str) -> None:
    """What is no decision is answered with a sentence, and the log stays as it is."""
    row = page.rows()[1]
    reply = httpx.post(
        f"{page.url}/api/answers/{row['key']}/0",
        content=body.replace(b"MARK", row["mark"].encode()),
        headers={"Authorization": f"Bearer {page.token}"},
    )
    assert reply.status_code == 400
    assert said in reply.json()["detail"]
    assert page.rows()[1] == row
    assert page.ask("/api/answers?least=-1").status_code == 400
    assert page.ask("/api/nothing").status_code == 404


def test_an_edit_passes_the_gate_or_is_forced_with_a_note(page: Page, shared: Precompute) -> None:
    """An edit is a new entry of source `edited` that keeps whose it was; the gate may be set aside."""
    row = page.rows(source="gemini")[0]
    short = {"poem": "短すぎる。"}
    refused = page.decide(row, "edited", texts=short)
    assert refused.status_code == 422
    assert "characters" in refused.json()["detail"]
    assert page.decide(row, "edited", texts=short, force=True).status_code == 400
    forced = page.decide(row, "edited", texts=short, note="a joke", force=True).json()
    assert forced["texts"]["poem"] == "短すぎる。"
    assert (forced["source"], forced["writer"], forced["status"]) == ("edited", "gemini", "edited")
    assert "characters" in forced["decision"]["forced"]
    assert page.decide(forced, "edited", texts=short).status_code == 400
    turned = "\n\n".join(reversed(row["texts"]["poem"].split("\n\n")))
    again = page.decide(forced, "edited", texts={"poem": turned}).json()
    assert again["decision"] == {
        "verdict": "edited",
        "at": again["decision"]["at"],
        "writer": "gemini",
        "written": STAMP,
    }
    assert now(shared)[row["key"]].model == "a-model"
    back = page.decide(again, "reopened").json()
    assert (back["texts"], back["source"], back["status"]) == (row["texts"], "gemini", "open")
    assert now(shared)[row["key"]].response["poem"] == row["texts"]["poem"]
    # Taking back what nobody decided leaves it as it is.
    assert page.decide(back, "reopened").json()["texts"] == row["texts"]


def test_two_reviewers_do_not_write_over_each_other(page: Page, shared: Precompute) -> None:
    """A decision about a text that another reviewer has changed meanwhile is not taken."""
    with reviewing(shared) as other:
        mine, theirs = page.rows()[3], other.rows()[3]
        assert mine == theirs
        assert other.decide(theirs, "rejected").status_code == 200
        late = page.decide(mine, "approved")
        assert late.status_code == 409
        fresh = page.rows(search=mine["key"])[0]
        assert fresh["status"] == "rejected"
        assert page.decide(fresh, "approved").json()["status"] == "approved"
        assert other.rows(search=mine["key"])[0]["status"] == "approved"


def test_a_server_follows_the_reviewer(own: Precompute, serve: Serve) -> None:
    """A running server stops serving what is rejected and serves what is edited, and it again when
    that is taken back."""
    first, second, *_ = poems(4)
    with reviewing(own) as page:
        server = serve()
        with server.client() as client:
            path = f"/api/answers/{first.key}"
            await_status(client, path, 200)
            row = page.rows(search=first.key)[0]
            rejected = page.decide(row, "rejected").json()
            await_status(client, path, 404)
            assert page.decide(rejected, "reopened").json()["status"] == "open"
            await_status(client, path, 200)
            row = page.rows(search=second.key)[0]
            turned = "\n\n".join(reversed(row["texts"]["poem"].split("\n\n")))
            page.decide(row, "edited", texts={"poem": turned})
            wait_for(
                lambda: client.get(f"/api/answers/{second.key}").json()["poem"] == turned,
                "the edit on the running server",
            )


def test_only_what_is_approved_is_served_if_that_is_set(own: Precompute, serve: Serve) -> None:
    """With TSUKURIOKI_APPROVED=on a stored answer is served from its approval on."""
    entry = poems(1)[0]
    only = Precompute({**own.settings, "TSUKURIOKI_APPROVED": "on"})
    with reviewing(only) as page, serve(TSUKURIOKI_APPROVED="on").client() as client:
        path = f"/api/answers/{entry.key}"
        assert client.get(path).status_code == 404
        page.decide(page.rows(search=entry.key)[0], "approved")
        assert await_status(client, path, 200).json()["poem"] == entry.response["poem"]
    told = orjson.loads(only("stats", "--json").stdout)
    assert told["store"]["entries"] == 1
    assert told["store"]["held"] == 3


def test_the_next_build_asks_again_for_what_was_rejected(own: Precompute) -> None:
    """A rejected answer gets another text, an approved and a deleted one are left alone."""
    approved, rejected, deleted, other = poems(4)
    with reviewing(own) as page:
        verdicts = zip(
            (approved, rejected, deleted), ("approved", "rejected", "deleted"), strict=True
        )
        for entry, verdict in verdicts:
            page.decide(
                page.rows(search=entry.key)[0], verdict, note="too long" * (verdict == "rejected")
            )
        # A build that runs now does not keep the reviewer from deciding.
        with LogWriter(folder_of(own), "poem"):
            assert page.decide(page.rows(search=other.key)[0], "approved").status_code == 200
    done = own(
        "build",
        "--refresh",
        "rejected",
        "--provider",
        "composer",
        TSUKURIOKI_SOURCES="composer,ollama",
    )
    assert figure(done.stdout, "cooked") == "1"
    found = now(own)
    assert found[rejected.key].source == "composer"
    assert found[approved.key].response == approved.response
    assert found[deleted.key].gone


def test_a_killed_review_loses_nothing(own: Precompute) -> None:
    """After a kill every decision is there, and the next review goes on from it."""
    entry = poems(1)[0]
    with reviewing(own) as page:
        page.decide(page.rows(search=entry.key)[0], "rejected", note="no")
        page.process.kill()
    log = log_path(folder_of(own), "poem")
    log.write_bytes(log.read_bytes() + b'{"half a li')
    with reviewing(own) as page:
        row = page.rows(search=entry.key)[0]
        assert (row["status"], row["decision"]["note"]) == ("rejected", "no")
        assert page.decide(row, "approved").status_code == 200
    assert now(own)[entry.key].approved
    # The index has it too.
    assert orjson.loads(own("stats", "--json").stdout)["store"]["reviewed"] == 1


def test_a_review_ends_with_its_sums(own: Precompute) -> None:
    """Ctrl-C ends the review with exit status 0 and what was decided."""
    with reviewing(own) as page:
        page.decide(page.rows()[0], "approved")
        page.process.send_signal(2)
        out, err = page.process.communicate(timeout=PATIENCE)
        assert page.process.returncode == 0, err
        assert "approved  1" in out
        assert "Traceback" not in err


def entries_of(kind: str, decks: Path) -> list[Entry]:
    """Two answers for a deck of a kind, which is put into the folder of decks."""
    decks.mkdir(parents=True)
    if kind == "faq":
        rules = {"id": kind, "kind": "prompts", "checks": {"characters": [3, 40]}}
        write_json(decks / kind / "deck.json", rules)
    else:
        (decks / kind).symlink_to(DECKS / kind)

    def entry(query: Query, response: dict[str, str]) -> Entry:
        return Entry(query.key, 0, query, response, "openai", "m", "test", STAMP)

    if kind == "poem":
        return poems(2, "openai")
    if kind == "chat":
        said = {TEXT: "だいじょうぶ…？靴、しみてない…？", "asked": "今日は走った"}
        names = [[("character", "yuri"), ("message", f"m{n}")] for n in (1, 2)]
        return [entry(Query.pattern(kind, picks), said) for picks in names]
    asked = [PromptRequest("chat", "m", (Message.of("user", f"Question {n}"),)) for n in (1, 2)]
    reply = Reply((Choice("An answer."),), "m").to_text()
    return [entry(query_of(kind, one, DEFAULT_RULES), {REPLY: reply}) for one in asked]


EDITS = {
    "poem": ("poem", None),
    "chat": (TEXT, "傘…小さいけど、半分入る…？"),
    "faq": ("text", "Another answer."),
}


@pytest.mark.parametrize(
    "kind", ["faq", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("poem", "chat"))]
)
def test_every_kind_is_reviewed_in_the_terminal(kind: str, tmp_path: Path) -> None:
    """Cards, chat and prompts: one text is edited with the person's editor, the other rejected; an
    edit that the gate refuses is said, and taken only with a note."""
    command = commands(tmp_path, TSUKURIOKI_DECKS=tmp_path / "data" / "decks")
    entries = entries_of(kind, tmp_path / "data" / "decks")
    store(command, *entries, deck=kind)
    name, good = EDITS[kind]
    editor = tmp_path / "editor.py"
    text = good or "\n\n".join(reversed(entries[0].response["poem"].split("\n\n")))

    def write_next(words: str) -> None:
        """What the person's editor makes of the text."""
        editor.write_text(
            "import sys, pathlib\np = pathlib.Path(sys.argv[1])\n"
            f"parts = p.read_text('utf-8').partition({f'## {name}' + chr(10)!r})\n"
            f"p.write_text(parts[0] + parts[1] + {words!r}, 'utf-8')\n",
            "utf-8",
        )

    write_next(text)
    environ = environment(**command.settings, EDITOR=f"{sys.executable} {editor}")

    def run(typed: str) -> str:
        words = command.words("review", "--deck", kind, "--terminal")
        done = forks.run(words, cwd=tmp_path, env=environ, timeout=PATIENCE, typed=typed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = run("e\nr\ntoo stiff\n")
    assert "edited    1" in said
    assert "rejected  1" in said
    found = [now(command, kind)[entry.key] for entry in entries]
    assert text in found[0].response.get(name, found[0].response.get(REPLY, ""))
    assert (found[0].source, found[0].writer) == ("edited", "openai")
    assert decision_of(found[1]).note == "too stiff"
    # Nothing is open any more.
    assert "1 of" not in run("")
    write_next("x")
    store(command, replace(entries[1], created="later"), deck=kind)
    assert "(limit: " in run("e\n\n")
    assert now(command, kind)[entries[1].key].source == "openai"
    run("e\na joke\n")
    forced = now(command, kind)[entries[1].key]
    assert forced.source == "edited"
    assert decision_of(forced).forced
    # What the owner forced is no news to `check`.
    assert forced.key not in command("check").stdout


def test_a_review_in_a_spreadsheet(own: Precompute, tmp_path: Path) -> None:
    """What is written into the exported table is taken in, once; what cannot be is named by its row."""
    file = tmp_path / "review.csv"
    assert "4 texts" in own("review", "export", file).stdout
    rows = list(csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline="")))
    rows[0]["verdict"] = "approve"
    rows[1] |= {"verdict": "Reject", "note": "too long"}
    rows[2]["poem"] = "\r\n\r\n".join(reversed(rows[2]["poem"].split("\n\n")))
    rows[3]["poem"] = "短い。"
    rows.append({**rows[0], "verdict": "praise"})

    def write() -> None:
        with file.open("w", encoding="utf-8-sig", newline="") as target:
            table = csv.DictWriter(target, list(rows[0]))
            table.writeheader()
            table.writerows(rows)

    write()
    done = own("review", "import", file, status=2)
    assert "3 decisions taken in, 2 not" in done.stdout
    assert "row 5: not taken: the gate refuses" in done.stderr
    assert "row 6: not taken: verdict is approve" in done.stderr
    del rows[4]
    entries = poems(4)
    found = [now(own)[entry.key] for entry in entries]
    assert [one.verdict for one in found] == ["approved", "rejected", "edited", ""]
    assert decision_of(found[1]).note == "too long"
    rows[3] |= {"force": "yes", "note": "a joke"}
    write()
    again = own("review", "import", file)
    assert "1 decisions taken in, 0 not" in again.stdout
    assert decision_of(now(own)[entries[3].key]).forced
    file.write_text("a,b\n1,2\n", "utf-8")
    assert "no column 'id'" in own("review", "import", file, status=2).stderr
    assert "the page has a filter" in own("review", "--source", "gemini", status=2).stderr
    (folder_of(own) / "poem.jsonl").unlink()
    assert "nothing is cooked" in own("review", status=2).stderr


def leave_answers(command: Precompute, deck: str) -> None:
    """Five answers of a model in the ledger of an event, one of which the gate refuses."""
    ledger = Ledger(Path(str(command.settings["TSUKURIOKI_DATA"])) / "ledger", deck)
    found = load_all(DECKS)[deck]
    if isinstance(found, CharacterDeck):
        texts = [
            f"The log has {n} gulls in it, and one opinion." for n in ("two", "ten", "six", "no")
        ]
        for number, text in enumerate([*texts, "Gulls!!! lol"]):
            asked = f"How many gulls fit in boat {number}?"
            query = found.message_query(found.characters[0], asked)
            answer = {"asked": asked, "text": text, "cost_usd": 0.001}
            ledger.candidate(query, "cloud", {**answer, "source": "gemini", "model": "m"}, STAMP)
        return
    for number, entry in enumerate(poems(5)):
        answer = {**entry.response, "variant": 0, "source": "ollama", "model": "m"}
        if number == 4:
            answer["poem"] = "短い。"
        ledger.candidate(entry.query, "local", answer, STAMP)


@pytest.mark.parametrize("deck", ["harbour", pytest.param("poem", marks=pytest.mark.long)])
def test_what_models_answered_at_the_event_is_reviewed_before_it_is_stored(
    deck: str, tmp_path: Path
) -> None:
    """It waits in the page, the terminal and the table like any other text; a decision stores or
    rejects it, taking that back lets it wait again, and a build takes in the rest alone."""
    command = commands(tmp_path)
    assert "nothing is cooked" in command("review", "--deck", deck, status=2).stderr
    leave_answers(command, deck)
    file = tmp_path / "review.csv"
    with reviewing(command, "--deck", deck) as page:
        # What the gate refuses is not taken in, and not shown.
        rows = page.rows(status="waiting")
        assert [row["status"] for row in rows] == ["waiting"] * 4
        assert page.decide(rows[0], "reopened").status_code == 400
        assert page.decide(rows[0], "approved").status_code == 200
        rejected = page.decide(rows[1], "rejected").json()
        assert [row["status"] for row in page.rows()] == ["waiting"] * 2 + ["approved", "rejected"]
        undone = page.decide(rejected, "reopened").json()
        assert undone["status"] == "waiting"
        assert not {row["key"] for row in rows[1:]} & served_keys(command, deck)
        assert page.decide(undone, "rejected").status_code == 200
    assert "2 texts" in command("review", "--deck", deck, "export", file, "--status", "open").stdout
    table = list(csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline="")))
    with file.open("w", encoding="utf-8-sig", newline="") as target:
        writer = csv.DictWriter(target, list(table[0]))
        writer.writeheader()
        writer.writerows([{**table[0], "verdict": "approve"}, table[1]])
    for _ in range(2):
        command("review", "--deck", deck, "import", file)
    good = {rows[0]["key"], table[0]["id"].partition("/")[0]}
    assert served_keys(command, deck) == good
    provider = () if deck == "harbour" else ("--provider", "composer")
    command("build", "--deck", deck, "--strategy", "misses", "--n", 1_000, *provider)
    assert served_keys(command, deck) == good | {table[1]["id"].partition("/")[0]}


def served_keys(command: Precompute, deck: str) -> set[str]:
    """The keys of the texts that are in force, without those of the composer."""
    found = now(command, deck).items()
    return {key for key, entry in found if not entry.gone and entry.source != "composer"}


def test_deleted_texts_leave_the_disk(own: Precompute, serve: Serve) -> None:
    """`compact` leaves no byte of a deleted text, serves the same, and waits for no build."""
    deleted, kept, *_ = poems(4)
    with reviewing(own) as page:
        page.decide(page.rows(search=deleted.key)[0], "deleted")
    log = log_path(folder_of(own), "poem")
    assert deleted.response["poem"].split("\n\n")[0] in log.read_text("utf-8")
    with LogWriter(folder_of(own), "poem"):
        assert "another process is writing" in own("compact", status=2).stderr
    with serve().client() as client:
        assert "from 5 lines to 4" in own("compact").stdout
        assert [path.name for path in folder_of(own).glob("poem.jsonl*")] == ["poem.jsonl"]
        text = deleted.response["poem"].split("\n\n")[0]
        for path in folder_of(own).iterdir():
            assert text.encode() not in path.read_bytes(), path
        assert client.get(f"/api/answers/{kept.key}").status_code == 200
        await_status(client, f"/api/answers/{deleted.key}", 404)
    assert now(own)[deleted.key].gone


@pytest.mark.long
def test_edits_and_rejections_are_preferences(own: Precompute) -> None:
    """An export makes a pair of each edit with the text before, also after `compact`; what was written
    by a service whose terms may forbid training stays left out when it was edited."""
    first, *_ = poems(1, "gemini")
    store(own, replace(first, created="2026-11-28T00:00:00Z"))
    with reviewing(own) as page:
        for entry in poems(2):
            row = page.rows(search=entry.key)[0]
            turned = "\n\n".join(reversed(row["texts"]["poem"].split("\n\n")))
            assert page.decide(row, "edited", texts={"poem": turned}).status_code == 200
    for out in ("before", "after"):
        done = own("export", "--format", "dpo", "--validation", 0, "--out", folder_of(own) / out)
        pairs = [
            orjson.loads(line)["metadata"]
            for line in (folder_of(own) / out / "train.jsonl").read_bytes().splitlines()
        ]
        assert [pair["because"] for pair in pairs] == ["edited"], done.stdout
        assert pairs[0]["edited_from"] == "ollama"
        told = orjson.loads((folder_of(own) / out / "manifest.json").read_bytes())
        assert any("gemini" in reason for reason in told["left_out"])
        own("compact")


def test_a_rejected_recording_is_not_replayed(tmp_path: Path) -> None:
    """Of the replies that were recorded for a prompt, those that are left come in their order; what is
    rejected is not taken in again. If only approved answers are served, no other recording is."""
    deck, only = PromptDeck("recorded"), {"TSUKURIOKI_APPROVED": "on"}
    with upstream() as model:
        for _ in range(3):
            text_of(recording(tmp_path, model), asked("hello"))
    settings = Settings.read({"TSUKURIOKI_DATA": str(tmp_path)})
    assert take_deck_in(settings, deck) == 3
    desk = Desk(settings, deck, lambda: "2026-11-28T00:00:00Z")

    visitors = count()

    def said(**more: str) -> list[str]:
        worker, visitor = served(tmp_path, deck, **more), f"visitor {next(visitors)}"
        return [text_of(worker, asked("hello", conversation=visitor)) for _ in range(3)]

    assert said() == ["answer 1", "answer 2", "answer 3"]
    with pytest.raises(PromptMissError):
        said(**only)
    names = desk.names(TextFilter())
    for place, verdict in enumerate((APPROVED, REJECTED)):
        entry = desk.entry(names[place])
        assert entry
        desk.decide(names[place], DecisionRequest(verdict, mark_of(entry)))
    desk.publish()
    assert said() == ["answer 1", "answer 3", "answer 3"]
    assert take_deck_in(settings, deck) == 0
    Desk(Settings.read({"TSUKURIOKI_DATA": str(tmp_path), **only}), deck, lambda: "").publish()
    assert said(**only) == ["answer 1"] * 3


def test_a_model_is_told_what_was_rejected_and_why(booth: Booth, stand_in: StandIn) -> None:
    """A build that comes to a rejected answer says so in the prompt, with the reviewer's note."""
    assert booth.build(provider="gemini", wanted=3).status == 0
    desk = Desk(booth.settings(), poem_deck(), lambda: "2026-11-28T00:00:00Z")
    name = desk.names(TextFilter())[1]
    entry = desk.entry(name)
    assert entry
    desk.decide(name, DecisionRequest(REJECTED, mark_of(entry), note="風呂の話ばかり"))
    desk.publish()
    cook = stand_in.cook
    before = len(cook.prompts)
    assert booth.build(provider="gemini", wanted=3).status == 0
    asked_again = cook.prompts[before:]
    assert ["風呂の話ばかり" in prompt for prompt in asked_again] == [True]
    now_there = desk.entry(name)
    assert now_there
    assert (now_there.verdict, now_there.response == entry.response) == ("", False)
