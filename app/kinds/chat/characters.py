"""The characters of a deck: names, voice and persona (`characters.json`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from app.kinds.chat.files import ExpressionReader
from app.kinds.chat.message import DirectAddress, address, mention
from app.kinds.expressions import Expression, compiled

CHARACTERS_FILE = "characters.json"
# The members of `characters.json`, with what they mean; `docs/your-own-deck.md` lists them.
MEMBERS: Mapping[str, str] = {
    "id": "small letters and digits, the name in `lines.json`",
    "name": "the name that people see",
    "about": "a sentence for people",
    "persona": "the system prompt of a model that speaks as the character",
    "names": "what users call the character; the name if it is missing",
    "voice": "`allowed_endings` and `forbidden`: expressions of which every line must match one, and none",
    "leads": "intents → short words that open an answer to a message with several intents",
    "age": "for whoever writes lines; no program reads it",
}
_VOICE = ("allowed_endings", "forbidden", "first_person", "calls_user")


class Voice(NamedTuple):
    """A way of speaking: one of `endings` must match a line, none of `forbidden` may."""

    endings: tuple[Expression, ...]
    forbidden: tuple[Expression, ...]

    @property
    def told(self) -> str:
        """These rules as a large model is told them; empty if there are none."""
        rules = (
            ("each line must match one of", self.endings),
            ("no line may contain a match of any of", self.forbidden),
        )
        texts = (
            f"{rule}: {'  '.join(one.pattern for one in ones)}" for rule, ones in rules if ones
        )
        told = "; ".join(texts)
        return f"Lines are refused by these regular expressions: {told}" if told else ""


class Character(NamedTuple):
    """A character. `persona` is the system prompt for a model, `called` recognises her names.

    `mention` finds the names in a message. `leads` are short words by intent, which open an answer
    to a message with several intents.
    """

    id: str
    name: str
    about: str
    persona: str
    names: tuple[str, ...]
    voice: Voice
    leads: Mapping[str, str]
    called: DirectAddress
    mention: Expression


def load_characters(folder: Path, calls: tuple[str, ...]) -> tuple[Character, ...]:
    """Read and check a deck's `characters.json`; `calls` are words that call somebody. Raises DeckError."""
    reader = ExpressionReader(folder, CHARACTERS_FILE)
    found: dict[str, Character] = {}
    for number, raw in enumerate(reader.items(reader.value, ""), 1):
        character = _load_character(reader, raw, f"character {number}", calls)
        if character.id in found:
            raise reader.fail(f"character {number}", f"the id {character.id!r} stands twice")
        found[character.id] = character
    if not found:
        raise reader.fail("", "there is no character")
    return tuple(found.values())


def _load_character(
    reader: ExpressionReader, raw: Any, place: str, calls: tuple[str, ...]
) -> Character:
    reader.only(raw, place, MEMBERS)
    name = reader.member(raw, "name", str, place)
    voice = reader.member(raw, "voice", dict, place)
    reader.only(voice, f"{place} voice", _VOICE)
    names = reader.strings(raw.get("names", [name]), f"{place} names")
    leads = reader.part(raw, "leads")
    return Character(
        id=reader.member(raw, "id", str, place),
        name=name,
        about=str(raw.get("about", "")),
        persona=reader.member(raw, "persona", str, place),
        names=names,
        voice=Voice(
            reader.expressions(voice.get("allowed_endings", []), f"{place} allowed_endings"),
            reader.expressions(voice.get("forbidden", []), f"{place} forbidden"),
        ),
        leads={intent: reader.member(leads, intent, str, f"{place} leads") for intent in leads},
        called=address(names, calls),
        mention=compiled(mention(names)),
    )
