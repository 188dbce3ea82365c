"""Recording and replaying: what is asked upstream, what is kept, what is given back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import PromptMissError, UpstreamError
from app.kinds.prompts.deck import Miss, PromptDeck
from app.kinds.prompts.gate import REPLY, Checks, PromptGate
from app.kinds.prompts.key import KeyRules, query_of
from app.kinds.prompts.recordings import Recordings, recordings_folder
from app.kinds.prompts.reply import Choice, Chunk, Reply, Tokens
from app.kinds.prompts.service import ServedPrompts
from app.ledger.misses import read_ledger
from app.providers.upstream import Holding
from app.store.entry import Entry
from app.store.holder import bring_up
from app.store.log import LogWriter, Record, log_path, read_log
from precompute.learn.recordings import take_in
from tests.kinds.prompts.kit import (
    MODEL,
    Reader,
    Upstream,
    asked,
    chat,
    recording,
    served,
    text_of,
    upstream,
)
from tests.making import PATIENCE, wait_for


@pytest.fixture
def model() -> Iterator[Upstream]:
    """An upstream that counts."""
    with upstream() as made:
        yield made


def kept(folder: Path, deck: str = "recorded") -> list[str]:
    """The replies in a deck's recordings."""
    items = read_log(log_path(recordings_folder(folder / "ledger"), deck))
    return [item.entry.response["reply"] for item in items if isinstance(item, Record)]


def put(folder: Path, deck: PromptDeck, text: str, reply: Reply) -> None:
    """Record a reply by hand."""
    query = query_of(deck.id, chat(text), deck.rules)
    entry = Entry(query.key, 0, query, {REPLY: reply.to_text()}, "openai", MODEL, "f", "2026-11-27")
    Recordings(folder / "ledger", deck.id).keep(lambda variant: entry, lambda variant: True)


def test_what_was_recorded_is_replayed_without_the_network(tmp_path: Path, model: Upstream) -> None:
    """Streamed or not, whichever way it was recorded, by another worker too."""
    assert text_of(recording(tmp_path, model), asked("hello")) == "answer 1"
    assert text_of(recording(tmp_path, model), asked("bye", stream=True)) == "answer 2"
    offline = served(tmp_path, OPENAI_BASE_URL=model.url)
    for stream in (False, True):
        for text, said in (("hello", "answer 1"), ("bye", "answer 2")):
            answer = offline.answer(asked(text, stream=stream, dialect="ollama"))
            assert answer.about.tier == "exact"
            assert answer.whole().choices[0].text == said
    assert len(model.requests) == 2


def test_another_worker_replays_a_recording_at_once(tmp_path: Path, model: Upstream) -> None:
    """A worker that had none replays what another has just recorded."""
    waiting, records = served(tmp_path), recording(tmp_path, model)
    with pytest.raises(PromptMissError):
        waiting.answer(asked("hello"))
    text_of(records, asked("hello"))
    assert text_of(waiting, asked("hello")) == "answer 1"


def test_a_stream_is_kept_with_its_pieces(tmp_path: Path, model: Upstream) -> None:
    """The chunks are whole characters, whatever the network cut, and the times grow."""
    model.say = lambda number: ["作り", "置き", "🍱"]
    live = list(recording(tmp_path, model).answer(asked("dish", stream=True)).events)
    replayed = list(served(tmp_path).answer(asked("dish", stream=True)).events)
    assert [chunk.text for chunk in live] == ["作り", "置き", "🍱"]
    assert replayed == live
    assert [chunk.at for chunk in live] == sorted(chunk.at for chunk in live)


@pytest.mark.parametrize(("pace", "waits"), [(1.0, [1.0, 3.0]), (2.0, [0.5, 1.5]), (0.0, [])])
def test_a_stream_is_replayed_at_the_decks_pace(
    tmp_path: Path, pace: float, waits: list[float]
) -> None:
    """As recorded, faster, or at once; a reply that is not streamed waits for nothing."""
    deck = PromptDeck("slow", pace=pace)
    chunks = (Chunk(0, "a", 1000.0), Chunk(0, "b", 3000.0))
    put(tmp_path, deck, "x", Reply((Choice("ab"),), MODEL, pace=chunks))
    worker = served(tmp_path, deck)
    slept: list[float] = []
    worker._sleep = slept.append
    assert text_of(worker, asked("x")) == "ab"
    assert not slept
    assert text_of(worker, asked("x", stream=True)) == "ab"
    assert [round(seconds, 1) for seconds in slept] == waits


def test_several_answers_are_replayed_in_order_for_each_conversation(
    tmp_path: Path, model: Upstream
) -> None:
    """In their order, then the last; each conversation begins anew, with any worker."""
    records = recording(tmp_path, model)
    assert [text_of(records, asked("roll")) for _ in range(3)] == [f"answer {n}" for n in (1, 2, 3)]
    workers = [served(tmp_path), served(tmp_path)]
    for conversation in ("one", "two"):
        said = [text_of(workers[n % 2], asked("roll", conversation=conversation)) for n in range(5)]
        assert said == [f"answer {n}" for n in (1, 2, 3, 3, 3)]


def test_several_answers_are_replayed_at_random_by_the_decks_seed(
    tmp_path: Path, model: Upstream
) -> None:
    """All of them come, the same ones for the same seed and conversation."""
    deck = PromptDeck("dice", answers="random", seed=3)
    for _ in range(3):
        text_of(recording(tmp_path, model, deck), asked("roll"))
    runs = []
    for folder in ("a", "b"):
        for path in (tmp_path / "ledger").glob("state*"):
            path.unlink()
        worker = served(tmp_path, deck, TSUKURIOKI_HOST=folder)
        runs.append([text_of(worker, asked("roll")) for _ in range(30)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3


def in_flight(workers: list[ServedPrompts]) -> int:
    """How many requests wait for a reply."""
    flights = (flight for worker in workers for flight in worker._flights._flying.values())
    return sum(flight.readers for flight in flights)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", ["record", "auto"])
def test_identical_requests_in_flight_are_one_upstream_request(
    tmp_path: Path, model: Upstream, mode: str, *, stream: bool
) -> None:
    """Fifty at once, over two workers, get the one reply that was paid for."""
    workers = [recording(tmp_path, model, mode=mode) for _ in range(2)]
    # The upstream replies when all are in flight.
    model.before = lambda: wait_for(lambda: in_flight(workers) == 50, "fifty requests in flight")
    with ThreadPoolExecutor(50) as pool:
        said = list(
            pool.map(lambda n: text_of(workers[n % 2], asked("same", stream=stream)), range(50))
        )
    assert set(said) == {"answer 1"}
    assert len(model.requests) == 1
    assert len(kept(tmp_path)) == 1


def test_different_requests_in_flight_do_not_wait_for_each_other(
    tmp_path: Path, model: Upstream
) -> None:
    """Both are at the upstream at once."""
    worker = recording(tmp_path, model)
    both = threading.Barrier(2)
    model.before = lambda: both.wait(30)
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda text: text_of(worker, asked(text)), ["one", "two"]))
    assert sorted(said) == ["answer 1", "answer 2"]


def test_a_fault_is_told_to_all_who_wait_for_it(tmp_path: Path, model: Upstream) -> None:
    """An upstream that fails is not asked once more by each of those that waited."""
    worker = recording(tmp_path, model)
    model.status = 503
    model.before = lambda: wait_for(lambda: in_flight([worker]) == 8, "eight requests in flight")

    def status(_: int) -> int:
        with pytest.raises(UpstreamError) as failed:
            text_of(worker, asked("same"))
        return failed.value.status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(status, range(8))) == {503}
    assert len(model.requests) == 1


def test_a_recording_that_comes_between_looking_and_asking_is_replayed(
    tmp_path: Path, model: Upstream
) -> None:
    """A request that found nothing does not pay for what another worker has just recorded."""
    other, worker = (recording(tmp_path, model, mode="auto") for _ in range(2))
    looks = worker._found

    def found(*words: Any) -> Any:
        seen = looks(*words)
        text_of(other, asked("hello"))
        return seen

    worker._found = found  # type: ignore[method-assign,assignment]
    assert text_of(worker, asked("hello")) == "answer 1"
    assert len(model.requests) == 1


def test_auto_asks_upstream_only_for_what_is_not_recorded(tmp_path: Path, model: Upstream) -> None:
    worker = recording(tmp_path, model, mode="auto")
    assert [text_of(worker, asked("hello")) for _ in range(3)] == ["answer 1"] * 3
    assert len(model.requests) == 1


@pytest.mark.parametrize("fault", ["status", "cut", "empty", "refused by the deck", "no server"])
def test_only_what_is_good_is_kept(tmp_path: Path, model: Upstream, fault: str) -> None:
    """An error is told with its status; a reply that the gate refuses is given, and not kept."""
    deck = PromptDeck("recorded", checks=Checks(must_not=("answer 1",)))
    worker = recording(tmp_path, model, deck if fault == "refused by the deck" else None)
    if fault == "status":
        model.status = 429
        model.more = {"retry-after": "7"}
    if fault == "cut":
        model.cut = True
    if fault == "empty":
        model.say = lambda number: [" "]
    if fault == "no server":
        worker = served(tmp_path, TSUKURIOKI_MODE="record", OPENAI_BASE_URL="http://127.0.0.1:9")
    if fault in ("status", "cut", "no server"):
        with pytest.raises(UpstreamError) as failed:
            worker.answer(asked("hello", stream=True)).whole()
        assert failed.value.headers == ((("retry-after", "7"),) if fault == "status" else ())
        assert failed.value.status == {"status": 429, "cut": 502, "no server": 502}[fault]
    else:
        assert worker.answer(asked("hello", stream=True)).whole().not_kept
    assert kept(tmp_path) == []
    model.say, model.status, model.cut = (lambda number: ["good"]), 200, False
    if fault != "no server":
        assert text_of(worker, asked("hello")) == "good"
        assert len(kept(tmp_path)) == 1


def test_a_stream_that_the_client_leaves_is_not_kept(tmp_path: Path, model: Upstream) -> None:
    """The next one asks upstream again."""
    worker = recording(tmp_path, model)
    gone = threading.Event()

    def say(number: int) -> Iterator[str]:
        yield "answer "
        assert gone.wait(30)
        yield f"{number}"

    model.say = say
    events = worker.answer(asked("hello", stream=True)).events
    assert next(events).text == "answer "
    events.close()
    gone.set()
    assert kept(tmp_path) == []
    assert text_of(worker, asked("hello", stream=True)) == "answer 2"


def test_a_client_that_leaves_takes_its_bytes_with_it(tmp_path: Path, model: Upstream) -> None:
    """Room that was held for a reply is free again after its client has left, with that of the part
    that was on its way."""
    worker = recording(tmp_path, model)
    worker._holding = Holding(5000)
    gone, over = threading.Event(), threading.Event()

    def say(number: int) -> Iterator[str]:
        yield "answer "
        assert gone.wait(PATIENCE)
        yield "x" * 1000
        over.set()

    model.say = say
    events = worker.answer(asked("hello", stream=True)).events
    assert next(events).text == "answer "
    events.close()
    gone.set()
    assert over.wait(PATIENCE)
    # Asked only after the work before it has ended: one lock is for all who ask the same.
    assert text_of(worker, asked("hello", stream=True)) == f"answer {'x' * 1000}"
    assert worker._holding._free == 5000


def test_a_ledger_that_cannot_be_written_costs_no_answer(tmp_path: Path, model: Upstream) -> None:
    """Where no recording can be written, what upstream says is answered, and not kept."""
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger/recordings").write_text("in the way")
    worker = recording(tmp_path, model)
    reply = worker.answer(asked("hello")).whole()
    assert (reply.choices[0].text, reply.not_kept) == ("answer 1", "disk")
    assert text_of(worker, asked("hello", stream=True)) == "answer 2"


def test_a_reply_that_claims_endless_tokens_is_replayed(tmp_path: Path, model: Upstream) -> None:
    """What an upstream says of itself cannot make a line that nobody reads again."""
    one = asked("hello")
    one = one._replace(reader=Boasting)
    text_of(recording(tmp_path, model), one)
    assert text_of(served(tmp_path), one) == "answer 1"


class Boasting(Reader):
    """Reads a reply with more tokens than there are."""

    def whole(self, body: Any) -> Reply:
        """The reply."""
        return replace(super().whole(body), usage=Tokens(2**53, 2**53))


def test_no_key_reaches_the_disk(tmp_path: Path, model: Upstream) -> None:
    """The upstream gets the server's key; a prompt or a reply that has it in it is not kept."""
    secret = "sk-owner-0123456789"
    worker = served(
        tmp_path, TSUKURIOKI_MODE="record", OPENAI_BASE_URL=model.url, OPENAI_API_KEY=secret
    )
    text_of(worker, asked("hello"))
    assert model.headers[0]["authorization"] == f"Bearer {secret}"
    text_of(worker, asked(f"my key is {secret}"))
    model.say = lambda number: [f"your key is {secret}"]
    text_of(worker, asked("what is my key?"))
    assert len(kept(tmp_path)) == 1
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(secret.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize("dialect", ["openai", "gemini"])
def test_a_decks_upstream_gets_no_key(tmp_path: Path, model: Upstream, dialect: str) -> None:
    """A deck may come from a stranger: a key goes only where the settings send it."""
    secrets = {"OPENAI_API_KEY": "sk-owner-0123456789", "GEMINI_API_KEY": "AIza-owner-0123456789"}
    for theirs in (True, False):
        deck = PromptDeck("theirs", upstreams={dialect: f"{model.url}/v9"} if theirs else {})
        worker = served(
            tmp_path,
            deck,
            TSUKURIOKI_MODE="record",
            OPENAI_BASE_URL="http://127.0.0.1:9/v1" if theirs else model.url,
            TSUKURIOKI_GEMINI_BASE_URL="http://127.0.0.1:9" if theirs else model.url,
            **secrets,
        )
        text_of(worker, asked(f"hello {theirs}", dialect=dialect))
        sent = str(model.headers[-1])
        assert any(secret in sent for secret in secrets.values()) != theirs


def test_what_is_to_be_redacted_is_not_written(tmp_path: Path, model: Upstream) -> None:
    """Neither from prompts nor from replies, streamed ones too; and the prompt is still found."""
    deck = PromptDeck("private", rules=KeyRules(redact=(r"\d{3}-\d{4}",)))
    model.say = lambda number: ["call 0", "12-34", "56"]
    for stream in (False, True):
        text = f"I am 555-0199 {stream}"
        live = recording(tmp_path, model, deck)
        assert text_of(live, asked(text, stream=stream)) == "call 012-3456"
        assert text_of(served(tmp_path, deck), asked(text, stream=stream)) == "call ***"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for private in (b"555-0199", b"012-3456", b"12-34"):
        assert not any(private in path.read_bytes() for path in files)


def test_a_miss_names_the_nearest_recording_and_the_field_that_differs(
    tmp_path: Path, model: Upstream
) -> None:
    """Replay never asks the network; the ledger has a missed prompt's text only if the deck says so."""
    records = recording(tmp_path, model)
    text_of(records, asked(chat("Describe ramen for a child", options={"seed": 1})))
    text_of(records, asked("Something else"))
    for other, field in (
        (chat("Describe ramen for a child", options={"seed": 2}), "options.seed"),
        (chat("Describe ramen for a guest", options={"seed": 1}), "messages[0]"),
        (chat("Describe ramen for a child", options={"seed": 1}, format="json"), "format"),
        (chat("Describe ramen for a guest", options={"seed": 2}), "messages[0]"),
    ):
        with pytest.raises(PromptMissError) as missed:
            served(tmp_path, OPENAI_BASE_URL=model.url).answer(asked(other))
        assert missed.value.differs == field
        assert missed.value.nearest
        assert dict(missed.value.headers)["x-should-retry"] == "false"
    assert len(model.requests) == 2
    lines = list(read_ledger(tmp_path / "ledger", "recorded"))
    assert [list(line["pattern"]) for line in lines] == [["key"]] * 4
    open_deck = PromptDeck("open", miss=Miss(status=422, keep=True))
    with pytest.raises(PromptMissError) as missed:
        served(tmp_path, open_deck).answer(asked("hello"))
    assert missed.value.status == 422
    (line,) = read_ledger(tmp_path / "ledger", "open")
    assert "hello" in line["prompt"]


def test_workers_that_record_at_once_lose_nothing(tmp_path: Path, model: Upstream) -> None:
    """Every reply that upstream gave is in the log, whole, under a variant of its own."""
    workers = [recording(tmp_path, model) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: text_of(workers[n % 3], asked(f"p {n % 20}")), range(60)))
    items = list(read_log(log_path(recordings_folder(tmp_path / "ledger"), "recorded")))
    assert all(isinstance(item, Record) for item in items)
    names = [(i.entry.key, i.entry.variant) for i in items if isinstance(i, Record)]
    assert len(names) == len(set(names)) == len(model.requests)


def test_a_torn_recording_is_set_aside_and_the_rest_is_replayed(
    tmp_path: Path, model: Upstream
) -> None:
    """A crash while writing loses the recording that was being written, and no other."""
    text_of(recording(tmp_path, model), asked("one"))
    path = log_path(recordings_folder(tmp_path / "ledger"), "recorded")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    worker = recording(tmp_path, model, mode="auto")
    assert text_of(worker, asked("one")) == "answer 1"
    assert text_of(worker, asked("two")) == "answer 2"
    assert text_of(served(tmp_path), asked("two")) == "answer 2"


def test_recordings_are_taken_into_the_store_once(tmp_path: Path, model: Upstream) -> None:
    """A build takes them in; they are replayed from the store alone, all of them, in order."""
    records = recording(tmp_path, model)
    for text in ("roll", "roll", "once"):
        text_of(records, asked(text))
    for _ in range(2):
        with LogWriter(tmp_path / "store", "recorded") as log:
            take_in(tmp_path / "ledger", "recorded", PromptGate(Checks()), log)
    text_of(records, asked("roll"))
    assert len(list(read_log(log_path(tmp_path / "store", "recorded")))) == 3
    bring_up(records._settings.store_options, records.deck)
    assert [text_of(served(tmp_path), asked("roll", conversation=c)) for c in "aaaa"] == [
        f"answer {n}" for n in (1, 2, 4, 4)
    ]
    log_path(recordings_folder(tmp_path / "ledger"), "recorded").unlink()
    assert [text_of(served(tmp_path), asked("roll", conversation=c)) for c in "bbb"] == [
        f"answer {n}" for n in (1, 2, 2)
    ]
    assert text_of(served(tmp_path), asked("once")) == "answer 3"


def test_the_server_itself_is_no_upstream(tmp_path: Path) -> None:
    """OPENAI_BASE_URL set for the clients of the server must not make it ask itself."""
    worker = served(
        tmp_path,
        TSUKURIOKI_MODE="record",
        TSUKURIOKI_PORT="8123",
        OPENAI_BASE_URL="http://127.0.0.1:8123/v1",
    )
    with pytest.raises(UpstreamError, match="this server itself"):
        worker.answer(asked("hello"))


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_that_is_too_long_is_refused(
    tmp_path: Path, model: Upstream, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """What an upstream sends beyond a bound is not read: a 502, and nothing is kept or held."""
    monkeypatch.setattr("app.providers.upstream.MOST_REPLY", 2000)
    worker = recording(tmp_path, model)
    model.say = lambda number: ["x" * 500] * (10 if number == 1 else 2)
    with pytest.raises(UpstreamError, match="MiB") as refused:
        text_of(worker, asked("long", stream=stream))
    assert refused.value.status == 502
    assert kept(tmp_path) == []
    assert text_of(worker, asked("long", stream=stream)) == "x" * 1000


def test_a_reply_of_too_many_parts_is_refused(
    tmp_path: Path, model: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply that would take many times its length of memory is a 502."""
    monkeypatch.setattr("app.providers.upstream._MOST_BRACKETS", 20)
    model.say = lambda number: ["[" * 30]
    with pytest.raises(UpstreamError, match="too many parts"):
        text_of(recording(tmp_path, model), asked("brackets"))


def test_replies_that_nobody_takes_are_bounded_together(tmp_path: Path, model: Upstream) -> None:
    """While slow readers hold as many bytes as may be held, a further reply is a 429; their end gives room."""
    worker = recording(tmp_path, model)
    worker._holding = Holding(5000)
    model.say = lambda number: ["x" * 1000] * 3
    slow = worker.answer(asked("slow", stream=True))
    next(slow.events)
    wait_for(lambda: worker._holding._free < 2500, "the whole reply")
    with pytest.raises(UpstreamError) as refused:
        text_of(worker, asked("other"))
    assert (refused.value.status, refused.value.headers) == (429, (("retry-after", "1"),))
    slow.events.close()
    assert worker._holding._free == 5000
    assert text_of(worker, asked("other")) == "x" * 3000


def test_the_event_loop_waits_for_no_recording(tmp_path: Path, model: Upstream) -> None:
    """Whether a kept reply is still right is known while another thread reads long recordings."""
    worker = recording(tmp_path, model)
    text_of(worker, asked("one"))
    before = worker.state()
    recordings = worker._replies.recordings
    with recordings._lock, ThreadPoolExecutor(1) as pool:
        assert pool.submit(worker.state).result(PATIENCE) == before
    text_of(worker, asked("two"))
    assert worker.state() != before
