"""How the intents of a message are recognised.

A message is normalised and cut into clauses; each intent's expressions are searched in each clause,
where `^` and `$` are the ends of the clause. The leftmost match counts, and of several that begin
there the longest. If a veto of `not` matches in the clause, the intent is not recognised there; if
one of `not_message` matches anywhere, the intent is not recognised at all. If matches of different
intents overlap, the longer one counts, then the one with the higher `priority`. An intent that may
be about life and death (`grave`, `doubt`) counts before all others, is searched in long messages
too, and in the whole message besides its clauses: 「もう疲れた、終わりにしたい」 is one thing. Each
intent is given once. Expressions are searched in linear time, see `app.kinds.expressions`.

The deck's `asides` are what a message can have besides its content: interjections, backchannels,
laughter. They are taken off a clause before it is searched, and an intent that is an `aside` (うん,
え, ごめん, www) is recognised only if the message says nothing else. Intents about life and death are
searched in the message as it stands.

Then a classifier reads the content, see `app.kinds.chat.classifier`, and after it another one that
has learned the narrower intents by example. Their intent replaces the one that expressions found
only if the content contradicts that one.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Container, Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from app.kinds.chat.classifier import Classifier
from app.kinds.chat.intents import Intent, Intents, Possible
from app.kinds.chat.message import (
    LONG_MESSAGE,
    PARTING,
    Asides,
    clauses,
    closed_up,
    in_hiragana,
    joined,
    normalise,
    pieces,
)
from app.kinds.chat.suspects import Suspects
from app.kinds.expressions import Expression

# Clauses in which the same intent is searched for at most: it is given once anyway.
_HITS = 16
# Further matches in a clause that has one already, after which the search continues behind the
# clause: starting it again costs less than so many matches.
_MORE = 8
# Characters of the longest message that is read as small talk, unless the deck says otherwise.
LONGEST = 60
# Longer messages are stories, which the classifier has not seen; it reads their sentences.
_LONGEST_LEARNED = 80
# How much surer it must be of danger in one of several sentences.
_OF_MANY = 0.5
# What is longer says more than one thing, of which a narrow intent is a part at most.
_LONGEST_NARROW = 40
# Characters of a message that means something only after others (ひとり, もういいや).
_FEW_WORDS = 8
# Of the sentences of a long message in which an expression finds danger, so many are read.
_READ = 16
# How much surer the classifier must be that something grave is harmless than that a doubtful thing is.
_SURER = 1.5
# The share of the content that an expression must have matched to be all that was said.
_MOST = 0.75
# An intent of more weight (an emergency, the user's birthday) never gives way to one by example.
_FIRM = 5.0
# From this weight on an intent is about a danger of another kind, and has lines for it.
_URGENT = 7.0


class Hit(NamedTuple):
    """An intent found in a message, with offsets into the normalised text.

    `learned` is whether the classifier found it, not an expression; `clear` is whether it is sure enough
    not to give way to the tone of the message, or, of danger, to be asked about plainly.
    """

    intent: Intent
    start: int
    end: int
    learned: bool = False
    clear: bool = True


def main_hit(hits: Iterable[Hit]) -> Hit | None:
    """The hit that an answer must be about: the first of those with most weight."""
    return max(hits, key=lambda hit: (hit.intent.weight, -hit.start), default=None)


class IntentReader:
    """Finds a deck's intents in messages.

    In messages of more than `longest` characters, it finds only those about life and death.
    """

    def __init__(
        self,
        intents: Intents,
        longest: int,
        classifier: Classifier | None,
        by_example: Classifier | None = None,
    ) -> None:
        self._careful, self._others = intents.careful, intents.others
        self._by_id = {intent.id: intent for intent in intents.all if not intent.careful}
        self._narrow = {intent.id for intent in intents.all if intent.narrow}
        self._suspects = Suspects(intents.careful)
        self._doubt = next((intent for intent in intents.all if intent.doubt), None)
        self._asides = intents.asides
        self.classifier = classifier
        self.by_example = by_example
        self._longest = longest
        # Several steps of an answer ask for the intents of the same message.
        self._cached = lru_cache(maxsize=16)(self._hits)

    def hits(self, message: str) -> list[Hit]:
        """The intents of a message, in order of appearance."""
        return list(self._cached(message))

    def _hits(self, message: str) -> list[Hit]:
        text = normalise(message)
        if len(text) > LONG_MESSAGE:
            return self._in_long(text)
        said = _Clauses(text, clauses(text))
        found, content = _hits(said, self._careful.possible(said.searchable)), None
        if len(text) <= self._longest:
            possible = self._others.possible(said.searchable)
            beside = _hits(said, (one for one in possible if one[0].aside))
            content = said.content(self._asides, beside)
            if content:
                possible = self._others.possible(content.lines)
            about = [one for one in possible if not one[0].aside]
            found += _hits(content, about) if content else [*beside, *_hits(said, about)]
        kept = self._kept(found, text)
        if content is None:
            return kept
        if self.classifier:
            kept = self._with_guess(self.classifier, self._by_id, kept, content)
        if self.by_example and len(text) <= _LONGEST_NARROW and not _settled(kept, content):
            kept = self._with_guess(self.by_example, self._narrow, kept, content)
        return kept

    def _kept(self, found: Sequence[Hit], text: str) -> list[Hit]:
        """The hits that count, after the vetoes of the whole text and what the classifier says of it."""
        # Searched once for each intent, which can have hits in many clauses.
        vetoed = {
            name
            for name, intent in {hit.intent.id: hit.intent for hit in found}.items()
            if intent.message_vetoes.against(text)
        }
        kept = _once(_apart([hit for hit in found if hit.intent.id not in vetoed]))
        if self.classifier and self._doubt:
            if len(text) <= _LONGEST_LEARNED:
                kept = self._weighed(kept, joined(text), self.classifier, self._doubt)
            else:
                kept = self._in_story(kept, closed_up(text), self.classifier, self._doubt)
        return _once(kept)

    def _in_long(self, text: str) -> list[Hit]:
        """The first grave hit of a long message, else the first doubtful one.

        Each suspect sentence is read as a message of its own: what the rest is about makes it neither
        dangerous nor harmless.
        """
        doubtful: list[Hit] = []
        read: set[str] = set()
        for intent, piece, possible in self._suspects.of(text):
            if len(read) == _READ or (doubtful and not intent.grave):
                break
            if piece in read:
                continue
            read.add(piece)
            place = max(0, text.find(piece))
            kept = self._kept(_hits(_Clauses(piece, clauses(piece)), possible), piece)
            hits = [h._replace(start=place + h.start, end=place + h.end) for h in kept]
            if any(hit.intent.grave for hit in hits):
                return hits
            doubtful = doubtful or hits
        return doubtful

    def harmless(self, message: str) -> tuple[bool, bool]:
        """Whether the classifier finds no danger in a message of several words, and is sure of that."""
        text = joined(normalise(message))
        if not self.classifier or not _FEW_WORDS < len(text) <= _LONGEST_LEARNED:
            return False, False
        score = self.classifier.danger_of(text)
        return score < self.classifier.danger, score < self.classifier.harmless

    def _weighed(
        self, hits: list[Hit], text: str, classifier: Classifier, doubt: Intent
    ) -> list[Hit]:
        """The hits, after the classifier has judged how dangerous the message is.

        - Expressions find something grave, the classifier does not: it becomes a doubt, so that the
          character asks.
        - Only the classifier finds danger: a doubt, if it is certain, or if there is a cue and no veto
          holds. If it is not sure, a danger of another kind counts more.
        - The classifier is sure that the message is harmless: the careful hits are dropped.
        - Expressions find a doubt, and the classifier is less sure: the doubt is not clear.
        """
        score = classifier.danger_of(text)
        if not any(hit.intent.careful for hit in hits):
            clear = score >= classifier.plainly
            if not clear and any(hit.intent.weight >= _URGENT for hit in hits):
                return hits
            asks = score > classifier.certain or (
                score > classifier.danger
                and not (doubt.cue and not doubt.cue.search(text))
                and not doubt.vetoes.against(text)
                and not doubt.message_vetoes.against(text)
            )
            return [Hit(doubt, 0, len(text), learned=True, clear=clear), *hits] if asks else hits
        grave = any(hit.intent.grave for hit in hits)
        if score < classifier.harmless - (_SURER if grave else 0):
            return [hit for hit in hits if not hit.intent.careful]
        if score < classifier.grave:
            hits = [h._replace(intent=doubt) if h.intent.grave else h for h in hits]
        unsure = score < classifier.grave and len(text) > _FEW_WORDS
        return [h._replace(clear=False) if h.intent.doubt else h for h in hits] if unsure else hits

    def _in_story(
        self, hits: list[Hit], text: str, classifier: Classifier, doubt: Intent
    ) -> list[Hit]:
        """The hits, and a doubt if the classifier is certain of danger in a sentence of a story.

        What expressions find in it stays: the rest does not make it harmless.
        """
        score = max(map(classifier.danger_of, pieces(text)))
        clear = score >= classifier.plainly
        others = any(h.intent.careful or (not clear and h.intent.weight >= _URGENT) for h in hits)
        if others or score <= classifier.certain + _OF_MANY:
            return hits
        return [Hit(doubt, 0, len(text), learned=True, clear=clear), *hits]

    def _with_guess(
        self,
        classifier: Classifier,
        known: Container[str | None],
        hits: list[Hit],
        content: _Clauses,
    ) -> list[Hit]:
        """The hits, and which of the `known` intents a classifier is sure of.

        The guess replaces the main intent if the content contradicts that one, but never a careful
        one. An intent that expressions found needs a clearer contradiction than one of a classifier.
        """
        main = main_hit(hits)
        if main and main.intent.careful:
            return hits
        found = main.intent.id if main and not main.learned else None
        name, clear = classifier.best(content.lines.replace("\n", "、"), found) or (None, False)
        if name is None or name not in known or any(hit.intent.id == name for hit in hits):
            return hits
        intent = self._by_id[name]
        guess = Hit(intent, *content.span, learned=True, clear=clear or intent.acts)
        return _once([*(hit for hit in hits if hit is not main), guess])


def _settled(hits: list[Hit], content: _Clauses) -> bool:
    """Whether no narrower intent is needed: the main one is urgent, or is most of a short message."""
    main = main_hit(hits)
    if main and main.intent.weight > _FIRM:
        return True
    start, end = content.span
    if end - start > _FEW_WORDS:
        return False
    return main is not None and not main.learned and main.end - main.start >= _MOST * (end - start)


def _hits(said: _Clauses, possible: Possible) -> list[Hit]:
    return [hit for intent, parts in possible for hit in said.hits(intent, parts)]


class _Clauses:
    """The distinct clauses of a normalised message with their offsets, joined to be searched at once."""

    def __init__(self, text: str, parts: Iterable[tuple[int, str]]) -> None:
        places: dict[str, int] = {}
        for place, clause in parts:
            places.setdefault(clause, place)
        self._text = text
        self._whole = joined(text)
        self._folded = in_hiragana(self._whole)
        self._places = list(places.values())
        self._clauses = list(places)
        self.lines = "\n".join(self._clauses)
        lengths = (len(clause) + 1 for clause in self._clauses)
        self._starts = [0, *itertools.accumulate(lengths)]

    @property
    def span(self) -> tuple[int, int]:
        """The offsets of the beginning of the first clause and the end of the last."""
        return self._places[0], self._places[-1] + len(self._clauses[-1])

    @property
    def searchable(self) -> str:
        """The clauses and the whole message, for the prefilter."""
        folded = "" if self._folded == self._whole else self._folded
        return f"{self.lines}\n{self._whole}\n{folded}"

    def content(self, known: Asides | None, beside: Iterable[Hit]) -> _Clauses | None:
        """What the message says besides asides; None if nothing.

        A clause that a hit of an aside covers is no content.
        """
        covered: dict[int, int] = {}
        for hit in beside:
            covered[hit.start] = max(hit.end, covered.get(hit.start, 0))
        if covered.get(0, 0) >= len(self._whole.rstrip(PARTING)):
            return None
        parts = []
        for place, clause in zip(self._places, self._clauses, strict=True):
            letters = len(clause.rstrip(PARTING))
            if covered.get(place, 0) - place < letters:
                skipped, rest = known.content(clause) if known else (0, clause)
                parts.append((place + skipped, rest))
        content = [(place, rest) for place, rest in parts if rest]
        return _Clauses(self._text, content) if content else None

    def hits(self, intent: Intent, parts: Iterable[Expression]) -> Iterator[Hit]:
        """The hits of an intent, one for each clause, at most `_HITS`; of its expressions, `parts`."""
        hits = itertools.islice(self._found(intent, parts), _HITS)
        whole = intent.careful or intent.aside
        return itertools.chain(hits, self._found_whole(intent, parts)) if whole else hits

    def _found_whole(self, intent: Intent, parts: Iterable[Expression]) -> Iterator[Hit]:
        # Danger is read in katakana (ｷｴﾀｲ) too.
        for text in {self._whole, self._folded} if intent.careful else {self._whole}:
            spans = [found.span() for part in parts if (found := part.search(text))]
            if spans and not intent.vetoes.against(self._whole):
                yield Hit(intent, *min(spans, key=_leftmost_longest))

    def _found(self, intent: Intent, parts: Iterable[Expression]) -> Iterator[Hit]:
        best: dict[int, tuple[int, int]] = {}
        for number, span in itertools.chain.from_iterable(map(self._matches, parts)):
            best[number] = min(span, best.get(number, span), key=_leftmost_longest)
        for number, (start, end) in sorted(best.items()):
            if not intent.vetoes.against(self._clauses[number]):
                place = self._places[number] - self._starts[number]
                yield Hit(intent, place + start, place + end)

    def _matches(self, part: Expression) -> Iterator[tuple[int, tuple[int, int]]]:
        """The first match in each clause: the clause's number, and the span in `lines`."""
        first = 0
        while first < len(self._clauses):
            first = yield from self._matches_from(part, first)

    def _matches_from(
        self, part: Expression, first: int
    ) -> Generator[tuple[int, tuple[int, int]], None, int]:
        """The matches from clause `first` on; returns the clause at which to search on."""
        offset, before, more = self._starts[first], -1, 0
        for match in part.finditer(self.lines[offset:]):
            start, end = (offset + place for place in match.span())
            number = bisect.bisect_right(self._starts, start) - 1
            if start == end or number == len(self._clauses):
                continue
            if number == before:
                more += 1
                if more > _MORE:
                    return number + 1
                continue
            before, more = number, 0
            yield number, (start, end)
        return len(self._clauses)


def _leftmost_longest(span: tuple[int, int]) -> tuple[int, int]:
    return span[0], -span[1]


def _apart(hits: list[Hit]) -> list[Hit]:
    """The hits without overlaps: of two, the graver counts, then the longer, then priority."""
    kept: list[Hit] = []
    for hit in sorted(hits, key=_rank):
        if all(hit.end <= other.start or hit.start >= other.end for other in kept):
            kept.append(hit)
    return sorted(kept, key=lambda hit: hit.start)


def _rank(hit: Hit) -> tuple[bool, bool, int, int, int]:
    intent = hit.intent
    length = hit.end - hit.start
    return not intent.grave, not intent.careful, -length, -intent.priority, hit.start


def _once(hits: list[Hit]) -> list[Hit]:
    first: dict[str, Hit] = {}
    for hit in hits:
        first.setdefault(hit.intent.id, hit)
    return list(first.values())
