"""Rate limits over all workers."""

from __future__ import annotations

import struct

from app.ledger.state import KeyedValues, State

_LEVEL = struct.Struct("<d")


class RateLimit:
    """Allows `per_minute` requests a minute for each key, `burst` of them at once.

    The generic cell rate algorithm (GCRA): the value stored for a key is the time in seconds at
    which its full burst is available again. At most `most` keys are remembered.
    """

    def __init__(
        self, state: State, name: str, per_minute: float, burst: int, most: int = 16_384
    ) -> None:
        self._now = state.now
        self._step = 60.0 / per_minute
        self._slack = self._step * (burst - 1)
        forget = self._slack + self._step
        self._rows = KeyedValues(state, name, most, _LEVEL.size, forget)

    def wait(self, key: str) -> float:
        """Seconds until this key may ask again; 0 if it may now, which counts as a request."""
        now = self._now()

        def change(row: bytearray) -> float:
            # A later time than that can only be stored if the clock was set back.
            level = min(_LEVEL.unpack(row)[0], now + self._slack + self._step)
            due = max(now, level)
            _LEVEL.pack_into(row, 0, due)
            if due - now > self._slack:
                return float(due - now - self._slack)
            _LEVEL.pack_into(row, 0, due + self._step)
            return 0.0

        return self._rows.change(key, change)
