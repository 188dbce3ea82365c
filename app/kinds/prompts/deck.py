"""Decks of prompts: which requests are recorded, what is in their keys, how they are replayed.

A deck is a folder with `deck.json`; every member but `kind` and `id` may be missing:

    {"kind": "prompts", "id": "menu", "name": "Menu",
     "mode": "replay",
     "models": ["gpt-5-mini"],
     "upstream": {"openai": "https://api.openai.com/v1"},
     "key": {"model": true, "options": ["seed"], "normalise": ["width"], "vary": ["20\\\\d\\\\d-\\\\d\\\\d-\\\\d\\\\d"]},
     "redact": ["[\\\\w.]+@[\\\\w.]+"],
     "answers": "order",
     "pace": "recorded",
     "near": 0.9,
     "miss": {"status": 404, "keep": true},
     "checks": {"characters": [80, 300], "schema": {}, "must": [], "must_not": [], "script": ["Latin"]}}

Beside it there may be `template.json` (see `app.kinds.prompts.template`) and `prompts.jsonl`, whose
prompts are cooked. The deck `recorded` exists without a folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.kinds.expressions import ExpressionError, compiled
from app.kinds.prompts.gate import NO_CHECKS, Checks, validator
from app.kinds.prompts.key import DEFAULT_RULES, KEY_OPTIONS, OPTIONS, STEPS, KeyRules
from app.kinds.prompts.template import PromptTemplate, load_template
from app.kinds.reading import DECK_FILE, Reader, shorten
from app.settings import PROMPT_MODES

RECORDED = "recorded"
DIALECTS = ("openai", "ollama", "gemini")
ORDERS = ("order", "random")
# Statuses of a miss: those of clients' errors that their libraries do not repeat.
MISS_STATUSES = (400, 404, 410, 422, 424)
# The members of `deck.json`, with what they mean; `docs/your-own-deck.md` lists them.
MEMBERS: Mapping[str, str] = {
    "kind": "`prompts`",
    "id": "small letters, digits and hyphens; the same as the folder's name. Clients name it as their model",
    "name": "the name that people see; the id if it is missing",
    "mode": f"one of {', '.join(PROMPT_MODES)}; `replay` if it is missing",
    "models": "further names of models for which the deck answers",
    "upstream": f"addresses of {', '.join(DIALECTS)} to record from, instead of the settings'",
    "key": "what of a request must be the same: `model`, `options`, `normalise`, `vary`",
    "redact": "expressions that are written as `***`",
    "answers": f"which of several replies to one request comes: {' or '.join(ORDERS)}",
    "seed": "of the random order",
    "pace": "of streams: `at once`, `recorded`, or how many times as fast",
    "near": "how like another prompt must be, from 0 to 1, for its answer; missing: the same only",
    "miss": f"`status` of a request without an answer ({', '.join(map(str, MISS_STATUSES))}), and `keep` "
    "for whether its text is kept",
    "checks": "`characters`, `schema`, `must`, `must_not`, `script`: what a reply must be to be kept",
}
_SCRIPT = re.compile(r"[A-Z][a-z]+(?:_[A-Z][a-z]+)*")


@dataclass(frozen=True)
class Miss:
    """The error for a request of which nothing is recorded, and whether the ledger keeps its text."""

    status: int = 404
    keep: bool = False


@dataclass(frozen=True)
class PromptDeck:
    """A deck of prompts.

    `models` are names of models that the deck answers for, besides its own id. `upstreams` are
    addresses by dialect, in place of the settings'. `answers` says which of several answers to one
    request is replayed: in order for each conversation, then the last; or at random by `seed`.
    `pace` is how many times as fast as recorded a stream is replayed, 0 for at once. `near` is how
    like another prompt must be, from 0 to 1, for its answer to be given; None: never, and a
    template's prompts must be spelled as it is.
    """

    id: str
    name: str = ""
    mode: str = "replay"
    models: tuple[str, ...] = ()
    upstreams: Mapping[str, str] = field(default_factory=dict)
    rules: KeyRules = DEFAULT_RULES
    answers: str = "order"
    seed: int = 0
    pace: float = 0.0
    near: float | None = None
    miss: Miss = Miss()
    checks: Checks = NO_CHECKS
    template: PromptTemplate | None = None
    folder: Path | None = None

    kind = "prompts"
    coverage = None


def load_prompt_deck(folder: Path) -> PromptDeck:
    """Read and check a deck of prompts. Raises DeckError."""
    reader = _Reader(folder, DECK_FILE)
    root = reader.value
    reader.only(root, "", MEMBERS)
    deck_id = reader.deck_id(root)
    upstreams = reader.inner(root, "upstream", DIALECTS)
    for dialect, url in upstreams.items():
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise reader.fail("upstream", f"{dialect!r} must be an address, http://… or https://…")
    miss = reader.inner(root, "miss", ("status", "keep"))
    return PromptDeck(
        id=deck_id,
        name=reader.given(root, "name", str, deck_id),
        mode=reader.one_of(root.get("mode", PROMPT_MODES[0]), PROMPT_MODES, "mode"),
        models=reader.strings(root.get("models", []), "models"),
        upstreams={dialect: url.rstrip("/") for dialect, url in upstreams.items()},
        rules=_rules(reader, root),
        answers=reader.one_of(root.get("answers", ORDERS[0]), ORDERS, "answers"),
        seed=reader.given(root, "seed", int, 0),
        pace=_pace(reader, root.get("pace", "at once")),
        near=reader.share(root, "near"),
        miss=Miss(
            reader.one_of(miss.get("status", 404), MISS_STATUSES, "status"),
            reader.given(miss, "keep", bool, False, "miss"),
        ),
        checks=_checks(reader, root),
        template=load_template(folder),
        folder=folder,
    )


class _Reader(Reader):
    """Reads members that may be missing. All methods raise DeckError."""

    def inner(self, root: Any, name: str, known: tuple[str, ...]) -> dict[str, Any]:
        """An object with known members; empty if it is missing."""
        value: dict[str, Any] = root.get(name, {})
        self.only(value, name, known)
        return value

    def share(self, root: Any, name: str) -> float | None:
        """A number from 0 to 1, or None."""
        value = root.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise self.fail(name, f"expected a number from 0 to 1, not {shorten(repr(value))}")
        return float(value)

    def patterns(self, value: Any, place: str) -> tuple[str, ...]:
        """A list of expressions of RE2."""
        texts = self.strings(value, place)
        for number, text in enumerate(texts, 1):
            try:
                found = compiled(text)
            except ExpressionError as error:
                raise self.fail(f"{place} {number}", str(error)) from None
            if found.search(""):
                raise self.fail(f"{place} {number}", "matches what is empty")
        return texts

    def among(self, value: Any, place: str, known: Iterable[str]) -> tuple[str, ...]:
        """A list of known names."""
        names = self.strings(value, place)
        if strange := [name for name in names if name not in known]:
            raise self.fail(place, f"no such name: {strange[0]!r}; there is {', '.join(known)}")
        return names


def _rules(reader: _Reader, root: Any) -> KeyRules:
    key = reader.inner(root, "key", ("model", "options", "normalise", "vary"))
    options = KEY_OPTIONS
    if "options" in key:
        options = frozenset(reader.among(key["options"], "key: options", OPTIONS))
    return KeyRules(
        model=reader.given(key, "model", bool, True, "key"),
        options=options,
        steps=reader.among(key.get("normalise", []), "key: normalise", STEPS),
        vary=reader.patterns(key.get("vary", []), "key: vary"),
        redact=reader.patterns(root.get("redact", []), "redact"),
    )


def _pace(reader: _Reader, value: Any) -> float:
    named = {"at once": 0.0, "recorded": 1.0}
    if isinstance(value, str) and value in named:
        return named[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1000:
        fault = "expected 'at once', 'recorded', or how many times as fast (a number up to 1000)"
        raise reader.fail("pace", f"{fault}, not {shorten(repr(value))}")
    return float(value)


def _checks(reader: _Reader, root: Any) -> Checks:
    checks = reader.inner(root, "checks", ("characters", "schema", "must", "must_not", "script"))
    read: dict[str, Callable[[Any], Any]] = {
        "characters": lambda value: reader.range(value, "checks: characters"),
        "schema": lambda value: _schema(reader, value),
        "must": lambda value: reader.patterns(value, "checks: must"),
        "must_not": lambda value: reader.patterns(value, "checks: must_not"),
        "script": lambda value: _scripts(reader, value),
    }
    return Checks(**{name: read[name](value) for name, value in checks.items()})


def _schema(reader: _Reader, value: Any) -> Any:
    if not isinstance(value, dict):
        raise reader.fail("checks: schema", "expected a JSON schema, an object")
    try:
        validator(value)
    except ValueError as error:
        raise reader.fail(
            "checks: schema", f"is no JSON schema: {str(error).splitlines()[0]}"
        ) from None
    except ModuleNotFoundError:
        fault = "needs jsonschema-rs; run: pip install 'tsukurioki[tools]'"
        raise reader.fail("checks: schema", fault) from None
    return value


def _scripts(reader: _Reader, value: Any) -> tuple[str, ...]:
    names = reader.strings(value, "checks: script")
    for name in names:
        try:
            known = bool(_SCRIPT.fullmatch(name) and compiled(rf"\p{{{name}}}"))
        except ExpressionError:
            known = False
        if not known:
            raise reader.fail("checks: script", f"no such script: {name!r}; as in Hiragana, Latin")
    return names
