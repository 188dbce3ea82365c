"""How often somebody may ask, counted over all workers."""

from __future__ import annotations

import struct

from app.ledger.state import Rows, State

_LEVEL = struct.Struct("<d")


class RateLimit:
    """So many requests a minute for each key, with a burst of `burst` at once.

    No thread that ticks: a row holds when its key will have been idle long enough (the generic cell
    rate algorithm, GCRA), and the level follows from the time that has passed. `most` keys are
    remembered.
    """

    def __init__(
        self, state: State, name: str, per_minute: float, burst: int, most: int = 16_384
    ) -> None:
        self._now = state.now
        self._step = 60.0 / per_minute
        self._slack = self._step * (burst - 1)
        forget = self._slack + self._step
        self._rows = Rows(state, name, most, _LEVEL.size, forget)

    def wait(self, key: str) -> float:
        """Seconds until this key may ask; 0 if it may now, and then it has."""
        now = self._now()

        def change(row: bytearray) -> float:
            # A level beyond what can have been asked for is of a clock that was set back.
            level = min(_LEVEL.unpack(row)[0], now + self._slack + self._step)
            due = max(now, level)
            _LEVEL.pack_into(row, 0, due)
            if due - now > self._slack:
                return float(due - now - self._slack)
            _LEVEL.pack_into(row, 0, due + self._step)
            return 0.0

        return self._rows.change(key, change)
