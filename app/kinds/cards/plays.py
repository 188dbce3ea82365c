"""Parses plays as clients send them, for every route and for recorded files.

A body names cards and phrases in one of a few forms, and may name a variant:

    GAME    {"selectedPairs": [{"conditionCard": {"id": …}, "selectedPoem": {"id": …}}, …]}, as the
            card game sends it; each object may be replaced by its id
    HAND    {"hand": [{"card": …, "phrase": …}, …]}, as the ledger keeps it
    HUNG    the same, with the error messages of the wall's API
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from app.errors import RequestError
from app.kinds.cards.deck import Deck, squeeze
from app.store.key import Query

# The greatest number of a variant that a client may ask for.
MAX_VARIANT = 999
_MOST_PICKS = 32


class Play(NamedTuple):
    """A request to the ladder: a legal play, and the number of one of its answers."""

    query: Query
    variant: int = 0


class PlayForm(NamedTuple):
    """The form in which a body names a play.

    `member` is the name of the list of picks; `card` and `phrase` are the members of a pick, which
    are objects with an id if `whole` is set. `bad_list` and `bad_pick` replace more exact messages,
    `bad_variant` is the title of an error.
    """

    member: str
    card: str
    phrase: str
    whole: bool = False
    bad_list: str = ""
    bad_pick: str = ""
    bad_variant: str = "Bad variant"

    def read(self, deck: Deck, body: object) -> Play:
        """Parse a body. Raises RequestError (400), which says what is wrong."""
        query = self._usual(deck, body)
        picks = self._picks(body) if query is None else []
        variant = read_variant(body.get("variant", 0) if isinstance(body, dict) else 0, self)
        return Play(query or deck.legal_query(picks), variant)

    def _usual(self, deck: Deck, body: Any) -> Query | None:
        """Parse quickly; None if anything is wrong or unusual, which is rare."""
        card, phrase = self.card, self.phrase
        try:
            if self.whole:
                picks = [(pair[card]["id"], pair[phrase]["id"]) for pair in body[self.member]]
            else:
                picks = [(pair[card], pair[phrase]) for pair in body[self.member]]
        except (KeyError, TypeError):
            return None
        return deck.known_play(picks)

    def _picks(self, body: object) -> list[tuple[str, str]]:
        picks = _object(body, self.bad_list).get(self.member)
        if not isinstance(picks, list):
            raise _bad(self.bad_list or f"{self.member!r} must be a list")
        if len(picks) > _MOST_PICKS:
            raise _bad(self.bad_list or f"{self.member!r} has {len(picks)} items")
        return [self._pick(_object(pick, self.bad_pick)) for pick in picks]

    def _pick(self, pick: Mapping[str, object]) -> tuple[str, str]:
        return self._id(pick, self.card), self._id(pick, self.phrase)

    def _id(self, pick: Mapping[str, object], name: str) -> str:
        value, place, text = pick.get(name), self.member, name
        if self.whole and isinstance(value, dict):
            value, place, text = value.get("id"), f"{place} {name}", "id"
        elif self.whole and not isinstance(value, str):
            raise _bad(f"{place}: {name!r} must be an object with an id, or an id")
        if not isinstance(value, str):
            raise _bad(self.bad_pick or f"{place}: {text!r} must be a text")
        return value


GAME = PlayForm("selectedPairs", "conditionCard", "selectedPoem", whole=True)
HAND = PlayForm("hand", "card", "phrase")
HUNG = HAND._replace(
    bad_list="'hand' must be a list of cards with their phrases",
    bad_pick="each item of 'hand' must name a card and a phrase",
    bad_variant="Bad request",
)


def read_variant(value: object, form: PlayForm = HAND) -> int:
    """Check the number of a variant. Raises RequestError (400)."""
    if type(value) is not int or not 0 <= value <= MAX_VARIANT:
        detail = f"'variant' is a whole number from 0 to {MAX_VARIANT}"
        raise RequestError(400, form.bad_variant, detail)
    return value


def recorded_query(deck: Deck, line: Mapping[str, Any]) -> Query | None:
    """The play of a line of the ledger or of the game; None if it is not one of this deck."""
    form = GAME if isinstance(line.get(GAME.member), list) else HAND
    try:
        return form.read(deck, {form.member: line.get(form.member)}).query
    except RequestError:
        return None


def _object(value: object, fault: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _bad(fault or "expected a JSON object")
    return value


def _bad(detail: str) -> RequestError:
    return RequestError(400, "Bad request", detail)


def written_play(deck: Deck, text: str) -> Query:
    """The play whose phrases stand in a text, as a game puts them into a prompt for a model.

    If more phrases than those of a hand are there, as in an example, the last ones count: a prompt
    ends with what is asked. Raises RequestError (400).
    """
    squeezed = squeeze(text)
    found = [
        (squeezed.rfind(written), *ids)
        for ids, written in deck.squeezed_phrases.items()
        if written in squeezed
    ]
    last = sorted(found)[-deck.hand_size :]
    if len(last) < deck.hand_size:
        detail = (
            f"the prompt has {len(last)} of the {deck.hand_size} phrases of a hand of {deck.id!r}"
        )
        raise _bad(detail)
    return deck.legal_query([(card, phrase) for _, card, phrase in last])
