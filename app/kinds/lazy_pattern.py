"""Regular expressions that are compiled when they are first used.

Compiling one with a class of Japanese characters takes a millisecond: those of the modules that read
and judge texts took a twentieth of the start.
"""

from __future__ import annotations

import re
from typing import Any, cast


class _Lazy:
    def __init__(self, expression: str, flags: int) -> None:
        self._expression = expression
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        """A member of the pattern, which is found directly from then on."""
        member = getattr(re.compile(self._expression, self._flags), name)
        setattr(self, name, member)
        return member


def lazily(expression: str, flags: int = 0) -> re.Pattern[str]:
    """What has all methods of `re.compile(expression, flags)`."""
    return cast("re.Pattern[str]", _Lazy(expression, flags))
