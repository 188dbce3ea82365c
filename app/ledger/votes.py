"""Votes of players on answers, up or down. A journal, one a deck; shares in `/stats`.

Nobody votes on what they were not given: a vote bears the answer's ballot, which came with it.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import re
import secrets
import tempfile
import threading
from collections import Counter
from hashlib import blake2b
from pathlib import Path
from typing import Any

from app.ledger.journal import Journal, JournalReader, read_journal
from app.store.plain import open_file

log = logging.getLogger(__name__)

UP, DOWN = "up", "down"
# An answer is disliked from so many downs on, where they are more than half of its votes: one or two
# are one visitor's taste, or one visitor who plays twice, and cooking an answer again costs.
DISLIKED_FROM = 3
# How the answer that a finished body holds is named in it. The quotes of its texts are escaped, so
# that no text can look like this.
_NAMED = re.compile(rb'"key":"([0-9a-f]{32})","variant":([0-9]+),')
_SECRET = 32


def _name(deck: str) -> str:
    return f"{deck}.votes"


class Ballots:
    """Ballots of answers: a keyed BLAKE2b over deck, key and variant, 24 hex digits.

    The same answer has the same ballot, so that it is kept with an answer that is given again.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, deck: str, key: str, variant: int) -> str:
        """The ballot of an answer."""
        name = f"{deck}/{key}/{variant}".encode("utf-8", "replace")
        return blake2b(name, key=self._secret, digest_size=12).hexdigest()

    def of_body(self, deck: str, body: bytes) -> str:
        """The ballot of the answer that a finished body holds."""
        named = _NAMED.search(body)
        return self.of(deck, named[1].decode(), int(named[2])) if named else ""

    def fits(self, ballot: object, deck: str, key: str, variant: int) -> bool:
        """Whether this is the answer's ballot."""
        return isinstance(ballot, str) and hmac.compare_digest(
            ballot.encode("utf-8", "replace"), self.of(deck, key, variant).encode()
        )


def ballot_secret(folder: Path) -> bytes:
    """The secret of a ledger's ballots, made the first time, for the next start too.

    If it can be neither read nor written, it is one for this time only. The server's workers have
    it from the process that starts them.
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
                # Not what was written: it is of no use to anybody.
                path.unlink(missing_ok=True)
            with contextlib.suppress(FileExistsError):
                # Whole or not at all; the first of the workers wins.
                os.link(fresh.name, path)
        return _read(path)
    except OSError as error:
        log.warning("%s: %s; ballots hold until the server ends", path, error.strerror)
        return secrets.token_bytes(_SECRET)


def _read(path: Path) -> bytes:
    with open_file(path, "rb") as file:
        return file.read(_SECRET + 1)


class VoteBox:
    """Takes votes."""

    def __init__(self, folder: Path, deck: str, limit: int) -> None:
        self._journal = Journal(folder, _name(deck), limit)

    def vote(self, key: str, variant: int, vote: str, at: str, created: str = "") -> None:
        """Note a vote; `at` is a UTC time in ISO 8601, `created` that of the stored text, if any."""
        line = {"key": key, "variant": variant, "vote": vote, "at": at, "created": created}
        self._journal.append(line)


class VoteCounts:
    """Votes in all; follows the journal as it grows."""

    def __init__(self, folder: Path, deck: str) -> None:
        self._reader = JournalReader(folder, _name(deck))
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def totals(self) -> dict[str, Any]:
        """Ups, downs, and the share of ups, None before the first vote."""
        # Two that follow the journal at once would count what is new twice.
        with self._lock:
            again, lines = self._reader.news()
            if again:
                self._counts.clear()
            self._counts.update(str(line.get("vote")) for line in lines)
        up, down = self._counts[UP], self._counts[DOWN]
        return {
            "up": up,
            "down": down,
            "of": up + down,
            "share_up": up / (up + down) if up + down else None,
        }


def disliked(folder: Path, deck: str) -> dict[tuple[str, int, str], int]:
    """Stored texts that players turned down, by key, variant and creation, with their downs.

    The time of creation tells a text from the one that was cooked in its place: a vote is for the
    text that was read.
    """
    ups: Counter[tuple[str, int, str]] = Counter()
    downs: Counter[tuple[str, int, str]] = Counter()
    for line in read_journal(folder, _name(deck)):
        variant = line.get("variant")
        name = (
            str(line.get("key")),
            variant if isinstance(variant, int) else 0,
            str(line.get("created")),
        )
        (ups if line.get("vote") == UP else downs)[name] += 1
    return {
        name: count for name, count in downs.items() if count >= DISLIKED_FROM and count > ups[name]
    }
