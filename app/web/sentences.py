"""What a person reads in a problem document, in the client's language.

Errors are raised with their Japanese sentence, which clients of the first game expect; `TABLE` has
the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

JAPANESE = "ja"
SENTENCE = "うまく受け取れませんでした。"
# By the Japanese sentence, with {number} for a number: in English and French.
TABLE: Mapping[str, tuple[str, str]] = {
    SENTENCE: ("That did not arrive as it should.", "Cela n’est pas arrivé comme il faut."),
    "うまく読み取れませんでした。": (
        "That could not be read.",
        "Cela n’a pas pu être lu.",
    ),
    "カードは{number}枚、選んでください。": (
        "Please choose {number} card(s).",
        "Veuillez choisir {number} carte(s).",
    ),
    "同じ分類のカードが重なっています。": (
        "Two of the cards are of the same category.",
        "Deux des cartes sont de la même catégorie.",
    ),
    "見つからないカードがあります。": (
        "One of the cards is not known.",
        "L’une des cartes est inconnue.",
    ),
    "見つからない言い換えがあります。": (
        "One of the phrases is not known.",
        "L’une des tournures est inconnue.",
    ),
    "作り置きの手札は、まだありません。": (
        "No hands have been prepared yet.",
        "Aucune main n’a encore été préparée.",
    ),
    "いまは、ことばを用意できません。": (
        "There are no words for this just now.",
        "Les mots manquent pour le moment.",
    ),
    "この答えは、ありません。": ("There is no such answer.", "Cette réponse n’existe pas."),
    "合言葉が要ります。": ("A password is needed.", "Un mot de passe est nécessaire."),
    "少し待ってから、もう一度お願いします。": (
        "Please wait a little, and try again.",
        "Veuillez patienter un peu, puis réessayer.",
    ),
}
_PLACES = {"en": 0, "fr": 1}
LANGUAGES = (JAPANESE, *_PLACES)


def language_for(header: str | None, default: str) -> str:
    """The language of a sentence, from a request's Accept-Language."""
    fallback = default if default in LANGUAGES else "en"
    if not header:
        return fallback
    # `best_match` would prefer a later language to a region (en-GB) of an earlier one.
    wanted = parse_accept_header(header, LanguageAccept)
    primary = (name.replace("_", "-").split("-")[0].lower() for name, q in wanted if q > 0)
    return next((name for name in primary if name in LANGUAGES), fallback)


def sentence_in(language: str, japanese: str) -> str:
    """The sentence of an error in a language of `LANGUAGES`; one without a row stays as it is."""
    found = TABLE.get(re.sub(r"\d+", "{number}", japanese))
    if language == JAPANESE or found is None:
        return japanese
    number = re.search(r"\d+", japanese)
    return found[_PLACES[language]].replace("{number}", number.group() if number else "")
