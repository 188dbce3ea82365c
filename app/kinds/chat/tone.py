"""The tone of a message: what kind of news it is (good, hurt, worried, …).

A message that no intent answers is answered by its tone. A classifier has learned the tones, see
`app.kinds.chat.classifier`; a deck's `conversation.json` groups them into feelings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.kinds.chat.classifier import Classifier
from app.kinds.chat.heard import Heard
from app.kinds.chat.hearing import MIXED, Hearing
from app.kinds.chat.lines import LONG, TONE
from app.kinds.chat.message_kinds import sentences_of
from app.kinds.chat.topics import number

# Messages after one with a tone for which tones of the same feeling are likelier.
_GOES_ON = 1
# Characters of a message of a few words, whose tone must be clear.
_BRIEF = 14
# Characters of a message from which its last sentences count more for the tone than the whole.
_LONG = 40
# Characters of a message that is a long story, which has lines of its own.
STORY = 80


class Tones:
    """Finds the tone of messages, in the light of the one before."""

    def __init__(self, hearing: Hearing, classifier: Classifier) -> None:
        self._hearing = hearing
        self._classifier = classifier
        self._by_number = {number(tone): tone for tone in classifier.classes}

    def heard(self, heard: Heard, text: str, sentences: Sequence[str]) -> Heard:
        """`heard` with the tone of its message; `sentences` are those besides the one that asks."""
        memory, feelings = heard.memory, self._hearing.feelings
        found = list(self._found(heard, text, sentences))
        if not found and len(text) >= STORY and feelings:
            return heard._replace(tone=MIXED, toned=(LONG + MIXED,))
        if not found:
            return heard._replace(memory=memory._replace(since=memory.since + 1))
        tone = found[0]
        toned: tuple[str, ...] = (TONE + tone,)
        if len(text) >= STORY and feelings:
            felt = {feelings.get(one, MIXED) for one in found}
            toned = (LONG + (felt.pop() if len(felt) == 1 else MIXED), *toned)
        memory = memory._replace(tone=number(tone), since=0)
        return heard._replace(memory=memory, tone=tone, toned=toned)

    def _found(self, heard: Heard, text: str, sentences: Sequence[str]) -> Iterator[str]:
        """The tones of a message and its sentences, the one that counts most first."""
        memory = heard.memory
        # Who was hurt a moment ago is hardly glad now.
        before = self._by_number.get(memory.tone, "") if memory.since < _GOES_ON else ""
        likely = self._hearing.alike(before)
        for part in _parts(heard, text, sentences):
            best = self._classifier.best(part, likely=likely)
            # A few words must be clear.
            if best and (best[1] or len(part) > _BRIEF):
                yield best[0]


def _parts(heard: Heard, text: str, sentences: Sequence[str]) -> list[str]:
    """What of a message can have a tone, in the order in which it counts."""
    if heard.kind and (heard.kind.asks or heard.kind.questions):
        # A question has no tone; what was said beside it may have one.
        return list(reversed(sentences)) if len(sentences_of(text)) > len(sentences) else []
    read = [text, *reversed(sentences)] if len(sentences) > 1 else [text]
    if len(text) > _LONG:
        # Who tells a long story feels as its end does.
        read.append(read.pop(0))
    return read
