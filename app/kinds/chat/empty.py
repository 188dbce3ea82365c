"""Replies that keep to every rule of the gate and say nothing.

A small model often answers with backchannel (うんうん、そうなんだね), with politeness, or with the
user's own words. What is left of a reply without such words, and without what the user said, is
what it says. The words are data of the deck (`backchannel` and `polite` of its rules).
"""

from __future__ import annotations

from app.kinds.chat.deck import LineRules
from app.kinds.chat.gate import parts
from app.kinds.chat.message import normalise


def says_nothing(text: str, said: str, rules: LineRules) -> str:
    """Why a reply to `said` says nothing: backchannel, politeness or repeats; empty if it does not."""
    words = sorted((*rules.backchannel, *rules.polite), key=len, reverse=True)
    known = normalise(said) if rules.script == "ja" else parts(said)
    taken: set[str] = set()
    repeats = False
    for part in parts(text):
        if rules.script == "ja":
            left = _stripped(part, words, taken)
        else:
            left = "" if part in words else part
            taken.add(part)
        if left and left not in known:
            return ""
        repeats = repeats or bool(left)
    if repeats:
        return "repeats"
    return "politeness" if taken & set(rules.polite) else "backchannel"


def _stripped(part: str, words: list[str], taken: set[str]) -> str:
    """A part without the words at its two ends, which `taken` collects.

    Japanese does not separate words. A single character is a particle at the end, and may be half
    of a word at the beginning. `words` are sorted, the longest first.
    """
    while part:
        head = next((word for word in words if len(word) > 1 and part.startswith(word)), "")
        end = next((word for word in words if part.endswith(word)), "")
        if not head and not end:
            break
        longer = head if len(head) >= len(end) else end
        part = part.removeprefix(head) if longer is head else part.removesuffix(end)
        taken.add(longer)
    return part
