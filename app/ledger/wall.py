"""The wall: the latest finished flyers, for a second screen.

What is kept is which play was made and when, never its text: the wall asks the ladder again, and
nothing that a visitor could type ever reaches it. All workers share one small file in the ledger's
folder; it is read whole and replaced whole under a lock, since it never holds more than a handful.
Where there is no such folder, or it cannot be written, each worker keeps a wall of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from app.store.key import Query

MOST = 24
NAME = "wall.json"

log = logging.getLogger(__name__)


class Flyer(NamedTuple):
    """A finished play: the query, the variant that was shown last, and when."""

    query: Query
    variant: int
    shown: str

    @property
    def id(self) -> str:
        """The play's key: another wording of the same play takes the place of the one before."""
        return self.query.key


Flyers = tuple[Flyer, ...]


class Wall:
    """The flyers of one deck, newest first, at most `MOST`."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._own: Flyers = ()

    def flyers(self) -> Flyers:
        """What hangs there now."""
        if self._folder is None:
            return self._own
        try:
            return parse((self._folder / NAME).read_bytes())
        except OSError:
            return self._own
        except ValueError as error:
            log.warning("%s is damaged and is left alone until a flyer is hung: %s", NAME, error)
            return self._own

    def hang(self, flyer: Flyer) -> None:
        """Hang a flyer in front of the others."""
        self._change(lambda old: (flyer, *(one for one in old if one.id != flyer.id))[:MOST])

    def remove(self, key: str) -> bool:
        """Take one down; whether it hung there."""
        hung = any(flyer.id == key for flyer in self.flyers())
        self._change(lambda old: tuple(one for one in old if one.id != key))
        return hung

    def clear(self) -> None:
        """Take all of them down."""
        self._change(lambda old: ())

    def _change(self, change: Callable[[Flyers], Flyers]) -> None:
        if self._folder is None:
            self._own = change(self._own)
            return
        try:
            with _locked(self._folder):
                self._own = change(self.flyers())
                _replace(self._folder / NAME, written(self._own))
        except OSError as error:
            self._own = change(self._own)
            log.warning("the wall cannot be shared between workers: %s", error)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # The lock is a file of its own: the wall's is replaced by a rename, and a lock goes with the
    # file that was opened.
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "wall.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, body: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(body)
    fresh.replace(path)


def written(flyers: Flyers) -> bytes:
    """The file's bytes."""
    return orjson.dumps(
        [
            {"query": one.query.to_json(), "variant": one.variant, "shown": one.shown}
            for one in flyers
        ]
    )


def parse(body: bytes) -> Flyers:
    """Back from the file. Raises ValueError where it is not a wall."""
    try:
        return tuple(
            Flyer(Query.from_json(one["query"]), int(one["variant"]), str(one["shown"]))
            for one in orjson.loads(body)
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"unexpected shape: {error!r}") from None
