"""Votes of players on answers, up or down, in one journal for each deck.

A vote must show the answer's ballot, which is sent with the answer, so that nobody can vote on an
answer that they were not given.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import re
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from app.ledger.journal import Journal, JournalCounts, read_journal
from app.store.plain import open_file

log = logging.getLogger(__name__)

UP, DOWN = "up", "down"
# An answer is disliked if it has at least this many down votes and they are the majority: one or
# two may be from one visitor who played twice, and cooking an answer again costs.
DISLIKED_FROM = 3
# Key and variant in a finished body. Quotation marks in its texts are escaped, so that no text can
# match.
_NAMED = re.compile(rb'"key":"([0-9a-f]{32})","variant":([0-9]+),')
_SECRET = 32


def _name(deck: str) -> str:
    return f"{deck}.votes"


class Ballots:
    """Ballots of answers: a keyed BLAKE2b over deck, key and variant, as 24 hex digits.

    An answer always has the same ballot, so that a cached response can include it.
    """

    def __init__(self, secret: bytes) -> None:
        self._keyed = blake2b(key=secret, digest_size=12)

    def of(self, deck: str, key: str, variant: int) -> str:
        return self._of(f"{deck}/{key}/{variant}".encode("utf-8", "replace"))

    def of_body(self, deck: str, body: bytes) -> str:
        """The ballot of the answer in a finished body; empty if the body names no key."""
        named = _NAMED.search(body)
        return self._of(b"%b/%b/%b" % (deck.encode(), *named.groups())) if named else ""

    def _of(self, name: bytes) -> str:
        # Copying the keyed state takes half the time of making it.
        state = self._keyed.copy()
        state.update(name)
        return state.hexdigest()

    def fits(self, ballot: object, deck: str, key: str, variant: int) -> bool:
        """Whether this is the answer's ballot."""
        return isinstance(ballot, str) and hmac.compare_digest(
            ballot.encode("utf-8", "replace"), self.of(deck, key, variant).encode()
        )


def ballot_secret(folder: Path) -> bytes:
    """The secret for a ledger's ballots, 32 bytes, kept in a file for later starts.

    If the file can be neither read nor written, the secret is for this process and its forks only.
    """
    path = folder / "ballots.key"
    try:
        secret = _read(path) if path.exists() else b""
        if len(secret) == _SECRET:
            return secret
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as fresh:
            fresh.write(secrets.token_bytes(_SECRET))
            fresh.flush()
            if secret:
                # The file has another length than a secret: it is damaged.
                path.unlink(missing_ok=True)
            with contextlib.suppress(FileExistsError):
                # The link makes the whole file appear at once; the first process wins.
                os.link(fresh.name, path)
        return _read(path)
    except OSError as error:
        log.warning("%s: %s; ballots hold until the server ends", path, error.strerror)
        return secrets.token_bytes(_SECRET)


def _read(path: Path) -> bytes:
    with open_file(path, "rb") as file:
        return file.read(_SECRET + 1)


class VoteBox:
    """Writes the votes on the answers of a deck."""

    def __init__(self, folder: Path, deck: str) -> None:
        self._journal = Journal(folder, _name(deck))

    def vote(self, key: str, variant: int, vote: str, at: str, created: str = "") -> None:
        """Note a vote; `at` is in UTC, ISO 8601, `created` that of the stored text, if any."""
        line = {"key": key, "variant": variant, "vote": vote, "at": at, "created": created}
        self._journal.append(line)


class VoteCounts:
    """The votes on all answers of a deck; follows the journal as it grows."""

    def __init__(self, folder: Path, deck: str) -> None:
        self._counts = JournalCounts(
            folder,
            _name(deck),
            lambda lines: (str(line.get("vote")) for line in lines),
            Counter[str],
        )

    def totals(self) -> dict[str, Any]:
        """Up votes, down votes, and the share of up votes, None before the first vote."""
        return self._counts.read(_totals)


def _totals(votes: Counter[str]) -> dict[str, Any]:
    up, down = votes[UP], votes[DOWN]
    all_votes = up + down
    return {
        "up": up,
        "down": down,
        "of": all_votes,
        "share_up": up / all_votes if all_votes else None,
    }


def read_votes(folder: Path, deck: str) -> Iterator[tuple[tuple[str, int, str], str]]:
    """The votes on a deck's answers: key, variant and time of creation of the text, and the vote.

    A vote is for the text that was read; the time of creation distinguishes it from a text that was
    cooked later in its place.
    """
    for line in read_journal(folder, _name(deck)):
        variant = line.get("variant")
        number = variant if isinstance(variant, int) else 0
        yield (str(line.get("key")), number, str(line.get("created"))), str(line.get("vote"))


def disliked(folder: Path, deck: str) -> dict[tuple[str, int, str], int]:
    """Down votes of each disliked text, by key, variant and time of creation."""
    ups: Counter[tuple[str, int, str]] = Counter()
    downs: Counter[tuple[str, int, str]] = Counter()
    for name, vote in read_votes(folder, deck):
        (ups if vote == UP else downs)[name] += 1
    return {
        name: count for name, count in downs.items() if count >= DISLIKED_FROM and count > ups[name]
    }
