"""Conversations over HTTP, as a user has them: what was asked decides how the next message is read."""

from __future__ import annotations

import itertools
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from app.errors import DeckError
from app.kinds.chat import memory as memories
from app.kinds.chat.classifier import BUCKETS, Runs, packed
from app.kinds.chat.deck import CharacterDeck, load_character_deck
from app.kinds.chat.message import normalise
from app.kinds.chat.remembering import as_written
from app.normal_form import nfkc
from precompute.learn import classifier as learning
from precompute.review.chat import check
from tests.kinds.chat import kit

# A deck with one character and few lines, so that a test knows every answer.
LINES = {
    "hello": ["Hello to you.", "Hello, {name}."],
    "thanks": ["No trouble at all."],
    "nod": ["Quite so."],
    "hum": ["Hm, hm."],
    "fallback_go_on": ["And then?"],
    "fallback": ["No idea what that is."],
    "fallback_question": ["The log does not say."],
    "fallback_story": ["Tell me of the {it}.", "Go on with it."],
    "fallback_again": ["You said that just now."],
    "fallback_offer": ["I could talk of {offer_a} or {offer_b}."],
    "fallback_open": ["I am a small AI and know little."],
    "told_exam": ["A {it} takes nerve.", "That takes nerve."],
    "recall_exam": ["And how is the {it} looking?", "And how is it looking?"],
    "fallback_counsel": ["Sleep on it."],
    "fallback_either": ["The {it}, not the {other}.", "I cannot choose."],
    "fallback_sum": ["That makes {it}.", "That is no sum for me."],
    "fallback_remainder": ["{it}, and {other} over.", "It does not go."],
    "fallback_say": ["There: {it}.", "I would rather not."],
    "tone_glad": ["Fine news."],
    "tone_low": ["Hard luck."],
    "long_up": ["A long and happy tale."],
    "long_mixed": ["Sun and rain in one tale."],
    "fallback_place": ["So it is."],
    "echo": ["The {it}."],
    "retold": ["Ah, {it}. Go on."],
    "retold_slept": ["So {it}, and well?"],
}
# In place of a learned model: whoever writes "alas" is low, and whoever writes "hooray" is glad.
TONES = packed(
    ["glad", "low", "none"],
    [-9.0, -9.0, -8.0],
    [{zlib.crc32(word) % BUCKETS: 100.0} for word in (b"hooray", b"alas, ")] + [{}],
    {"sure": 0.0, "lead": 0.0, "contradicts": 0.0, "clear": 0.0},
    Runs((), (6,)),
    "",
)
TOPICS = [
    {
        "id": "supper",
        "offer": "supper",
        "opener": ["What was supper?"],
        "expects": "food",
        "answers": {
            "food": ["A {it} is a fine thing.", "That is a fine thing."],
            "no": ["Then eat something."],
            "unknown": ["It cannot have been good."],
            "back": [{"text": "Beans. Have you a cat?", "asks": "cat"}],
            "other": ["Let supper be."],
        },
    },
    {
        "id": "cat",
        "offer": "the cat",
        "about": ["\\bcats?\\b"],
        "opener": ["Have you a cat?"],
        "expects": "yes_no",
        "answers": {
            "yes": [{"text": "Tea or rum for it?", "asks": "drink"}],
            "no": ["Borrow mine."],
            "unknown": ["Look under the bed."],
            "back": ["I have one."],
            "other": ["Never mind the cat."],
        },
    },
    {
        "id": "drink",
        "offer": "tea and rum",
        "opener": ["Tea, or rum?"],
        "expects": "choice",
        "options": ["tea|earl grey", "rum"],
        "answers": {
            "a": ["Tea it is."],
            "b": ["Rum it is."],
            "both": ["Both it is."],
            "neither": ["Water it is."],
            "unknown": ["Take your time."],
            "back": ["Tea for me."],
            "other": ["The kettle waits."],
        },
    },
]
OPENERS = [line for topic in TOPICS for line in topic["opener"]]
THINGS: list[Any] = [
    {
        "id": "lamp",
        "words": ["lamp", "light"],
        "lines": {
            "plain": ["The lamp is the job."],
            "who": ["A keeper lights the lamp."],
            "yes": ["It is, all night."],
        },
    },
    {"id": "stair", "words": ["stair"], "shy": True, "lines": {"plain": ["The third one creaks."]}},
]
NOUN_GROUPS = {
    "beast": {
        "words": ["seal", "gull", "boat", "whale"],
        "lines": {"hobb": ["{it}, wet and loud.", "Wet and loud."]},
    },
    "rest": {"words": ["cork"], "lines": {}},
}
CONVERSATION = {
    "you": "you",
    "strong": ["hello"],
    "weak": ["nod"],
    "opens": ["nod"],
    "nods": ["hum"],
    "question": [r"\?$"],
    "answers": {
        "yes": ["^(?:yes|yeah)"],
        "no": ["^(?:no|nope)"],
        "nothing": ["^nothing"],
        "unknown": ["^i forgot"],
        "back": [r"you\?$"],
        "both": ["^both"],
        "neither": ["^neither"],
        "first": ["^the first"],
        "second": ["^the second"],
    },
    "nouns": {
        "head": ["^(?:a|an|the|some|just) "],
        "tail": [r"[.!]+$"],
        "shape": ["^[a-z]+$"],
        "within": ["(?:a|an|the) ([a-z]{3,12})"],
        "reject": ["^(?:poison|thing)$"],
        "rude": ["bomb"],
    },
    "echo": {
        "before": ["fallback_place", "noun_"],
        "called": {"boat": "ship"},
        "not": ["sunk"],
    },
    "retell": {
        "instead_of": ["fallback_place"],
        "ends": {"slept": "slept$"},
        "head": ["^here "],
        "tail": [r"[.!]+$"],
        "forms": {"(?:^here |, )(i )": "you "},
        "plain": ["^here stands "],
        "joint": [", "],
        "opening": [" that (.+)$"],
        "shape": ["^[a-z ]{4,20}$"],
        "reject": ["nought"],
        "not": ["please"],
    },
    "expects": {
        "food": {"noun": True, "words": ["fish and chips"], "said": ["^i had"]},
        "yes_no": {},
        "choice": {},
    },
    "told": [{"what": "exam", "expressions": ["my (exam|test)"]}],
    "name": {"intent": "hello", "expressions": ["my name is ([a-z]{2,8})"]},
    "asked": {"who": ["^who"], "what": ["^what"], "remark": ["^lovely"], "of": ["^name$"]},
    "greetings": ["hello"],
    "gives_way": {"thanks": ["low"]},
    "feelings": {"up": ["glad"]},
    "direct": {
        "either": {"expressions": ["([a-z]+) or ([a-z]+)\\?"], "not": ["marry"]},
        "sum": {"plus": ["plus"], "over": ["divided by"], "asked": ["^what is #\\?"]},
        "say": {"expressions": ["^say (.+)$"]},
        "never": ["bomb|love"],
    },
    "kinds": [
        {"id": "counsel", "asks": True, "listens": True, "expressions": ["^should i .*\\?"]},
        {"id": "boast", "lines": "nod", "listens": True, "expressions": ["^i won"]},
        {"id": "place", "listens": True, "expressions": ["^here"]},
        {
            "id": "seen",
            "lines": "nod",
            "listens": True,
            "vague": True,
            "speaks": True,
            "expressions": ["^lo "],
        },
        {"id": "fact", "fact": True, "lines": "fallback_question", "expressions": ["capital"]},
        {"id": "question", "about_her": True, "follows": True, "expressions": [r"\?$"]},
        {
            "id": "story",
            "expressions": ["."],
            "least": 25,
            "listens": True,
            "answers": True,
            "vague": True,
        },
    ],
}


def small_deck(folder: Path, change: Callable[[dict[str, Any]], None] = lambda files: None) -> Path:
    """A deck for tests, of which `change` can change the files' contents before they are written."""
    voice = {"allowed_endings": ["[.?]$"], "forbidden": ["rude"]}
    hobb = {"id": "hobb", "name": "Hobb", "persona": "You are Hobb.", "voice": voice}
    intents = [
        {"id": "hello", "expressions": ["^hello"]},
        {"id": "thanks", "expressions": ["^thanks"]},
        {"id": "nod", "expressions": ["^(?:i see|yeah)"]},
        {"id": "hum", "expressions": ["^mm$"]},
        {"id": "die", "grave": True, "expressions": ["want to die"]},
    ]
    files: dict[str, Any] = {
        "deck.json": {
            "kind": "pattern",
            "id": "small",
            "language": "en",
            "answer": {"script": "en", "characters": [4, 60]},
        },
        "characters.json": [hobb],
        "intents.json": {"intents": intents},
        "lines.json": {"hobb": {**LINES, "die": ["I am here with you."]}},
        "topics.json": {"hobb": TOPICS},
        "things.json": {"hobb": THINGS},
        "noun_groups.json": NOUN_GROUPS,
        "conversation.json": CONVERSATION,
        "tones.json": TONES,
    }
    files = json.loads(json.dumps(files))
    change(files)
    (folder / "small").mkdir(parents=True)
    for name, value in files.items():
        (folder / "small" / name).write_text(json.dumps(value))
    return folder / "small"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server of two workers with the small deck."""
    folder = tmp_path_factory.mktemp("small")
    small_deck(folder / "decks")
    settings = {"TSUKURIOKI_DECKS": str(folder / "decks"), "TSUKURIOKI_WORKERS": "2"}
    with kit.started(folder, **settings) as server:
        yield server


def talk(server: kit.Server, *said: str, conversation: str, **more: object) -> list[str]:
    """The answers to messages of one conversation, which the server remembers."""
    return [
        server.say(text, conversation=conversation, deck="small", **more)["text"] for text in said
    ]


def opened(server: kit.Server, topic: str, conversation: str) -> None:
    """Bring a conversation to the point where a topic is open, whichever is opened first."""
    questions = {"What was supper?": "supper", "Have you a cat?": "cat", "Tea, or rum?": "drink"}
    for turn in range(6):
        (text,) = talk(server, "i see", conversation=conversation)
        if questions.get(text.removeprefix("Quite so. ")) == topic:
            return
        assert turn < 5, text


@pytest.mark.parametrize(
    ("topic", "said", "answer"),
    [
        ("supper", "Just a pie!", "A pie is a fine thing."),
        ("supper", "fish and chips", "A fish and chips is a fine thing."),
        ("supper", "nothing", "Then eat something."),
        ("supper", "I forgot", "It cannot have been good."),
        ("supper", "And you?", "Beans. Have you a cat?"),
        ("supper", "xyz 12 xyz", "Let supper be."),
        ("cat", "nope", "Borrow mine."),
        ("cat", "And Hobb?", "I have one."),
        ("drink", "earl grey please", "Tea it is."),
        ("drink", "the second", "Rum it is."),
        ("drink", "tea and rum", "Both it is."),
        ("drink", "neither", "Water it is."),
        # What has a meaning of its own is no answer.
        ("supper", "hello", "Hello"),
        ("supper", "thanks", "No trouble at all."),
        ("supper", "Why is the sea salty?", "The log does not say."),
        ("cat", "I want to die", "I am here with you."),
        # No noun that is unsure, rude or too long for the gate.
        ("supper", "a bomb", "Let supper be."),
        ("supper", "rude", "That is a fine thing."),
    ],
)
def test_a_message_is_read_in_the_light_of_the_question_before_it(
    small: kit.Server, topic: str, said: str, answer: str
) -> None:
    """An open question has answers of its own; a message with a meaning of its own lets it lapse."""
    talked = f"{topic} {said}"
    opened(small, topic, talked)
    assert talk(small, said, conversation=talked)[0].startswith(answer)


def test_a_question_is_open_for_one_message(small: kit.Server) -> None:
    """What would have been an answer is none after another message."""
    opened(small, "cat", "lapsed")
    assert talk(small, "thanks", "nope", conversation="lapsed")[1] == LINES["fallback"][0]


def test_answers_lead_on_to_further_questions(small: kit.Server) -> None:
    """A line that asks is answered in the light of its own question, two turns deep."""
    opened(small, "cat", "deep")
    assert talk(small, "yes", "rum", conversation="deep") == ["Tea or rum for it?", "Rum it is."]


def test_what_is_not_understood_is_not_always_answered_the_same(small: kit.Server) -> None:
    """The kind decides first, repetition is noticed, the third gets an offer, the fourth the truth."""
    said = ("qq ww", "qq ww", "ee rr", "tt yy")
    first, again, offer, openly = talk(small, *said, conversation="lost")
    assert first == LINES["fallback"][0]
    assert again == LINES["fallback_again"][0]
    assert offer.startswith("I could talk of ")
    assert openly == LINES["fallback_open"][0]
    assert talk(small, "hello", "qq ww", conversation="lost")[1] == LINES["fallback"][0]


def test_an_offer_can_be_taken(small: kit.Server) -> None:
    """Naming one of the offered topics, or its place, opens it."""
    for number, choice in enumerate(("first", "second")):
        talked = f"offer {number}"
        offer = talk(small, "qq ww", "ee rr", "tt yy", conversation=talked)[-1]
        offered = offer.removeprefix("I could talk of ").rstrip(".").split(" or ")
        opener = next(t["opener"] for t in TOPICS if t["offer"] == offered[number])
        assert talk(small, f"the {choice}", conversation=talked) == opener
        by_name = talk(small, "qq ww", "ee rr", "tt yy", offered[number], conversation=f"n{number}")
        assert by_name[-1] in [line for t in TOPICS for line in t["opener"]]


def test_a_story_is_reflected_with_its_noun_as_long_as_it_goes_on(small: kit.Server) -> None:
    """A story is listened to; it does not count as not understood."""
    story = "so there I was beside the harbour wall, and it rained"
    answers = talk(small, *([story] * 5), conversation="story")
    assert answers == ["Tell me of the harbour."] * 5


@pytest.mark.parametrize(
    ("before", "answer"),
    [
        ("so there I was beside the harbour wall, and it rained", "And then?"),
        ("lo and behold it", "And then?"),
        # Neither a question, nor what has a meaning of its own, nor a word or two is a story.
        ("what was beside the harbour wall, when it rained?", "Hm, hm."),
        ("thanks for the lamp that you have lent to me", "Hm, hm."),
        ("hello there, it is raining again", "Hm, hm."),
        ("so so", "Hm, hm."),
        ("mm", "Hm, hm."),
    ],
)
def test_who_nods_after_a_story_is_asked_to_go_on(
    small: kit.Server, before: str, answer: str
) -> None:
    """After something that users told, a nod of theirs is met by a wish to hear more, once."""
    said = talk(small, before, "mm", "mm", conversation=f"nod {before}")
    assert said[1:] == [answer, "Hm, hm."]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("here is the boat", "The ship. So it is."),
        ("here stands a thing!", "Ah, stands a thing. Go on."),
        ("here i stand", "Ah, you stand. Go on."),
        ("here, on a very cold and wet bench, i slept", "So you slept, and well?"),
        ("here i stand and see that all of it shines", "Ah, all of it shines. Go on."),
        # Not of a question, a request or sad news, nor what the gate refuses or is too long to be the point.
        ("here stands it?", "So it is."),
        ("here stands it, please", "So it is."),
        ("here stands nought", "So it is."),
        ("here stands rude talk", "So it is."),
        ("here stands a bomb", "So it is."),
        ("here the boat is sunk", "So it is."),
        ("here, after many long years away, is the boat", "So it is."),
    ],
)
def test_a_line_that_fits_much_gives_way_to_words_of_the_message(
    small: kit.Server, said: str, answer: str
) -> None:
    """Such a line gives way to the point of the message, or else is said after the noun of a short one."""
    assert talk(small, said, conversation=said[:20]) == [answer]


@pytest.mark.parametrize(
    ("said", "noun"),
    [
        ("lo a seal and a gull", "gull"),
        ("lo a seal. I slept", "seal"),
        ("lo the boat", "ship"),
    ],
)
def test_a_message_that_nothing_answers_is_answered_by_what_it_speaks_of(
    small: kit.Server, said: str, noun: str
) -> None:
    """The last known noun of the last sentence that has one decides; each line about it comes."""
    answers = talk(small, said, f"{said}.", conversation=said)
    assert sorted(answers) == sorted([f"{noun}, wet and loud.", f"The {noun}. Wet and loud."])


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        # A tone, a part of a word, a group that she has no lines for, sad news.
        ("lo a seal! alas, it was low", "Hard luck."),
        ("lo sealing wax", "Quite so."),
        ("lo a cork", "Quite so."),
        ("lo a seal is sunk", "Quite so."),
    ],
)
def test_a_line_about_a_noun_gives_way(small: kit.Server, said: str, answer: str) -> None:
    """Nothing is said about a noun where something narrower is known, or where it would be out of place."""
    assert talk(small, said, conversation=said) == [answer]


def test_what_was_told_comes_up_once_later(small: kit.Server) -> None:
    """What the user told is recalled with its noun, once, not before the second message after it."""
    told = "well, tomorrow is the day of my test"
    answers = talk(small, told, "i see", "i see", "i see", "i see", conversation="told")
    assert answers[0] == "A test takes nerve."
    recalled = ["And how is the test looking?" in answer for answer in answers]
    assert recalled == [False, False, True, False, False]


def test_what_she_can_be_asked_and_told_is_her_topics(small: kit.Server) -> None:
    """A question about a topic gets her own answer; what is told unasked is answered as if asked."""
    assert talk(small, "Do you like cats?", conversation="about") == ["I have one."]
    (unknown,) = talk(small, "Do you like rain?", conversation="about")
    assert unknown == "The log does not say."
    told = talk(small, "I had fish and chips", "I had fish and chips", conversation="volunteered")
    assert told[0] == "A fish and chips is a fine thing."
    assert told[1] == LINES["fallback_again"][0]


def test_she_knows_the_things_of_her_world(small: kit.Server) -> None:
    """Who names a thing and asks is answered about it, by the kind of question."""
    said = ("Who minds the lamp?", "Is the light bright?", "What is the lamp?")
    lines = THINGS[0]["lines"]
    assert talk(small, *said, conversation="named") == [
        *lines["who"],
        *lines["yes"],
        *lines["plain"],
    ]
    assert "stair" not in str(talk(small, "the stair is steep", conversation="shy"))
    fact = talk(small, "What is the capital of light?", conversation="fact")
    assert fact == ["The log does not say."]


def test_a_short_question_is_about_what_she_has_just_named(small: kit.Server) -> None:
    """A thing that her last line was about need not be named again; a message later it must be."""
    said = ("What is the lamp?", "Who minds it?", "lovely", "thanks", "Who minds it?")
    answers = talk(small, *said, conversation="active")
    assert answers[1] == "A keeper lights the lamp."
    assert answers[2] == "The lamp is the job."
    assert answers[4].startswith("The log does not say.")


def test_what_nothing_narrower_answers_is_met_by_its_tone(small: kit.Server) -> None:
    """A tone is answered, a question is answered beside it, and an intent that it contradicts gives way."""
    said = {
        "hooray, the boat is mended at last": "Fine news.",
        "alas, the boat is lost. Should I buy another?": "Hard luck. Sleep on it.",
        "Should I buy another?": "Sleep on it.",
        "thanks for nothing, alas, alas": "Hard luck.",
        "Hello there. Alas, the boat is lost": "Hello to you. Hard luck.",
        "the boat is as it always was, neither better nor worse": "Tell me of the boat.",
    }
    for number, (text, answer) in enumerate(said.items()):
        assert talk(small, text, conversation=f"tone {number}") == [answer], text


def test_a_long_story_has_lines_of_its_own(small: kit.Server) -> None:
    """Its last sentences decide; several feelings in it are answered together."""
    long = "There was the harbour, and then nothing but water for some days, and many gulls. "
    told = {
        long + "Hooray, we are home.": "A long and happy tale.",
        long + "Hooray, we are home. Alas, the cat is not.": "Sun and rain in one tale.",
        long + "It was as it always is.": "Sun and rain in one tale.",
    }
    for number, (text, answer) in enumerate(told.items()):
        assert talk(small, text, conversation=f"long {number}") == [answer], text


@pytest.mark.parametrize("seed", range(12))
def test_sums_are_right(small: kit.Server, seed: int) -> None:
    """Whatever the numbers and signs, the result is that of whole numbers."""
    rng = Random(seed)
    numbers = [rng.randrange(1, 10 ** rng.randrange(1, 9)) for _ in range(rng.randrange(2, 6))]
    signs = [rng.choice(("+", "-", "x", "×", "plus")) for _ in numbers[1:]]
    text = str(numbers[0]) + "".join(f" {s} {n}" for s, n in zip(signs, numbers[1:], strict=True))
    result = eval(re.sub("[x×]", "*", text.replace("plus", "+")))
    answer = talk(small, f"What is {text}?", conversation=f"sum {seed}")
    assert answer == [f"That makes {result}."]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("What is 100 divided by 7?", "14, and 2 over."),
        ("What is １７×２３?", "That makes 391."),
        ("What is 1 divided by 0?", LINES["fallback_sum"][1]),
        ("What is " + " x ".join(["999999999999"] * 8) + "?", LINES["fallback_sum"][1]),
        ("What is " + " + ".join(["1"] * 9) + "?", LINES["fallback_sum"][1]),
        ("What is 1.5 x 2?", LINES["fallback_question"][0]),
        ("see you on 10/3", LINES["fallback"][0]),
    ],
)
def test_sums_are_bounded_and_nothing_else_is_one(
    small: kit.Server, text: str, answer: str
) -> None:
    """What leaves nothing whole, or is too large, is declined; a date is no sum."""
    assert talk(small, text, conversation=text[:40]) == [answer]


def test_one_of_two_things_is_chosen_and_always_the_same(small: kit.Server) -> None:
    """In any order and conversation; what her world has counts more, and some choices are not hers."""
    (first,) = talk(small, "Beer or wine?", conversation="either 1")
    (second,) = talk(small, "wine or beer?", conversation="either 2")
    assert first == second
    assert first in ("The beer, not the wine.", "The wine, not the beer.")
    assert talk(small, "fog or lamp?", conversation="either 3") == ["The lamp, not the fog."]
    for text in ("marry or leave?", "bomb or beer?", "rude or beer?", "beer or beer?"):
        (answer,) = talk(small, text, conversation=text)
        assert text.split()[0] not in answer.lower()


def test_she_says_after_the_user_what_she_would_say(small: kit.Server) -> None:
    """Not what the deck forbids, what the gate refuses, or a speech."""
    assert talk(small, "say yes", conversation="say") == ["There: yes."]
    for text in ("say i love you", "say rude", "say " + "ha " * 20):
        assert talk(small, text, conversation=text) == [LINES["fallback_say"][1]]


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("シーフードとカレーどっち派?", ("シーフード", "カレー")),
        ("よし食べよ。きのこ派?たけのこ派?", ("きのこ", "たけのこ")),
        ("京都と大阪、どっちがおすすめですか", ("京都", "大阪")),
        ("犬か猫だったらどっち?", ("犬", "猫")),
        ("寝るのが先か食べるのが先か", ("寝る", "食べる")),
        # What she must not choose for anybody.
        ("別れるのと続けるの、どっちがいい?", ()),
        ("外科と内科どっちに行けばいい?", ()),
        ("お母さんと彼氏どっちが大事?", ()),
        ("死ぬのと生きるのどっちが楽?", ()),
        ("キミとほかの子、どっちがかわいい?", ()),
        ("それとこれどっち?", ()),
        # What has a right answer.
        ("東京と大阪どっちが大きい?", ()),
    ],
)
def test_in_japanese_two_things_are_told_apart(
    deck: CharacterDeck, text: str, things: tuple[str, ...]
) -> None:
    """A choice of taste names both; grave choices, people and facts are none."""
    assert deck.talks["botan"].hearing.direct.things(normalise(text)) == things


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("じゃあ 17×23 は？", "391"),
        ("二十三足す四は？", "27"),
        ("１２かける３は？", "36"),
        ("百引く一は？", "99"),
        ("3+4=", "7"),
        ("8×7わかる？", "56"),
        ("1,000×3は？", "3000"),
        ("一万二千わる三は？", "4000"),
        ("10/3に行く", None),
        ("3-4日休む", None),
        ("090-1234-5678は？", None),
        ("2+1の席とった", None),
        ("一二三と数えて", None),
    ],
)
def test_in_japanese_sums_are_read(deck: CharacterDeck, text: str, result: str | None) -> None:
    """In half and full width, with words for the signs, in kanji; dates and telephone numbers are none."""
    found = deck.talks["botan"].hearing.direct.sum(normalise(text))
    assert (found.result if found else None) == result


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("「はい」とだけ答えて", "はい"),
        ("大丈夫って言って", "大丈夫"),
        ("おつかれって言ってほしい", "おつかれ"),
        ("「田中はバカ」って言って", ""),
        ("愛してるって言って", ""),
        ("「ずっと一緒にいる」って約束して", None),
        ("友達が「無理」って言ってて", None),
        ("先生に「違う」って言われた", None),
        ("なんて言って断ろう", None),
    ],
)
def test_in_japanese_she_says_after_the_user(
    deck: CharacterDeck, text: str, said: str | None
) -> None:
    """Only who asks her to, and nothing rude, tender or binding."""
    assert deck.talks["botan"].hearing.direct.said(normalise(text)) == said


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ミュートしたほうがいい?", "should"),
        ("告白するべきかな", "should"),
        ("もう寝てもいい?", "allowed"),
        ("どうしたらうまくなる?", "how"),
        ("脅かし方のコツだけ教えて", "how"),
        ("結婚の話っていつ切り出せばいいのかな", "when"),
        ("明日間に合うかな", "okay"),
        ("部屋の模様替え、何からしたらいい?", "what"),
        ("なにしよ", "pass_time"),
        ("次に何読んだらいいかなあ", "rec_reading"),
        ("言い過ぎたかな", "did_right"),
        ("こんなことで大げさかな", "did_right"),
        ("いまの使い方、あってる?", "word"),
        ("この服どう思う?", "opinion"),
        ("結局冷奴にした。えらくない?", "praise_me"),
        ("褒めて褒めて", "praise_me"),
        ("ひまだから何か話して", "tell"),
        ("面白い話ない?", "tell"),
        ("止めて!だれか俺を止めて!", "stop"),
        ("日本で二番目に高い山は", "question_fact"),
        ("「ぐりとぐら」って作者だれでしたっけ", "question_fact"),
        ("エンガワって何の魚だっけ", "question_fact"),
        ("つまんないって言われたら傷つく?", "her_feel"),
        ("キミも何かに落ちたことある?", "her_ever"),
        ("キミは泳げる?", "her_can"),
        ("キミは理科得意?", "her_good_at"),
        ("キミは相撲はお好きですかな", "her_into"),
        ("キミなら知らない人にどう声かける?", "if_you_say"),
        ("キミだったらもらって嬉しい?", "if_you_feel"),
        ("キミならおにぎりに何入れる?", "her_taste_food_q"),
        ("キミは小さい頃どんな子だったの?", "her_child_q"),
        ("キミは落ち込んだときどうしてます?", "her_coping_q"),
        ("愚痴ってもええかのう", "may_i_talk"),
        ("ちょっと聞いてもらえますか", "may_i_talk"),
        ("また寄ってもよろしいかしら", "may_i_come"),
        ("隣町まで歩いてみようかしら", "thinking_of"),
        ("ちゃんととどいてますか", "reached_q"),
        ("孫ばかですかな", "silly_me"),
        ("手ぶらで行ったら失礼ですか", "social_q"),
        ("駅員さんって道も教えてくれるもの?", "staff_q"),
        ("大人ってみんなこんなに忙しいんですか", "everyone_q"),
        ("なぞなぞだすよ", "riddle_for_her"),
        ("乾杯の挨拶、何て言えばいいかしら", "words_speech"),
        ("先輩にどう言えばいいかな", "words_ask"),
        ("娘は何言われたら嬉しいんやろ", "words_glad"),
        ("趣味はって聞かれたらどう答える?", "words_answer"),
        ("眠る前のお茶でおすすめある?", "rec_tea"),
        ("浴衣何色がいいと思う?", "rec_colour"),
        ("残ったお茶、何かに使える?", "tea_leftover"),
        ("短い詩でおすすめある?", "read_short"),
        ("語尾に「ぴょん」つけて話して", "speak_like"),
        ("お守りちょうだい", "charm_please"),
        ("代わりに決めて", "decide_for_me"),
        ("うちのいいところ言って", "my_strength_q"),
        ("ごめん、ひとつ聞くけど朝ごはん食べる?", "her_do"),
        # They tell, and ask nothing.
        ("「どこ行くの?」って聞いたら", "telling_on"),
        ("母が「お茶いる?」と言った", "said_to"),
        ("店長に「潔いね」って言われた", "said_to"),
        ("らっきょうを三キロ漬けた", "amount"),
        ("手順がまだ覚えられない", "struggle"),
        ("しかもアリーナ", "addition"),
        ("しかも犬が死んだ", "remark"),
        ("来週健康診断です", "coming"),
        ("母がようやく眠りました", "at_last"),
        ("店長に怒られた", "remark"),
        ("赤い傘にした", "remark"),
        ("3年目だよ?", "remark"),
        ("前から2番目の席", "remark"),
        ("しょうゆかきなこか迷って両方にした", "remark"),
        ("隣の子が休み時間に本読んでる", "remark"),
    ],
)
def test_kinds_of_questions_and_requests(deck: CharacterDeck, text: str, kind: str) -> None:
    """A question is known by what it asks for, whatever it is about."""
    found, _ = deck.talks["botan"].hearing.kinds.asked_in(normalise(text))
    assert found is not None
    assert found.id == kind


def test_a_message_is_answered_whose_kind_is_that_of_one_sentence(deck: CharacterDeck) -> None:
    """A noun is looked for in the sentence that has the kind, whatever stands before or after it."""
    kinds = deck.talks["botan"].hearing.kinds
    # An expression that matches at the beginning of a text finds nothing after another sentence.
    said = (
        "だから帰れないんだよ",
        "違う、最後の一杯の話",
        "あの歌、知ってる?",
        "店長に「潔いね」って言われた",
        "らっきょうを三キロ漬けた",
    )
    others = [normalise(row.text) for row in learning.examples(deck.folder)[::500]]
    for kind in (kind for kind in kinds.all if kind.found.groups):
        assert any(kind.found.search(text) for text in said), kind.id
        for text, other in itertools.product(said, others):
            for both in (f"{text}。{other}", f"{other}。{text}"):
                assert isinstance(kinds.noun_of(kind, both), str)


@pytest.mark.parametrize(
    ("text", "it"),
    [
        ("店長に「潔いね」って言われた", "潔いね"),
        ("らっきょうを三キロ漬けた", "三キロ"),
        ("絵本を1日18回読んだよ", "18回"),
    ],
)
def test_quotations_and_amounts_are_said_again(deck: CharacterDeck, text: str, it: str) -> None:
    """What somebody said, and how much it was, is repeated as it stands."""
    kinds = deck.talks["botan"].hearing.kinds
    kind, _ = kinds.asked_in(normalise(text))
    assert kinds.noun_of(kind, normalise(text)) == it


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("同僚に画面共有で見せたら会議止まりました", "会議止まった"),
        ("お向かいの柴犬がくわえて走っちゃって", "くわえて走っちゃった"),
        ("かき揚げのボタンの真上なんだよな…", "かき揚げのボタンの真上な"),
        ("でも文化祭のソロ俺になった。8小節だけど", "8小節な"),
        ("ここで口を動かしに来ました", "ここで口を動かしに来た"),
        ("先生にも聞いてみます", "先生にも聞いてみる"),
        ("今日も保健室にいました", "保健室にいた"),
        ("大工を50年やった", "大工を50年やった"),
        ("では試してみます。", "試してみる"),
        ("最近走りながら本を聴いてんだ", "本を聴いてる"),
        ("今日はまだ一言も話してませんでしたけどね", "まだ一言も話してなかった"),
        ("後輩に顔が似てますねって言われた", "後輩に顔が似てますねって言われた"),
        # A request, a question to oneself, a thought, what is about her.
        ("誤字ゆるして", ""),
        ("これでよかったのかな", ""),
        ("後輩に似てるなって思った", ""),
        ("ゆりさん、今夜も綺麗だね", ""),
        ("いーなー", ""),
        ("ないしょって", ""),
        # Rude and grave words.
        ("うんこ食べた", ""),
        ("あいつ殺してやった", ""),
        ("黒人が来た", ""),
        ("先生のおしり触った", ""),
        ("あらうれしい", ""),
        ("犬がいなくなった", ""),
    ],
)
def test_the_point_of_a_message_is_said_again(deck: CharacterDeck, text: str, again: str) -> None:
    """The last clause of a message gets a neutral end, to which her own words can be added."""
    hearing = deck.talks["botan"].hearing
    assert hearing.again(normalise(text), "fallback_remark") == again


def test_a_menu_comes_once(small: kit.Server) -> None:
    """However often nothing is understood, topics are offered once, and what she is said once."""
    nonsense = [f"{sign} {sign * 2}" for sign in "qwzxvbnmkj"]
    answers = talk(small, *nonsense, conversation="menu")
    assert sum("I could talk of" in answer for answer in answers) == 1
    assert sum(LINES["fallback_open"][0] in answer for answer in answers) == 1


def test_a_kind_of_message_can_have_the_lines_of_an_intent(small: kit.Server) -> None:
    """What no intent recognises can still be met with an intent's lines."""
    assert talk(small, "I won", conversation="boast") == LINES["nod"]


def test_a_name_is_remembered(small: kit.Server) -> None:
    """A name that the user says is used in the conversation, as it was written, unless the client sends another."""
    answers = talk(small, "My name is Rob", "hello", "hello", "hello", conversation="name")
    assert "Hello, Rob." in answers[1:]
    assert "Hello, ann." in talk(small, "hello", "hello", conversation="name", name="ann")
    assert "Hello, " not in str(talk(small, "hello", "hello", conversation="nameless"))


def test_conversations_are_apart(small: kit.Server) -> None:
    """A question that is open in one conversation is not open in another."""
    opened(small, "cat", "apart one")
    assert talk(small, "nope", conversation="apart two") == LINES["fallback"]


def test_a_history_without_a_conversation_is_read_too(small: kit.Server) -> None:
    """A client that sends only its history is answered in the light of her last question."""
    history = [
        {"role": "user", "content": "my name is rob"},
        {"role": "assistant", "content": "Quite so. Have you a cat?"},
        {"role": "user", "content": "nope"},
    ]
    answer = small.request("POST", "/api/chat", {"deck": "small", "messages": history})
    assert answer.json["text"] == "Borrow mine."
    history[1]["content"] = "Quite so."
    answer = small.request("POST", "/api/chat", {"deck": "small", "messages": history})
    assert answer.json["text"] == LINES["fallback"][0]


def test_the_host_can_ask_why(small: kit.Server) -> None:
    """With `why` an answer says how it was read and chosen, without it nothing of that."""
    opened(small, "cat", "why")
    told = small.say("nope", conversation="why", deck="small", why=True)["why"]
    assert (told["question"], told["answer"], told["lines"]) == ("cat", "no", ["cat.no"])
    assert "why" not in small.say("nope", conversation="why", deck="small")
    stream = kit.Stream(small, "hello", deck="small", why=True)
    assert stream.whole()[-1][1]["why"]["lines"] == ["hello"]
    body = {"messages": [{"role": "user", "content": "hello"}], "why": 1}
    assert small.request("POST", "/api/chat", body).status == 400


def test_why_is_for_the_host_only(tmp_path: Path) -> None:
    """A client elsewhere needs the token: what a conversation remembers is nobody else's."""
    small_deck(tmp_path / "decks")
    settings = {"TSUKURIOKI_DECKS": str(tmp_path / "decks"), "TSUKURIOKI_PROXIES": "1"}
    with kit.started(tmp_path, **settings) as server:
        body = {"messages": [{"role": "user", "content": "hello"}], "why": True}
        elsewhere = {"X-Forwarded-For": "203.0.113.7"}
        assert server.request("POST", "/api/chat", body).status == 200
        refused = server.request("POST", "/api/chat", body, elsewhere)
        assert refused.status == 403
        assert "TSUKURIOKI_TOKEN" in refused.json["detail"]
        del body["why"]
        assert server.request("POST", "/api/chat", body, elsewhere).status == 200


def test_a_conversation_is_played_in_the_terminal(tmp_path: Path) -> None:
    """`precompute talk` answers each line, says why if asked, and keeps nothing."""
    small_deck(tmp_path / "decks")
    environ = kit.environment(tmp_path, TSUKURIOKI_DECKS=str(tmp_path / "decks"))
    typed = "hello\nwhat is a cog?\n\nthanks"
    played = kit.command(environ, "talk", "--deck", "small", "--why", typed=typed)
    assert played.returncode == 0, played.stderr
    said = played.stdout.splitlines()
    assert [json.loads(why)["tier"] for why in said[1::2]] == ["rules", "fallback", "rules"]
    assert said[2].startswith(LINES["fallback_question"][0])
    kept = {path.name for path in (tmp_path / "ledger").glob("**/*")}
    assert kept <= {"local.lock"}
    wrong = kit.command(environ, "talk", "--deck", "small", "--character", "nobody", typed="")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "hobb" in wrong.stderr


@pytest.mark.parametrize("seed", range(200))
def test_a_memory_is_packed_and_unpacked(seed: int) -> None:
    """Any memory fits its row and is read as it was written."""
    rng = Random(seed)
    number = rng.getrandbits
    noun = "".join(rng.choices("唐揚げaカレー焼", k=rng.randrange(10)))
    told = tuple(
        memories.Told(number(32) or 1, number(16), bool(number(1)), noun)
        for _ in range(rng.randrange(5))
    )
    memory = memories.Memory(
        turn=number(16),
        open=number(32),
        depth=number(8),
        fallbacks=number(8),
        last=number(64),
        offers=(number(32), number(32)),
        used=number(64),
        things=(number(32), number(32)),
        offered=bool(number(1)),
        telling=bool(number(1)),
        name=noun,
        told=told,
    )
    assert len(memory.packed()) == memories.SIZE <= 224
    assert memories.unpacked(memory.packed()) == memory
    assert memories.unpacked(bytes(memories.SIZE)) == memories.Memory()


@pytest.mark.parametrize(
    ("said", "kept"),
    [("I am Lena", "Lena"), (f"I am a{'ẞ' * 14}", f"a{'ß' * 14}"), ("I am Ａnna", "Anna")],
)
def test_a_name_fits_the_memory_as_it_is_written(said: str, kept: str) -> None:
    """Capitals that take more bytes than the small letters by which a name is found are not kept."""
    name = as_written(nfkc(said).lower().removeprefix("i am "), said)
    assert name == kept
    assert memories.unpacked(memories.Memory(name=name).packed()).name == name


# What a user says to open a topic, and how she answers each kind of question.
TALKS = {
    "chat": {
        "": "ひま",
        "yes_no": "うん",
        "food": "カレー食べた",
        "drink": "コーヒー",
        "did": "ゲームしてた",
        "place": "京都かな",
        "thing": "ドラマ",
        "feeling": "楽しかった",
        "time": "7時くらい",
        "choice": "どっちも",
        "open": "ギター",
    },
    "harbour": {
        "": "Thank you",
        "yes_no": "Yes, I do.",
        "food": "Fish and chips",
        "drink": "Coffee, mostly.",
        "place": "By the sea, in Norway",
        "thing": "Treasure Island",
        "feeling": "Quite happy",
        "time": "Around midnight",
        "choice": "Both",
        "open": "My brother came home.",
    },
}


@pytest.mark.parametrize(
    ("deck", "character"),
    [("chat", "botan"), ("chat", "kasho"), ("chat", "yuri"), ("harbour", "hobb")],
)
def test_she_understands_the_answers_to_what_she_asks(
    plain: kit.Server, deck: str, character: str
) -> None:
    """In a talk of twelve turns each answer to a question of hers gets one of that question's lines."""
    says = TALKS[deck]
    topics = load_character_deck(kit.ROOT / "data" / "decks" / deck).talks[character].topics
    about, asks = {"deck": deck, "character": character, "conversation": f"twelve {character}"}, ""
    asked = []
    for _ in range(12):
        text = says[topics[asks].expects if asks else ""]
        why = plain.say(text, why=True, **about)["why"]
        if asks:
            asked.append(asks)
            assert why["lines"][0].partition(".")[0] == asks, (text, why)
            assert why.get("answer", "other") not in ("other", "unknown"), (text, why)
        assert why["tier"] == "rules", (text, why)
        asks = why.get("asks", "")
    assert len(asked) >= 5
    assert len(set(asked)) == len(asked)


def _without(*path: Any) -> Callable[[dict[str, Any]], None]:
    def change(files: dict[str, Any]) -> None:
        value = files
        for part in path[:-1]:
            value = value[part]
        del value[path[-1]]

    return change


def _with(value: Any, *path: Any) -> Callable[[dict[str, Any]], None]:
    def change(files: dict[str, Any]) -> None:
        at: Any = files
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value

    return change


RETELL = ("conversation.json", "retell")
TOPIC = ("topics.json", "hobb", 0)
BACK = ("topics.json", "hobb", 1, "answers", "no")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_with("weather", *TOPIC, "expects"), "weather"),
        (_with(["a", "b"], *TOPIC, "options"), "options"),
        (_with(["What?"], *TOPIC, "answers", "maybe"), "maybe"),
        (_with("Sup per", *TOPIC, "id"), "small letters"),
        (_with("cat", *TOPIC, "id"), "twice"),
        (_with([{"text": "And?", "asks": "dog"}], *TOPIC, "opener"), "dog"),
        (_with([{"text": "And?", "ask": "cat"}], *TOPIC, "opener"), "ask"),
        (_with(["Hello {nobody}."], "lines.json", "hobb", "hello"), "nobody"),
        (_with(["Hello."], "lines.json", "hobb", "helo"), "helo"),
        (_with(["sneeze"], "conversation.json", "weak"), "sneeze"),
        (_with(["("], "conversation.json", "answers", "yes"), "not an expression"),
        (_with(["x"], "conversation.json", "answers", "perhaps"), "perhaps"),
        (_with([], "conversation.json", "kind"), "kind"),
        (_without("conversation.json", "kinds", 0, "expressions"), "counsel"),
        (_with([], "conversation.json", "kinds", 0, "expressions"), "counsel"),
        (_with(["sneeze"], "conversation.json", "greetings"), "sneeze"),
        (_with({"sneeze": []}, "conversation.json", "gives_way"), "sneeze"),
        (_with({}, "conversation.json", "direct", "neither"), "neither"),
        (_with(["("], "conversation.json", "direct", "sum", "asked"), "not an expression"),
        (_with("x", "tones.json", "cells"), "damaged"),
        (_without("lines.json", "hobb", "tone_low"), "low"),
        (_with([], "things.json", "hobb", 0, "words"), "no words"),
        (_with(["Ah."], "things.json", "hobb", 0, "lines", "whence"), "whence"),
        (_without("things.json", "hobb", 0, "lines", "plain"), "plain"),
        (_with("lamp", "things.json", "hobb", 1, "id"), "once"),
        (
            _with(["gull"], "noun_groups.json", "rest", "words"),
            "'gull' is in the group 'beast' too",
        ),
        (_with(["A {noun}."], "noun_groups.json", "beast", "lines", "hobb"), "noun"),
        (_with([], "noun_groups.json", "beast", "lines", "nobody"), "nobody"),
        (_with("gull", "noun_groups.json", "beast", "words"), "words"),
        (_with({}, *RETELL, "formz"), "formz"),
        (_with(["fallback_plase"], *RETELL, "instead_of"), "did you mean 'fallback_place'"),
        (_with({"^here i ": "you "}, *RETELL, "forms"), "retell forms: needs 1 group(s), not 0"),
        (_with({"^(here) (i) ": "you "}, *RETELL, "forms"), "needs 1 group(s), not 2"),
        (_with({"(i)": 3}, *RETELL, "forms"), "retell forms: (i): expected a text, not 3"),
        (_with(["^(here)"], *RETELL, "plain"), "retell plain: needs 0 group(s), not 1"),
        (_with([" that .+$"], *RETELL, "opening"), "retell opening: needs 1 group(s), not 0"),
        (_with({"slept": 5}, *RETELL, "ends"), "retell ends: slept: expected a text, not 5"),
        (_with(["slept"], *RETELL, "ends"), "retell ends: expected an object"),
    ],
)
def test_a_wrong_file_is_blamed(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], told: str
) -> None:
    """An error names the file and what is wrong in it."""
    with pytest.raises(DeckError) as caught:
        load_character_deck(small_deck(tmp_path, change))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_without(*TOPIC, "answers", "back"), "'back'"),
        (_with(["Only {it}."], *TOPIC, "answers", "food"), "fits always"),
        (_with([{"text": "Ask.", "asks": "supper"}], *BACK), "lead to each other"),
        (_without("lines.json", "hobb", "fallback_again"), "fallback_again"),
        (_without("lines.json", "hobb", "recall_exam"), "recall_exam"),
        (_without("lines.json", "hobb", "fallback_say"), "fallback_say"),
        (_without("lines.json", "hobb", "fallback_go_on"), "fallback_go_on"),
        (_without("lines.json", "hobb", "long_mixed"), "long_mixed"),
        (_without("lines.json", "hobb", "thanks"), "thanks: has no lines"),
        (_with(["A rude line."], *TOPIC, "answers", "no"), "voice"),
        (_with(["So {it}."], "lines.json", "hobb", "retold_sleept"), "is never said"),
        (_with(["So it is."], "lines.json", "hobb", "retold"), "needs the slot {it} in each line"),
        (_with(["{it}, {other}."], "lines.json", "hobb", "retold"), "needs the slot {it}"),
    ],
)
def test_what_a_conversation_lacks_is_found(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], told: str
) -> None:
    """`precompute check` names what is missing or leads in circles; the deck as it is lacks nothing."""
    faulty = {
        str(found) for found in check(load_character_deck(small_deck(tmp_path / "a", change)))
    }
    whole = {str(found) for found in check(load_character_deck(small_deck(tmp_path / "b")))}
    assert any(told in found for found in faulty - whole)
    assert not any("error" in found for found in whole)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("お茶を淹れてもらいに行っていい？", "plain"),
        ("それって失敗作ってこと？", "plain"),
        ("焼きそばパン、購買？", "plain"),
        ("焼きそばパン好き？", "yes"),
        ("猫、飼ってるの？", "yes"),
        ("ほんとに王様なの？", "yes"),
    ],
)
def test_only_who_asks_whether_she_likes_it_hears_that(
    deck: CharacterDeck, text: str, kind: str
) -> None:
    """「大好き」 answers whether she likes or has a thing, and no other question about it."""
    assert deck.talks["botan"].hearing.asked(normalise(text)) == kind


@pytest.mark.parametrize(
    ("text", "goes_on"),
    [
        ("何色?", True),
        ("いつから?", True),
        ("へえ", True),
        ("かわいい", True),
        ("桃缶ってどこまで冷やす?", False),
        ("教師として正しかったでしょうか", False),
        ("「はじめてのマフィン」だよ!?", False),
        ("やば、ネーム描いてたら9時だ", False),
    ],
)
def test_only_what_names_nothing_goes_on_about_her_thing(
    deck: CharacterDeck, text: str, goes_on: bool
) -> None:
    """A short question or remark is about the thing that she named last, unless it has a noun of its own."""
    assert deck.talks["yuri"].hearing.follows(normalise(text)) is goes_on


@pytest.mark.parametrize(
    ("text", "thing"),
    [
        ("どんな花が好き?", "oshibana"),
        ("これ造花では", ""),
        ("それ本当なんですかね", ""),
        ("最近読んだ本は?", "todainohon"),
    ],
)
def test_a_part_of_a_word_names_no_thing(deck: CharacterDeck, text: str, thing: str) -> None:
    """Her flower is not in an artificial one, nor her book in what is true."""
    named = [one.id for one in deck.talks["yuri"].things.named(normalise(text))]
    assert named == ([thing] if thing else [])
