"""Dealing from stock, votes, misses, and learning from them, over HTTP."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import httpx
import orjson
import pytest

from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.store.key import Query
from tests.conftest import Serve
from tests.making import Precompute, Server, game_body, vote, wait_for


def ids(cards: list[dict[str, Any]]) -> frozenset[str]:
    return frozenset(card["id"] for card in cards)


def play(client: httpx.Client, cards: list[dict[str, Any]], rng: Random) -> dict[str, Any]:
    """Pick a phrase for each card and post the hand as the game's client does."""
    pairs = [{"conditionCard": c, "selectedPoem": rng.choice(c["poems"])} for c in cards]
    answer = client.post("/api/generate-poem", json={"selectedPairs": pairs})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def ask(client: httpx.Client, deck: Deck, query: Query) -> dict[str, Any]:
    answer = client.post("/api/generate-poem", json=game_body(deck, query))
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_no_hand_comes_twice_before_all_have_come(precompute: Precompute, serve: Serve) -> None:
    """Two workers, and a server started anew, deal each stocked hand once before any repeats."""
    precompute("build", "--n", 270)
    dealt = []
    for _ in range(2):
        with serve(TSUKURIOKI_WORKERS=2).client() as client:
            for _ in range(5):
                answer = client.get("/api/decks/poem/deal", headers={"Connection": "close"}).json()
                assert answer["mode"] == "stocked"
                dealt.append(ids(answer["cards"]))
    assert len(set(dealt)) == 10


def test_deals_under_a_rush(precompute: Precompute, serve: Serve) -> None:
    """Sixteen askers at once are dealt each hand of the stock equally often."""
    precompute("build", "--n", 270)
    server = serve(TSUKURIOKI_WORKERS=2)

    def deals(_: int) -> list[frozenset[str]]:
        with server.client() as client:
            return [ids(client.get("/api/decks/poem/deal").json()["cards"]) for _ in range(10)]

    with ThreadPoolExecutor(16) as pool:
        dealt = Counter(hand for hands in pool.map(deals, range(16)) for hand in hands)
    assert set(dealt.values()) == {16}
    assert len(dealt) == 10


def test_random_deals_are_legal(server: Server, poem: Deck) -> None:
    """A random deal has five cards of distinct categories, and says that it is random."""
    with server.client() as client:
        for _ in range(50):
            answer = client.get("/api/decks/poem/deal", params={"mode": "random"}).json()
            assert answer["mode"] == "random"
            assert len({card["category"] for card in answer["cards"]}) == 5
            assert all(card == poem.card_by_id[card["id"]].raw for card in answer["cards"])


def test_nothing_stocked(serve: Serve) -> None:
    """Without stock the default deal is random, and one that insists on stock is told why not."""
    with serve().client() as client:
        assert client.get("/api/decks/poem/deal").json()["mode"] == "random"
        refused = client.get("/api/decks/poem/deal", params={"mode": "stocked"})
        assert refused.status_code == 409
        assert "precompute build" in refused.json()["detail"]


def test_the_house_deals(precompute: Precompute, serve: Serve) -> None:
    """Plays of dealt hands are answered whole, with four of five phrases at least; 37 hands first."""
    plays = 400
    precompute("build", "--n", 1000)
    rng = Random(5)
    tiers: Counter[str] = Counter()
    hands = []
    with serve(TSUKURIOKI_WORKERS=2).client() as client:
        for _ in range(plays):
            dealt = client.get("/api/decks/poem/deal").json()
            hands.append(ids(dealt["cards"]))
            answer = play(client, dealt["cards"], rng)
            tiers[answer["tier"]] += 1
            assert answer.get("shared", 5) >= 4
        figures = client.get("/stats").json()["decks"]["poem"]
    assert set(tiers) <= {"exact", "same_hand"}
    assert len(set(hands[:37])) == 37
    assert figures["answers"]["hit_rate"] == 1.0
    assert figures["answers"]["total"] == plays
    assert figures["deals"] == {"dealt": plays, "stocked": 37, "rounds": plays / 37}


def test_seen_is_what_was_foretold(precompute: Precompute, serve: Serve, poem: Deck) -> None:
    """The shares of the tiers over HTTP are the rehearsal's, within five standard errors."""
    plays = 800
    precompute("build", "--n", 1000)
    done = precompute("rehearse", "--json", "--plays", plays, "--deal", "stocked")
    foretold = orjson.loads(done.stdout)["tiers"]["exact"]["share"]
    rng = Random(6)
    exact = 0
    with serve().client() as client:
        for _ in range(plays):
            cards = client.get("/api/decks/poem/deal").json()["cards"]
            exact += play(client, cards, rng)["tier"] == "exact"
    error = (foretold * (1 - foretold) / plays) ** 0.5
    assert abs(exact / plays - foretold) < 5 * 2**0.5 * error


def test_a_same_hand_answer_is_of_the_same_cards(
    precompute: Precompute, serve: Serve, poem: Deck
) -> None:
    """A same_hand answer names an entry of just these cards, nearest in phrases, and says how near."""
    precompute("build", "--n", 27)
    rng = Random(7)
    with serve().client() as client:
        cards = client.get("/api/decks/poem/deal").json()["cards"]
        for _ in range(60):
            answer = play(client, cards, rng)
            stored = client.get(f"/api/answers/{answer['key']}").json()
            assert stored["poem"] == answer["poem"]
            assert answer["tier"] == "exact" or answer["shared"] == 4


def hand_answer(client: httpx.Client, query: Query, variant: int = 0) -> httpx.Response:
    hand = [{"card": card, "phrase": phrase} for card, phrase in query.picks]
    answer = client.post("/api/decks/poem/answer", json={"hand": hand, "variant": variant})
    assert answer.status_code == 200
    return answer


def counted(client: httpx.Client) -> dict[str, Any]:
    told: dict[str, Any] = client.get("/stats").json()["decks"]["poem"]["feedback"]
    return told


def test_votes(precompute: Precompute, serve: Serve, poem: Deck) -> None:
    """Votes are counted with their denominator, over workers, once for each play of an answer."""
    precompute("build", "--n", 27)
    with serve(TSUKURIOKI_WORKERS=2).client() as client:
        cards = client.get("/api/decks/poem/deal").json()["cards"]
        stocked = Query.play("poem", [(c["id"], c["poems"][0]["id"]) for c in cards])
        composed = random_play(poem, Random(1))
        for query, visitor, cast in (
            (stocked, "a", "up"), (stocked, "b", "up"), (composed, "a", "down"),
            (composed, "a", "down"), (stocked, "a", "down"), (stocked, "b", "up"),
        ):  # fmt: skip
            assert vote(client, hand_answer(client, query), cast, visitor) == 204
        assert counted(client) == {"up": 2, "down": 1, "of": 3, "share_up": 2 / 3}


def test_nobody_votes_on_what_was_not_given(serve: Serve, poem: Deck) -> None:
    """A vote needs the ballot of just this answer: of this key, variant and deck, from this server."""
    rng = Random(11)
    with serve().client() as client:
        mine = hand_answer(client, random_play(poem, rng))
        others = [
            hand_answer(client, random_play(poem, rng)),
            hand_answer(client, random_play(poem, rng), 1),
        ]
        key, good = mine.json()["key"], mine.headers["x-tsukurioki-ballot"]
        assert len({one.headers["x-tsukurioki-ballot"] for one in [mine, *others]}) == 3
        wrong: list[object] = [
            None,
            "",
            5,
            [good],
            good.upper() + "x",
            good[:-1],
            "0" * 24,
            "票" * 24,
        ]
        wrong += [one.headers["x-tsukurioki-ballot"] for one in others]
        for ballot in wrong:
            body = {"vote": "down", "ballot": ballot, "visitor": "a"}
            refused = client.post(f"/api/answers/{key}/feedback", json=body)
            assert (refused.status_code, refused.json()["title"]) == (400, "Bad ballot")
        for variant, path in ((1, key), (0, others[0].json()["key"]), (0, "0" * 32)):
            body = {"vote": "down", "ballot": good, "visitor": "a", "variant": variant}
            assert client.post(f"/api/answers/{path}/feedback", json=body).status_code == 400
        assert counted(client)["of"] == 0


def test_a_ballot_is_good_for_all_workers_and_the_next_start(serve: Serve, poem: Deck) -> None:
    """What one worker gave is voted on at another, and after the server was started anew."""
    query = random_play(poem, Random(12))
    with serve(TSUKURIOKI_WORKERS=2).client() as client:
        answer = hand_answer(client, query)
    with serve(TSUKURIOKI_WORKERS=2).client() as client:
        for visitor in range(6):
            client.headers["Connection"] = "close"
            assert vote(client, answer, "up", str(visitor)) == 204
        assert (
            hand_answer(client, query).headers["x-tsukurioki-ballot"]
            == answer.headers["x-tsukurioki-ballot"]
        )


def test_one_address_cannot_swamp_the_votes(
    precompute: Precompute, serve: Serve, poem: Deck
) -> None:
    """Of 600 votes that one client casts at once few are counted, and few answers are disliked."""
    precompute("build", "--n", 270)
    server = serve(TSUKURIOKI_WORKERS=2, TSUKURIOKI_PROXIES=1)
    with server.client() as client:
        answers = [
            client.post("/api/generate-poem", json=game_body(poem, Query.from_json(line["query"])))
            for line in map(
                orjson.loads, (server.data / "store" / "poem.jsonl").read_bytes().splitlines()[:200]
            )
        ]
        begun = time.monotonic()
        statuses = Counter(vote(client, a, "down", f"{n}") for a in answers for n in range(3))
        taken = statuses.pop(204)
        assert set(statuses) == {429}
        # Ten at once, and one more every three seconds.
        assert 10 <= taken <= 11 + (time.monotonic() - begun) / 3
        assert counted(client)["of"] == taken
        another = {"X-Forwarded-For": "192.0.2.77"}
        with httpx.Client(base_url=server.url, headers=another) as elsewhere:
            assert vote(elsewhere, answers[0], "up", "") == 204
    said = _planned(precompute)
    assert int(said.split("to cook ")[1].split()[0]) <= taken // 3


@pytest.mark.long
def test_what_is_disliked_is_cooked_again(precompute: Precompute, serve: Serve, poem: Deck) -> None:
    """An answer voted down gets another text, once for its votes; the log keeps the old one."""
    precompute("build", "--n", 27, "--provider", "composer")
    server = serve()
    with server.client() as client:
        rng = Random(5)
        cards = client.get("/api/decks/poem/deal").json()["cards"]
        pairs = [{"conditionCard": c, "selectedPoem": rng.choice(c["poems"])} for c in cards]
        answer = client.post("/api/generate-poem", json={"selectedPairs": pairs})
        disliked = answer.json()
        path = f"/api/answers/{disliked['key']}"
        texts = [disliked["poem"]]
        for times in (2, 3):
            for visitor in range(3):
                assert "to cook 0" in _planned(precompute)
                assert vote(client, answer, "down", f"{times}.{visitor}") == 204
            assert "to cook 1" in _planned(precompute)
            precompute("build", "--refresh", "disliked")
            wait_for(lambda: client.get(path).json()["poem"] not in texts, "another text")
            texts.append(client.get(path).json()["poem"])
            assert len(set(texts)) == times
            assert "to cook 0" in _planned(precompute)
            # The new text is told from the old one by the second in which it was made.
            wait_for(lambda: client.get(path).json()["created"] < _now(), "the next second")
    log = (server.data / "store" / "poem.jsonl").read_text()
    entries = [orjson.loads(line) for line in log.splitlines()]
    stored = [e["response"]["poem"] for e in entries if e.get("key") == disliked["key"]]
    assert stored == texts


def _planned(precompute: Precompute) -> str:
    said = precompute("build", "--refresh", "disliked", "--dry-run").stdout
    return " ".join(said.replace("│", " ").split())


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def test_misses_become_exact_hits(precompute: Precompute, serve: Serve, poem: Deck) -> None:
    """What was missed most is listed first, cooked first, and then answered as a whole."""
    rng = Random(8)
    wanted, other = random_play(poem, rng), random_play(poem, rng)
    server = serve()
    with server.client() as client:
        for query in (other, wanted, wanted, wanted):
            assert ask(client, poem, query)["tier"] == "composed"
        told = client.get("/stats").json()["decks"]["poem"]["misses"]
        assert (told["total"], told["distinct"]) == (4, 2)
        phrases = sorted(phrase for _, phrase in wanted.picks)
        assert told["most_wanted"][0] == {"phrases": phrases, "times": 3}
        assert phrases[0] in precompute("stats", "--misses").stdout.splitlines()[0]
        precompute("build", "--strategy", "misses", "--n", 1)
        wait_for(lambda: ask(client, poem, wanted)["tier"] == "exact", "the new entry")
        assert ask(client, poem, other)["tier"] == "composed"
        precompute("build", "--strategy", "misses", "--n", 10)
        wait_for(lambda: ask(client, poem, other)["tier"] == "exact", "the other entry")


def test_no_misses_are_noted_where_a_setting_says_so(serve: Serve, poem: Deck) -> None:
    """With TSUKURIOKI_MISSES=off nothing of what was asked is written."""
    server = serve(TSUKURIOKI_MISSES="off")
    with server.client() as client:
        ask(client, poem, random_play(poem, Random(9)))
        assert client.get("/stats").json()["decks"]["poem"]["misses"]["kept"] is False
    assert not (server.data / "ledger" / "poem.jsonl").exists()


def test_builds_under_load(precompute: Precompute, serve: Serve, poem: Deck) -> None:
    """While builds add entries, eight askers get no failure, and the new entries right after."""
    server = serve(TSUKURIOKI_WORKERS=2)
    over = threading.Event()

    def asking(seed: int) -> int:
        rng, asked = Random(seed), 0
        with server.client() as client:
            while not over.is_set():
                ask(client, poem, random_play(poem, rng))
                asked += 1
        return asked

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(asking, seed) for seed in range(8)]
        for hands in (1, 2, 3):
            precompute("build", "--n", 27 * hands)
            with server.client() as client:
                wait_for(
                    lambda n=hands, c=client: (
                        c.get("/stats").json()["decks"]["poem"]["coverage"]["stocked_hands"][
                            "count"
                        ]
                        == n
                    ),
                    "the new hand",
                )
        over.set()
        assert all(future.result() > 0 for future in running)
