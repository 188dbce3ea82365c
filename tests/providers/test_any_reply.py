"""No reply, however shaped, ends a build with a traceback; every reply costs a bounded number of tries."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from random import Random
from typing import Any, ClassVar

import pytest

from app.errors import OperatorError
from app.providers import Prompt, transport
from app.providers.faults import retry_after
from precompute.cook.choose import ProviderChoice, make_model
from tests.kit import MODELS, Booth, FakeClock, Outcome, assert_good
from tests.making import REPO, environment
from tests.standin import KEY, Fault, StandIn, edited, gemini_error, quota_error

HUGE = int("9" * 4000)
ODD: tuple[object, ...] = (
    None, 0, -1, 1.5, True, "", "text", "\ud800", [], [None], [[]], {}, {"a": None}, HUGE, "x" * 9000,
)  # fmt: skip
NESTED = b"[" * 100_000


def body_of(name: str, stand_in: StandIn) -> Any:
    """A whole reply of this provider's protocol, to be bent."""
    text = '{"answers": []}'
    if name.startswith("gemini"):
        return {
            "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2},
            "modelVersion": "m",
        }
    if name == "ollama":
        return {"model": "m", "message": {"role": "assistant", "content": text}, "done": True,
                "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 2}  # fmt: skip
    return {"model": "m", "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2}}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, the whole first."""
    yield path
    for key in (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    ):
        yield from places(value[key], (*path, key))


def bent(value: Any, path: tuple[Any, ...], new: object) -> Any:
    """A copy with something else at a place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = bent(value[path[0]], path[1:], new)
    return copy


def without(value: Any, path: tuple[Any, ...]) -> Any:
    """A copy without a member."""
    if len(path) == 1:
        return {k: v for k, v in value.items() if k != path[0]} if isinstance(value, dict) else []
    return bent(value, path[:1], without(value[path[0]], path[1:]))


def odd_bodies(name: str, stand_in: StandIn) -> Iterator[bytes]:
    """Replies that are odd in one place each, and some that are no JSON."""
    whole = body_of(name, stand_in)
    for path in places(whole):
        for odd in ODD:
            yield json.dumps(bent(whole, path, odd)).encode("utf-8", "surrogatepass")
        if path:
            yield json.dumps(without(whole, path)).encode()
    # Python's parser refuses more digits than these; others write them.
    yield json.dumps(whole).encode().replace(b"1", b"9" * 5000, 1)
    yield from (NESTED, b"", b"\0", b"\xff\xfe", b"<html>", b"nul", b'"', b'{"a":' * 50_000)


def model_of(name: str) -> str:
    return "gemini-3.5-flash-lite" if name.startswith("gemini") else "qwen2.5:0.5b"


@pytest.mark.parametrize("name", MODELS)
def test_a_reply_is_a_completion_or_a_fault_of_ours(
    name: str, booth: Booth, stand_in: StandIn
) -> None:
    """Whatever a service sends with status 200 is read or raises an error for operators."""
    model = make_model(ProviderChoice(name, model_of(name)), booth.settings())
    prompt = Prompt("f", '{"keywords"', {"type": "object"}, 10)
    told: list[str] = []
    for body in odd_bodies(name, stand_in):
        stand_in.script.append(Fault(body=body))
        try:
            completion = model.complete(prompt)
        except OperatorError as error:
            told.append(str(error))
            continue
        assert isinstance(completion.text, str)
        (completion.text + completion.model + completion.fault).encode()
        assert (
            completion.usage is None or min(completion.usage.prompt, completion.usage.output) >= 0
        )
    model.close()
    assert told
    assert not any("\n" in sentence for sentence in told)


INNER = tuple(
    text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")
    for text in (
        *(json.dumps({"answers": odd}) for odd in ODD),
        *(json.dumps({"answers": [odd]}) for odd in ODD),
        *(json.dumps({"answers": [{"id": odd, "idea": odd, "title": odd, "poem": odd}]}) for odd in ODD),
        *(json.dumps({"title": odd, "poem": odd, "keywords": odd}) for odd in ODD),
        *(json.dumps({"title": "題", "poem": [odd], "keywords": [odd]}) for odd in ODD),
        '{"answers": [' + "[" * 5000, '{"answers": [{"poem": ' + "[" * 300 + "]" * 300 + "}]}",
        '{"title": ' + "9" * 5000 + ', "poem": NaN}', '{"keywords": ["\\ud800"]}', "{", "", "\\",
    )
)  # fmt: skip


@pytest.mark.parametrize("prompt", ["whole", "small"])
@pytest.mark.parametrize("name", MODELS)
def test_a_build_of_odd_texts_ends_with_a_sentence(
    name: str, prompt: str, booth: Booth, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a model writes for an answer, the build ends, and nothing odd is kept as cooked."""
    rng = Random(5)
    real = stand_in.cook.reply

    def reply(asked: str) -> str:
        if "keywords" in asked and rng.random() < 0.5:
            return real(asked)
        return rng.choice(INNER)

    monkeypatch.setattr(stand_in.cook, "reply", reply)
    for seed in range(6):
        outcome = booth.build(provider=name, prompt=prompt, wanted=6, per_request=2, seed=seed)
        assert outcome.status in (0, 2), outcome
    assert_good(booth.entries(), len(booth.entries()))
    assert booth.refused()


def spoiled(kind: str) -> Fault:
    """A Gemini reply that brings nothing."""
    if kind == "empty":
        return edited(lambda e: e["candidates"][0]["content"]["parts"].clear())
    if kind == "blocked":
        return edited(lambda e: e.update(candidates=[], promptFeedback={"blockReason": "OTHER"}))
    if kind == "unreadable":
        return Fault(body=b'{"candidates": "no"}')
    return edited(lambda e: e["candidates"][0]["content"]["parts"][0].update(text="すみません。"))


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("planned", [1, 4, 12])
@pytest.mark.parametrize("kind", ["empty", "blocked", "unreadable", "prose"])
def test_never_many_times_the_planned_requests(
    kind: str, planned: int, concurrency: int, booth: Booth, stand_in: StandIn
) -> None:
    """A service whose every reply brings nothing is asked about twice as often as planned, no more."""
    stand_in.fault = lambda number: spoiled(kind)
    outcome = booth.build(
        provider="gemini", wanted=10 * planned, per_request=10, concurrency=concurrency
    )
    assert outcome.status == 2
    assert stand_in.tally.calls <= 2 * planned + 8
    assert f"{10 * planned} not cooked" in outcome.err


@pytest.mark.parametrize("kind", ["empty", "blocked", "unreadable", "prose"])
def test_mixed_faults_share_one_budget_of_tries(kind: str, booth: Booth, stand_in: StandIn) -> None:
    """If every second reply brings nothing, the requests stay within twice what was planned and some."""
    stand_in.fault = lambda number: spoiled(kind) if number % 2 else None
    booth.build(provider="gemini", wanted=100, per_request=5, concurrency=2)
    assert stand_in.tally.calls <= 2 * 20 + 8
    assert len(booth.entries()) >= 50


def test_answers_that_are_always_refused_share_it_too(booth: Booth, stand_in: StandIn) -> None:
    """Answers that the gate never takes are asked for again within the same budget."""
    stand_in.cook.spoil = lambda number, answers: [a | {"title": "ない題"} for a in answers]
    outcome = booth.build(provider="gemini", wanted=100, per_request=10)
    assert outcome.status == 2
    assert stand_in.tally.calls <= 28


def test_a_reply_that_cannot_be_read_is_kept_to_look_at(booth: Booth, stand_in: StandIn) -> None:
    """The refused answers' file has the text of a reply that was none, and which answers it was for."""
    stand_in.script.append(spoiled("prose"))
    stand_in.script.append(spoiled("unreadable"))
    assert booth.build(provider="gemini", wanted=8, per_request=2, concurrency=1).status == 0
    kept = [line for line in booth.refused() if "reply" in line]
    assert kept[0]["reply"] == "すみません。"
    assert len(kept[0]["keys"]) == 2
    assert '"candidates": "no"' in kept[1]["reply"]


RECOVERED: dict[str, Callable[[str], str]] = {
    "a bare list": lambda text: json.dumps(json.loads(text)["answers"], ensure_ascii=False),
    "prose around it": lambda text: f"はい、{{答え}}です。\n```json\n{text}\n```\nどうぞ。",
    "trailing commas": lambda text: text.replace("]}", ",],}"),
    "a raw line break": lambda text: text.replace('。"', '。\n"', 1),
    "another normalisation form": lambda text: unicodedata.normalize("NFD", text),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", RECOVERED)
def test_what_can_only_mean_one_thing_is_recovered(
    kind: str, name: str, booth: Booth, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply that is unambiguous is taken, and its texts are in normalisation form C."""
    real, bend = stand_in.cook.reply, RECOVERED[kind]
    monkeypatch.setattr(stand_in.cook, "reply", lambda asked: bend(real(asked)))
    outcome = booth.build(provider=name, prompt="whole", wanted=4, per_request=4)
    assert outcome.status == 0, outcome.err + outcome.error
    assert stand_in.tally.calls <= 2
    for entry in booth.entries():
        assert unicodedata.is_normalized("NFC", entry.response["title"] + entry.response["poem"])


@pytest.mark.parametrize("name", MODELS)
def test_one_object_will_do_for_one_task(
    name: str, booth: Booth, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for one answer, a model may give the object itself, without its name."""
    real = stand_in.cook.reply

    def reply(asked: str) -> str:
        answer = json.loads(real(asked))["answers"][0]
        return json.dumps({"title": answer["title"], "poem": answer["poem"]}, ensure_ascii=False)

    monkeypatch.setattr(stand_in.cook, "reply", reply)
    assert booth.build(provider=name, prompt="whole", wanted=3, per_request=1).status == 0
    assert stand_in.tally.calls == 3


@pytest.mark.parametrize("name", MODELS)
def test_an_error_in_a_reply_of_status_200_is_told(
    name: str, booth: Booth, stand_in: StandIn
) -> None:
    """The sentence says what the service says, not that something could not be read."""
    body = json.dumps({"error": {"message": "the kitchen is on fire"}}).encode()
    stand_in.fault = lambda number: Fault(body=body)
    outcome = booth.build(
        provider=name,
        prompt="whole",
        model=model_of(name) if name != "openai" else "local-70b",
        wanted=2,
    )
    assert outcome.status == 2
    assert ("the kitchen is on fire" in outcome.err + outcome.error) or name == "gemini-legacy"


IN_WORDS = (
    "You have used up your requests per day",
    "Rate limit reached on requests per day (RPD): Limit 200, Used 200",
    "Daily limit exceeded",
    "Quota exceeded for today",
)


@pytest.mark.parametrize("words", IN_WORDS)
@pytest.mark.parametrize("name", MODELS)
def test_a_quota_of_the_day_that_only_words_tell_ends_the_run(
    name: str, words: str, booth: Booth, stand_in: StandIn
) -> None:
    """One request, then a sentence that says to go on when the quota is renewed."""
    stand_in.fault = lambda number: gemini_error(429, "RESOURCE_EXHAUSTED", words)
    outcome = booth.build(provider=name, wanted=20, per_request=4, concurrency=1)
    assert outcome.status == 2
    assert "renewed" in outcome.error
    assert stand_in.tally.calls == 1


@pytest.mark.parametrize("details", [3, "x", {"a": 1}, [1], [None], [{"violations": 3}], [{"violations": [3]}], [{"retryDelay": [1]}]])  # fmt: skip
@pytest.mark.parametrize("name", ["gemini", "gemini-legacy"])
def test_quota_details_of_any_shape_are_a_pause(
    name: str, details: object, booth: Booth, stand_in: StandIn
) -> None:
    """A 429 is waited for whatever stands in its details."""
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow", "details": details}
    stand_in.script.append(Fault(status=429, body=json.dumps({"error": error}).encode()))
    assert booth.build(provider=name, wanted=4).status == 0


def waiting(status: int, value: str) -> Fault:
    headers = (("Content-Type", "application/json"), ("Retry-After", value))
    return Fault(status=status, body=b'{"error": {"message": "slow down"}}', headers=headers)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("name", MODELS)
def test_retry_after_is_heeded_in_seconds_and_as_a_date(
    name: str, status: int, booth: Booth, stand_in: StandIn
) -> None:
    """Both forms of RFC 9110 are waited for, by every provider."""
    for count, value in ((2, "7"), (4, "Fri, 27 Nov 2099 10:00:30 GMT")):
        stand_in.script.append(waiting(status, value))
        clock = FakeClock()
        outcome = booth.build(clock, provider=name, wanted=count, per_request=2)
        if count == 4:
            assert "asks for more than two days" in outcome.error
        else:
            assert sum(clock.slept) == pytest.approx(7), outcome.err + outcome.error


def test_a_date_is_compared_with_the_services_own_clock() -> None:
    """A wait told as a date does not depend on this machine's clock."""
    headers = {
        "retry-after": "Fri, 27 Nov 2026 10:00:30 GMT",
        "date": "Fri, 27 Nov 2026 10:00:00 GMT",
    }
    assert retry_after(headers) == 30
    assert retry_after({"retry-after": "Mon, 99 Foo"}) is None
    assert retry_after({"retry-after": "-5"}) is None


@pytest.mark.parametrize("name", MODELS)
def test_a_long_wait_ends_the_run_with_how_to_go_on(
    name: str, booth: Booth, stand_in: StandIn
) -> None:
    """Told to wait two hours, a build says so and ends instead of sleeping."""
    stand_in.fault = lambda number: waiting(429, "7200")
    clock = FakeClock()
    outcome = booth.build(clock, provider=name, wanted=2)
    assert outcome.status == 2
    assert "2.0 h" in outcome.error
    assert "run the same command again" in outcome.error
    assert clock.slept == []


def test_a_wait_is_told(booth: Booth, stand_in: StandIn) -> None:
    """A pause that a person would notice is named while it lasts."""
    stand_in.script.append(quota_error("PerMinute", "45s"))
    assert "waiting 45 s" in booth.build(provider="gemini", wanted=2).err


@pytest.mark.parametrize("name", MODELS)
def test_a_delay_of_nothing_is_no_licence(name: str, booth: Booth, stand_in: StandIn) -> None:
    """A service that asks for a pause of 0 s is asked ever more rarely."""
    stand_in.fault = lambda number: waiting(429, "0")
    clock = FakeClock()
    booth.build(clock, provider=name, wanted=1, concurrency=1)
    assert stand_in.tally.calls <= 32
    assert sum(clock.slept) > 5 * stand_in.tally.calls


@pytest.mark.parametrize("prompt", ["whole", "small"])
@pytest.mark.parametrize("name", MODELS)
def test_rpm_bounds_every_request(name: str, prompt: str, booth: Booth, stand_in: StandIn) -> None:
    """In no minute are there more requests than --rpm, both steps of the small prompt counted."""
    clock = FakeClock()
    times: list[float] = []
    stand_in.fault = lambda number: times.append(clock.now())
    booth.build(clock, provider=name, prompt=prompt, wanted=12, per_request=1, concurrency=1, rpm=4)
    assert len(times) >= 12
    assert max(sum(first <= t < first + 60 for t in times) for first in times) <= 4


class Elsewhere(BaseHTTPRequestHandler):
    """Another origin: whatever reaches it is written down."""

    seen: ClassVar[list[str]] = []

    def handle_any(self) -> None:
        self.seen.append(f"{self.command} {self.headers}")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = handle_any  # noqa: N815  # the base's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Quiet."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    Elsewhere.seen.clear()
    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", MODELS)
def test_the_key_never_leaves_its_origin(
    name: str, status: int, booth: Booth, stand_in: StandIn, elsewhere: str
) -> None:
    """A redirect to another origin is refused, the new address is named, nothing is sent there."""
    stand_in.fault = lambda number: Fault(
        status=status, headers=(("Location", f"{elsewhere}/v1/x"),)
    )
    outcome = booth.build(provider=name, wanted=2)
    assert outcome.status == 2
    assert elsewhere in outcome.error
    assert Elsewhere.seen == []
    assert KEY not in outcome.error


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.10", "[::1]"])
def test_this_machine_is_asked_directly(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the environment is used for a loopback address, written in whatever way."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "socks5://nowhere.example:1")
    assert transport.proxy_for(f"http://{host}:11434") is None
    assert transport.proxy_for(f"{host}:11434") is None


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:9", "not an address", "http://a:b:c", "ftp://x", "http://"]
)
@pytest.mark.parametrize("name", MODELS)
def test_a_proxy_that_cannot_be_used_is_one_sentence_at_the_start(
    name: str, proxy: str, booth: Booth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a service far away the sentence names the variable; a local one is asked all the same."""
    for variable in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, proxy)
    assert booth.build(provider=name, wanted=2).status == 0
    far = "http://service.example"
    booth.environ |= {"TSUKURIOKI_GEMINI_BASE_URL": far, "OLLAMA_HOST": far, "OPENAI_BASE_URL": far}
    outcome = booth.build(provider=name, wanted=4)
    assert outcome.status == 2
    assert "_PROXY" in outcome.error


@pytest.mark.parametrize(
    ("status", "body"), [(401, b"{}"), (403, b"{}"), (404, b"{}"), (200, b"<html>"), (200, b"[]"), (200, b"null"), (200, b'{"data": [null]}'), (200, b'{"data": []}')]
)  # fmt: skip
def test_a_list_of_models_that_is_none_is_a_sentence(
    status: int, body: bytes, booth: Booth, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no --model, whatever `/v1/models` answers, the build says what to do."""
    from tests import standin

    monkeypatch.setattr(
        standin._Handler, "_openai_models", lambda self, raw: self._send_raw(status, body, ())
    )
    outcome = booth.build(provider="openai", wanted=2)
    assert outcome.status == 2
    assert outcome.error


@pytest.mark.parametrize(
    "model",
    [
        "..\\x",
        "../x",
        "a b",
        "x?key=1",
        "[/INST]",
        "a\nb",
        "\udc80",
        "",
        "models/",
        "tunedModels/../x",
    ],
)
@pytest.mark.parametrize("name", ["gemini", "gemini-legacy"])
def test_a_name_that_no_model_can_have_is_refused_at_the_start(
    name: str, model: str, booth: Booth, stand_in: StandIn
) -> None:
    """The name is part of the address: one that could change it is not sent."""
    outcome = booth.build(provider=name, model=model, wanted=2)
    assert outcome.status == 2
    assert stand_in.tally.paths == []


def test_names_from_upstream_are_text(booth: Booth, stand_in: StandIn) -> None:
    """A model named like markup is printed as it is called, by build and by stats."""
    stand_in.models.append("[/INST][red]x")
    outcome = booth.build(provider="openai", model="[/INST][red]x", wanted=2)
    assert outcome.status == 0, outcome.error
    environ = {**environment(), **booth.full_environ()}
    told = subprocess.run(
        [sys.executable, "-m", "precompute", "stats", "--deck", "poem"],
        cwd=REPO, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr


def test_not_cooked_counts_what_is_missing(booth: Booth, stand_in: StandIn) -> None:
    """A run that ends early counts what it never came to."""
    stand_in.fault = lambda number: (
        gemini_error(403, "PERMISSION_DENIED", "no") if number > 2 else None
    )
    outcome = booth.build(provider="gemini", wanted=50, per_request=5, concurrency=1)
    assert re.search(r"not cooked +40\b", outcome.out)


def test_what_timed_out_is_perhaps_billed_even_without_a_price(
    booth: Booth, stand_in: StandIn
) -> None:
    """A model that the price table lacks: the requests that may have been billed are counted."""
    booth.environ["TSUKURIOKI_TIMEOUT"] = "0.3"
    stand_in.models.append("gemini-99-new")
    stand_in.script.append(Fault(how="hang"))
    outcome = booth.build(provider="gemini", model="gemini-99-new", wanted=2)
    assert "1 requests whose replies did not come" in outcome.out


def answered(booth: Booth) -> Outcome:
    return booth.build(provider="gemini", wanted=40, batch=True)


@pytest.mark.parametrize("odd", [b'{"key": "r1", "response": %s}' % json.dumps(o).encode("utf-8", "surrogatepass") for o in ODD]
    + [b'{"key": "r1", "response": {"candidates": %s}}' % json.dumps(o).encode("utf-8", "surrogatepass") for o in ODD]
    + [b"nonsense", b"null", b"[]", b'{"key": 3}', NESTED, b'{"key": "r1", "error": 5}'])  # fmt: skip
def test_an_odd_line_of_a_batch_result_loses_only_that_line(
    odd: bytes, booth: Booth, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three requests of four are taken in, the fourth is asked directly, the job is forgotten."""
    from tests import standin

    results = standin._Handler._results
    monkeypatch.setattr(
        standin._Handler,
        "_results",
        lambda self, requests: b"\n".join(
            odd if b'"key": "r1"' in line else line for line in results(self, requests).splitlines()
        ),
    )
    outcome = answered(booth)
    assert outcome.status == 0, outcome.err + outcome.error
    assert_good(booth.entries(), 40)
    assert stand_in.tally.calls == 1
    assert not (booth.folder / "store" / "poem.batch.json").exists()


def test_a_good_line_beside_a_bad_duplicate_is_not_paid_twice(
    booth: Booth, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two lines for a request the one with an answer counts, in whatever order they come."""
    from tests import standin

    results = standin._Handler._results

    def doubled(self: Any, requests: bytes) -> bytes:
        bad = b'{"key": "r1", "error": {"message": "no"}}\n{"key": "r2", "response": null}\n'
        return bad + results(self, requests) + bad

    monkeypatch.setattr(standin._Handler, "_results", doubled)
    assert answered(booth).status == 0
    assert stand_in.tally.calls == 0


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"null", b'{"display": 1}', b"\xff"])
def test_a_batch_jobs_file_that_is_damaged_is_named(text: bytes, booth: Booth) -> None:
    """One sentence with the file's name."""
    path = booth.folder / "store" / "poem.batch.json"
    path.parent.mkdir()
    path.write_bytes(text)
    outcome = answered(booth)
    assert outcome.status == 2
    assert "poem.batch.json" in outcome.error


def test_a_plain_build_beside_a_waiting_job_says_so(booth: Booth, stand_in: StandIn) -> None:
    """Who forgot --batch is told before paying for the same answers twice."""
    path = booth.folder / "store" / "poem.batch.json"
    path.parent.mkdir()
    path.write_bytes(b"{}")
    assert "build --batch takes its answers in" in booth.build(provider="gemini", wanted=2).err


@pytest.mark.parametrize("name", MODELS)
def test_a_socks_proxy_is_no_matter_for_a_server_on_this_machine(
    name: str, booth: Booth, stand_in: StandIn
) -> None:
    """In a process of its own, in which the client libraries read the environment when imported."""
    proxies = dict.fromkeys(("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"), "socks5://127.0.0.1:9")
    told = subprocess.run(
        [sys.executable, "-m", "precompute", "build", "--n", "2", "--provider", name],
        cwd=REPO, env={**environment(), **booth.full_environ(), **proxies},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
