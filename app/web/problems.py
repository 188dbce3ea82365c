"""Problem documents (RFC 9457), and what a person reads in them, in the client's language.

Errors are raised with their Japanese sentence, which clients of the first game expect.
`sentences.json` has the others: language → Japanese sentence → sentence, with {number} for a number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import orjson
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

PROBLEM = "application/problem+json"
JAPANESE = "ja"
# For errors that have no sentence of their own.
SENTENCE = "うまく受け取れませんでした。"


def problem_body(status: int, title: str, detail: str, sentence: str) -> bytes:
    """A problem document; `sentence` is what a player reads."""
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return orjson.dumps(
        {
            "type": f"tag:tsukurioki,2026:{slug}",
            "title": title,
            "status": status,
            "detail": detail,
            "error": sentence,
        }
    )


@lru_cache(maxsize=1)
def translations() -> Mapping[str, Mapping[str, str]]:
    """The sentences by language and Japanese sentence."""
    table: Mapping[str, Mapping[str, str]] = orjson.loads(
        Path(__file__).with_name("sentences.json").read_bytes()
    )
    return table


def language_for(header: str | None, default: str) -> str:
    """The language of a sentence, from a request's Accept-Language."""
    known = (JAPANESE, *translations())
    fallback = default if default in known else "en"
    if not header:
        return fallback
    # `best_match` would prefer a later language to a region (en-GB) of an earlier one.
    wanted = parse_accept_header(header, LanguageAccept)
    primary = (name.replace("_", "-").split("-")[0].lower() for name, q in wanted if q > 0)
    return next((name for name in primary if name in known), fallback)


def sentence_in(language: str, japanese: str) -> str:
    """The sentence of an error in a language; one without a translation stays as it is."""
    if language == JAPANESE:
        return japanese
    found = translations()[language].get(re.sub(r"\d+", "{number}", japanese), japanese)
    number = re.search(r"\d+", japanese)
    return found.replace("{number}", number.group() if number else "")
