"""The command line: what it says, what it exits with, and that it never shows a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import orjson
import pytest

from app.store.index import Index
from app.store.index_writer import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter, Record, log_path, read_log
from app.store.rows import index_path
from precompute.cli import cli, main
from tests import forks
from tests.kinds.chat.test_conversation import small_deck as small_characters
from tests.making import (
    DECKS,
    PATIENCE,
    REPO,
    Precompute,
    entry,
    environment,
    row,
    small_deck,
    write_json,
)


@dataclass(frozen=True)
class Said:
    """What a command said and exited with."""

    status: int
    out: str
    err: list[str]


Run = Callable[..., Said]


@pytest.fixture
def run(
    tmp_path: Path,
    poem_alone: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Run:
    """Runs a command in this process, on a data folder of its own."""
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TSUKURIOKI_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TSUKURIOKI_DECKS", str(poem_alone))

    def go(*arguments: object, **settings: object) -> Said:
        with monkeypatch.context() as patched:
            for name, value in settings.items():
                patched.setenv(name, str(value))
            capfd.readouterr()
            status = main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        lines = [line for line in err.splitlines() if not line.startswith("provider: ")]
        return Said(status, out, lines)

    return go


def logged(store: Path, deck: str = "poem") -> list[tuple[str, int]]:
    """Key and variant of every entry in a log; no line may be damaged."""
    found = list(read_log(log_path(store, deck)))
    assert all(isinstance(item, Record) for item in found)
    return [(r.entry.key, r.entry.variant) for r in found if isinstance(r, Record)]


WRONG = [
    (["nonsense"], {}, "No such command 'nonsense'"),
    (["--nonsense"], {}, "No such option"),
    (["build"], {}, "for example --n 1000"),
    (["build", "--n"], {}, "requires an argument"),
    (["build", "--n", "x"], {}, "'x' is not a valid whole number."),
    (["build", "--budget-usd", "x"], {}, "'x' is not a valid number."),
    (["new-deck", "mine"], {}, "Missing option '--language'. Choose from: en, fr, ja"),
    (["build", "--n", "0"], {}, "0 is not in the range"),
    (["build", "--n", "-5"], {}, "-5 is not in the range"),
    (["build", "--n", "9" * 30], {}, "is not in the range"),
    (["build", "--n", "5", "--nonsense"], {}, "No such option '--nonsense'"),
    (["build", "--n", "5", "extra"], {}, "unexpected extra argument"),
    (["build", "--n", "5", "--deck", "nowhere"], {}, "there is no deck 'nowhere'"),
    (["build", "--n", "5", "--provider", "nobody"], {}, "'nobody' is not one of"),
    (["build", "--n", "5", "--strategy", "luck"], {}, "'luck' is not one of"),
    (["build", "--n", "5", "--radius", "13"], {}, "13 is not in the range"),
    (["build", "--n", "5", "--seed", "x"], {}, "'x' is not a valid whole number"),
    (["stats", "--deck", "nowhere"], {}, "there is no deck 'nowhere'"),
    (["rehearse", "--plays", "0"], {}, "0 is not in the range"),
    (["rehearse", "--plays", "5", "--deal", "stocked"], {}, "has no stocked hand"),
    (["rehearse", "--deal", "/nowhere/log.jsonl"], {}, "expected random, stocked, or a file"),
    (["rehearse", "--plays", "5", "--svg", "/nowhere/x.svg"], {}, "/nowhere/x.svg"),
    (["check"], {"TSUKURIOKI_DECKS": "/nowhere"}, "no deck here"),
    (["stats"], {"TSUKURIOKI_DECKS": "/nowhere"}, "no deck here"),
    (["stats"], {"TSUKURIOKI_RADIUS": "many"}, "TSUKURIOKI_RADIUS='many': expected a whole number"),
    (["stats"], {"TSUKURIOKI_PORT": "9" * 5000}, "expected a whole number"),
    (["stats"], {"TSUKURIOKI_TIERS": "exact,magic"}, "TSUKURIOKI_TIERS='exact,magic'"),
    (["stats"], {"TSUKURIOKI_MISSES": "perhaps"}, "TSUKURIOKI_MISSES='perhaps': expected on or off"),
    (["stats"], {"TSUKURIOKI_DATA": "~nobody-at-all/x"}, "there is no such user"),
    (["stats"], {"TSUKURIOKI_LEDGER": "/a/b", "TSUKURIOKI_STORE": "/a/../a/b"}, "another folder"),
    (["build", "--n", "5"], {"TSUKURIOKI_STORE": "/dev/null"}, "expected a folder; /dev/null is a file"),
    (["build", "--n", "5"], {"TSUKURIOKI_STORE": "/dev/null/x"}, "expected a folder; /dev/null is a file"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "settings", "told"), WRONG)
def test_every_wrong_use_is_one_line_and_status_2(
    run: Run, arguments: list[str], settings: dict[str, str], told: str
) -> None:
    """What a person can mend is told in one line that says what is wrong; the status is 2."""
    said = run(*arguments, **settings)
    assert said.status == 2
    assert said.out == ""
    lines = [line for line in said.err if "no index of deck" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("precompute: ")
    assert told in lines[0]


def test_without_a_command_help_is_shown(run: Run) -> None:
    """`precompute` alone shows its help, as it is, and exits 2: nothing was done."""
    said = run()
    assert said.status == 2
    assert said.err[0] == "Usage: precompute [OPTIONS] COMMAND [ARGS]..."


def test_help_tells_every_command_and_option(run: Run) -> None:
    """Each command and each of its options says what it is for."""
    cli.load()
    assert set(cli.commands) >= {"build", "stats", "rehearse", "check"}
    assert all(name in run("--help").out for name in cli.commands)
    for name, command in cli.commands.items():
        shown = run(name, "--help")
        assert shown.status == 0
        assert command.help
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.help, f"{name} {option.name}"
                assert option.opts[0] in shown.out


def test_the_command_and_the_module_are_the_same() -> None:
    """`precompute` and `python -m precompute` run one function."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["scripts"]["precompute"] == "precompute.__main__:main"
    command = "import sys; from precompute.__main__ import main; sys.exit(main())"
    told = [
        subprocess.run(
            [sys.executable, *words, "build", "--help"],
            cwd=REPO,
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for words in (["-c", command], ["-m", "precompute"])
    ]
    assert told[0] == told[1]
    assert told[0].startswith("Usage: precompute build")


def test_build_cooks_and_a_second_build_cooks_nothing(run: Run, tmp_path: Path) -> None:
    """A build for n leaves n entries; run again it finds them all and writes nothing."""
    first = run("build", "--n", 60, "--strategy", "sampled")
    assert first.status == 0
    assert "cooked" in first.out
    log = log_path(tmp_path / "data" / "store", "poem")
    before = log.read_bytes()
    assert before.count(b"\n") == 60
    second = run("build", "--n", 60, "--strategy", "sampled")
    assert (row(second.out, "cooked"), row(second.out, "already there")) == ("0", "60")
    assert log.read_bytes() == before


def test_a_bigger_build_goes_on_where_a_smaller_one_stopped(run: Run, tmp_path: Path) -> None:
    """What was cooked for fewer is part of what is wanted for more."""
    run("build", "--n", 27)
    store = tmp_path / "data" / "store"
    first = logged(store)
    said = run("build", "--n", 54)
    assert row(said.out, "already there") == "27"
    assert logged(store)[:27] == first
    assert len(set(logged(store))) == 54


def test_a_seed_makes_the_choice_repeatable(run: Run, tmp_path: Path) -> None:
    """The same seed cooks the same plays elsewhere, another seed others."""
    stores = [tmp_path / name for name in "abc"]
    for store, seed in zip(stores, (7, 7, 8), strict=True):
        run("build", "--n", 20, "--strategy", "sampled", "--seed", seed, TSUKURIOKI_STORE=store)
    one, same, other = (logged(store) for store in stores)
    assert one == same
    assert not set(one) & set(other)


def test_the_provider_is_said_with_the_reason(
    precompute: Precompute,
) -> None:
    """Without a key the composer cooks, and one line says why and what to set."""
    said = precompute("build", "--n", 1)
    assert said.stderr == "provider: composer (no GEMINI_API_KEY is set; set it for Gemini)\n"
    assert precompute("build", "--n", 2, "--provider", "composer").stderr == ""


def test_a_dry_run_cooks_nothing(run: Run, tmp_path: Path) -> None:
    """`--dry-run` says what would be cooked and leaves no store behind."""
    said = run("build", "--n", 54, "--dry-run")
    assert said.status == 0
    assert row(said.out, "to cook") == "54"
    assert not (tmp_path / "data" / "store").exists()
    run("build", "--n", 27)
    assert row(run("build", "--n", 54, "--dry-run").out, "to cook") == "27"


def test_a_deck_without_pieces_says_what_to_do(run: Run, tmp_path: Path) -> None:
    """The composer cannot cook from a deck without sentences, and says so in a line."""
    small_deck(tmp_path / "decks" / "mine")
    said = run("build", "--n", 1, "--deck", "mine", TSUKURIOKI_DECKS=tmp_path / "decks")
    assert said.status == 2
    assert "choose another --provider" in said.err[0]


def test_json_is_json(run: Run, tmp_path: Path) -> None:
    """What `--json` prints is one JSON object and nothing else, warnings go to stderr."""
    empty = orjson.loads(run("stats", "--json").out)
    assert empty["store"]["entries"] == 0
    run("build", "--n", 27)
    stats = orjson.loads(run("stats", "--json").out)
    assert stats["deck"] == "poem"
    assert stats["store"]["entries"] == stats["store"]["by_source"]["written"] == 27
    assert stats["coverage"]["stocked_hands"]["count"] == 1
    assert stats["coverage"]["stocked_plays"]["count"] == 243
    rehearsed = orjson.loads(run("rehearse", "--plays", 30, "--deal", "stocked", "--json").out)
    assert rehearsed["plays"] == 30
    assert set(rehearsed["tiers"]) <= {"exact", "same_hand"}
    kept = orjson.loads((tmp_path / "data" / "store" / "poem.rehearsal.json").read_bytes())
    assert kept == rehearsed


@pytest.mark.parametrize("deck", ["poem", "harbour", "mine"])
def test_stats_says_that_the_index_is_behind(run: Run, tmp_path: Path, deck: str) -> None:
    """After a full disk the log may have more than the index: `stats` says so, and what to do."""
    decks = tmp_path / "decks"
    decks.mkdir()
    for name in ("poem", "harbour"):
        (decks / name).symlink_to(DECKS / name)
    write_json(decks / "mine" / "deck.json", {"id": "mine", "kind": "prompts"})
    fresh = run("stats", "--deck", deck, TSUKURIOKI_DECKS=decks)
    assert fresh.status == 0
    # Nothing is wrong before the first build; a deck of cards says how to cook.
    cook = ["run: precompute build --deck poem --n 100 --dry-run"] if deck == "poem" else []
    assert [line.partition("yet; ")[2] for line in fresh.err] == cook
    with LogWriter(tmp_path / "data" / "store", deck) as log:
        log.append([entry(Query.pattern(deck, [("who", "a")]))])
        with IndexWriter(log.path.parent, _Named(deck)) as index:
            index.catch_up()
        log.append([entry(Query.pattern(deck, [("who", "b")]))])
    said = run("stats", "--deck", deck, TSUKURIOKI_DECKS=decks)
    assert said.status == 0
    assert len(said.err) == 1
    assert "bytes behind the log; run: precompute check --repair" in said.err[0]


@dataclass(frozen=True)
class _Named:
    """A deck, as far as an index needs it."""

    id: str
    coverage: None = None


def test_stats_counts_what_the_log_has(run: Run, tmp_path: Path) -> None:
    """The figures of `stats` are those of the store, each share beside its whole."""
    run("build", "--n", 10, "--strategy", "sampled")
    told = orjson.loads(run("stats", "--json").out)
    deck_space = told["space"]
    assert (deck_space["cards"], deck_space["phrases"], deck_space["titles"]) == (89, 267, 110)
    exact = told["coverage"]["exact"]
    assert (exact["count"], exact["of"]) == (10, deck_space["plays"])
    assert exact["one_in"] == round(deck_space["plays"] / 10)
    shown = run("stats").out
    assert f"10 of {deck_space['plays']:,}" in shown


# Check


def test_check_of_the_deck_in_the_box_finds_no_error(run: Run) -> None:
    """The deck that ships is without an error, and its counts are said."""
    said = run("check")
    assert said.status == 0
    assert "89 cards in 11 categories, 267 phrases, 110 titles" in said.out
    assert "\n0 errors" in said.out


def _damage(store: Path) -> str:
    path = log_path(store, "poem")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3].replace(b"0", b"1", 1), *lines[4:]]))
    return "poem.jsonl:4: the checksum does not fit"


def _lose_index(store: Path) -> str:
    for path in store.glob("*.lmdb*"):
        path.unlink()
    return "no index of deck 'poem'"


def _forge(store: Path) -> str:
    path = log_path(store, "poem")
    found = [item.entry for item in read_log(path) if isinstance(item, Record)]
    forged = entry(found[1].query)
    object.__setattr__(forged, "key", "0" * 32)
    with LogWriter(store, "poem") as log:
        log.append([forged])
    return "the key is not that of its query"


def _behind(store: Path) -> str:
    path = log_path(store, "poem")
    found = [item.entry for item in read_log(path) if isinstance(item, Record)]
    with LogWriter(store, "poem") as log:
        log.append([entry(found[1].query, "詩")])
    return "bytes behind the log"


def _truncate(store: Path) -> str:
    os.truncate(index_path(store, "poem"), 8192)
    return "is cut short"


@pytest.mark.parametrize("harm", [_damage, _lose_index, _forge, _behind, _truncate])
def test_check_names_what_is_wrong_with_a_store(
    run: Run, tmp_path: Path, harm: Callable[[Path], str]
) -> None:
    """A damaged line, a missing, stale or broken index, a foreign key: named, with status 1."""
    run("build", "--n", 10, "--strategy", "sampled")
    told = harm(tmp_path / "data" / "store")
    said = run("check")
    assert said.status == 1
    errors = [line for line in said.out.splitlines() if line.startswith("error: ")]
    assert any(told in line for line in errors)


@pytest.mark.parametrize("harm", [_lose_index, _behind, _truncate])
def test_check_repairs_an_index(run: Run, tmp_path: Path, harm: Callable[[Path], str]) -> None:
    """`check --repair` brings the index up to the log, and nothing is lost."""
    run("build", "--n", 10, "--strategy", "sampled")
    harm(tmp_path / "data" / "store")
    repaired = run("check", "--repair")
    assert repaired.status == 0, repaired.out
    assert run("check").status == 0
    index = Index(tmp_path / "data" / "store", "poem")
    assert index.meta().entries == 10
    index.close()


@pytest.mark.parametrize("left", [4096, 8192, 20_000, 50_000])
def test_a_build_survives_files_that_were_cut_short(run: Run, tmp_path: Path, left: int) -> None:
    """Whichever derived file a crash cut short, the next build makes it anew and goes on."""
    run("build", "--n", 27)
    store = tmp_path / "data" / "store"
    for path in store.glob("*.lmdb"):
        os.truncate(path, left)
    words = Precompute({}).words("build", "--n", 54)
    # In a process of its own: what is tested for would end this one.
    ended = forks.run(words, cwd=REPO, env=dict(os.environ), timeout=PATIENCE)
    assert ended.returncode == 0, ended.stderr
    assert len(set(logged(store))) == 54
    assert run("check").status == 0


def test_check_names_torn_tails_and_stale_entries_as_warnings(run: Run, tmp_path: Path) -> None:
    """A torn tail and an entry that today's gate would refuse are warnings: they are served."""
    run("build", "--n", 3, "--strategy", "sampled")
    store = tmp_path / "data" / "store"
    found = [r.entry for r in read_log(log_path(store, "poem")) if isinstance(r, Record)]
    with LogWriter(store, "poem") as log:
        log.append([entry(found[0].query, "短い", source="gemini")])
    run("check", "--repair")
    with log_path(store, "poem").open("ab") as file:
        file.write(b'{"key":')
    said = run("check")
    assert "warning: " + found[0].key in said.out
    assert "torn tail of 7 bytes" in said.out


def _changed(folder: Path, phrase: str, text: str) -> None:
    path = folder / "pieces.json"
    pieces: dict[str, Any] = orjson.loads(path.read_bytes())
    pieces["phrases"][phrase]["child"][0] = text
    write_json(path, pieces)


def _deck_fault(folder: Path) -> str:
    _changed(folder, "poem-001-a", "ここは最高の眺めで、どこを向いても口の堅い人ばかりがいる。")
    return "child 1 of poem-001-a: forbidden: 最高"


def _twice(folder: Path) -> str:
    pieces = orjson.loads((folder / "pieces.json").read_bytes())
    _changed(folder, "poem-001-a", pieces["phrases"]["poem-002-a"]["child"][0])
    return "the same text as child 1 of poem-001-a"


def _telling(folder: Path) -> str:
    _changed(folder, "poem-075-a", "墓のそばで、しずかにひとつの灯がともり、家じゅうに広がる。")
    return "child 1 of poem-075-a: tells condition-001 (墓), which may lie beside it"


def _lacking(folder: Path) -> str:
    path = folder / "pieces.json"
    pieces: dict[str, Any] = orjson.loads(path.read_bytes())
    pieces["phrases"]["poem-075-a"]["gone"] = []
    write_json(path, pieces)
    return "phrase poem-075-a: has no sentence for the idea gone"


def _long(folder: Path) -> str:
    _changed(folder, "poem-001-a", "灯がともる。" * 12)
    return "some answers find no frame"


@pytest.mark.long
@pytest.mark.parametrize("harm", [_deck_fault, _twice, _telling, _lacking, _long])
def test_check_names_bad_pieces(run: Run, tmp_path: Path, harm: Callable[[Path], str]) -> None:
    """A piece that breaks a rule or stands twice is an error that names the piece."""
    decks = tmp_path / "decks"
    # Without the others: checking the chat deck takes ten times as long.
    shutil.copytree(DECKS / "poem", decks / "poem")
    told = harm(decks / "poem")
    said = run("check", TSUKURIOKI_DECKS=decks)
    assert said.status == 1
    assert any(told in line for line in said.out.splitlines() if line.startswith("error: "))


# Rehearsals


def test_a_rehearsal_of_random_plays_is_without_fault(run: Run) -> None:
    """10,000 random plays: all pass the gate, none fails, 99.9 % of the poems are distinct."""
    plays = 10_000
    told = orjson.loads(run("rehearse", "--plays", plays, "--json").out)
    assert told["plays"] == plays
    assert (told["errors"], told["gate_failures"]) == (0, {})
    assert told["gate_passed_share"] == 1
    assert told["distinct_share"] >= 0.999
    assert told["tiers"]["composed"]["answers"] == plays
    assert told["faithful_phrases"] == 5
    assert told["distinct_titles"] >= 60


def test_a_rehearsal_of_stocked_hands_is_answered_whole(run: Run) -> None:
    """Dealt from stock, every play is exact or within one phrase of a stored poem."""
    run("build", "--n", 81)
    told = orjson.loads(run("rehearse", "--plays", 600, "--deal", "stocked", "--json").out)
    assert set(told["tiers"]) == {"exact", "same_hand"}
    assert told["whole_share"] == 1
    assert 4 < told["faithful_phrases"] < 5


def test_a_deck_without_pieces_is_rehearsed_by_the_template_tier(run: Run, tmp_path: Path) -> None:
    """A deck in the game's own form passes a rehearsal, all of it by the template tier."""
    small_deck(tmp_path / "decks" / "poem")
    said = run("rehearse", "--plays", 300, "--json", TSUKURIOKI_DECKS=tmp_path / "decks")
    told = orjson.loads(said.out)
    assert (said.status, told["errors"], told["gate_failures"]) == (0, 0, {})
    assert told["tiers"]["template"]["answers"] == 300


CHAT_TAKES = {
    "stock": {
        "--deck",
        "--n",
        "--strategy",
        "--dry-run",
        "--provider",
        "--model",
        "--refresh",
        "--per-request",
        "--concurrency",
        "--rpm",
        "--tpm",
        "--budget-usd",
        "--extra-requests",
        "--batch",
        "--give-up-hours",
    },
    "misses": {"--deck", "--n", "--strategy", "--dry-run"},
}


@pytest.mark.long
@pytest.mark.parametrize("strategy", CHAT_TAKES)
def test_a_chat_build_refuses_what_it_does_not_take(
    run: Run, tmp_path: Path, strategy: str
) -> None:
    """Every option of build that a chat deck cannot follow is refused by name, and cooks nothing."""
    small_characters(tmp_path / "decks")
    values = {"--tpm": 5000}
    for option in cli.commands["build"].params:
        name = option.opts[0]
        if name in CHAT_TAKES[strategy]:
            continue
        words: list[object] = [name]
        if isinstance(option.type, click.Choice):
            words.append(option.type.choices[0])
        elif not getattr(option, "is_flag", False):
            words.append(values.get(name, 3))
        said = run(
            "build", "--deck", "small", "--n", 3, "--strategy", strategy, *words,
            TSUKURIOKI_DECKS=tmp_path / "decks",
        )  # fmt: skip
        assert said.status == 2, name
        assert len(said.err) == 1
        assert name in said.err[0]
    assert not (tmp_path / "data" / "store").exists()


def test_a_chat_build_refuses_a_strategy_of_cards(run: Run, tmp_path: Path) -> None:
    """`--strategy sampled` plans hands; for a chat deck it is refused."""
    decks = tmp_path / "decks"
    small_characters(decks)
    said = run(
        "build", "--deck", "small", "--n", 3, "--strategy", "sampled", TSUKURIOKI_DECKS=decks
    )
    assert (said.status, len(said.err)) == (2, 1)
    assert "--strategy" in said.err[0]
