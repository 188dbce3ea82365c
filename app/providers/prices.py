"""The dated price table: what tokens cost on a day.

A table is JSON, `prices.json` beside this module; a file named by a setting replaces models of it or
adds some. Prices are USD per million tokens and hold until a day, or for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.errors import SettingError
from app.store.entry import Usage

BOX = Path(__file__).with_name("prices.json")
MILLION = 1_000_000


class Price(NamedTuple):
    """USD per million tokens. `cached` and `storage_hour` are None where nobody has said."""

    input: float
    output: float
    cached: float | None = None
    storage_hour: float | None = None

    def cost(self, usage: Usage) -> float:
        """USD for so many tokens; thoughts are billed as output."""
        cached = usage.cached if self.cached is not None else 0.0
        return (
            (usage.prompt - cached) * self.input
            + cached * (self.cached or 0.0)
            + (usage.output + usage.thoughts) * self.output
        ) / MILLION


FREE = Price(0.0, 0.0, 0.0, 0.0)


class PriceTable(NamedTuple):
    """The prices known on a day. Made by `load_prices`."""

    dated: str
    models: Mapping[str, Mapping[str, Any]]
    free: frozenset[str]

    def price(self, provider: str, model: str, day: str, *, batch: bool = False) -> Price | None:
        """The price of a model on a day (ISO 8601), or None where the table has none."""
        if provider in self.free:
            return FREE
        for row in self._model(model).get("prices", ()):
            if day[:10] <= row.get("until", "9999"):
                prefix = "batch_" if batch else ""
                if row.get(prefix + "input") is None:
                    return None
                return Price(
                    row[prefix + "input"],
                    row[prefix + "output"],
                    row.get("cached"),
                    row.get("storage_hour"),
                )
        return None

    def _model(self, model: str) -> Mapping[str, Any]:
        """A model's row: by name, or by the longest name that it begins with (`…-001`)."""
        name = model.removeprefix("models/")
        known = [row for row in self.models if name == row or name.startswith(row + "-")]
        return self.models[max(known, key=len)] if known else {}

    def closes(self, model: str) -> str | None:
        """The day on which a model is shut down, where it is known."""
        day = self._model(model).get("closes")
        return None if day is None else str(day)

    def caches_from(self, model: str) -> int | None:
        """The least tokens that explicit caching takes, where it is known."""
        least = self._model(model).get("caches_from")
        return None if least is None else int(least)


def load_prices(path: Path | None = None) -> PriceTable:
    """The table in the box, with the models of another over it. Raises SettingError."""
    table = _read(BOX)
    if path is not None:
        own = _read(path)
        table = {
            "dated": own.get("dated", table["dated"]),
            "providers": table["providers"] | own.get("providers", {}),
            "models": table["models"] | own["models"],
        }
    free = frozenset(name for name, told in table["providers"].items() if told == "free")
    return PriceTable(str(table["dated"]), table["models"], free)


def _read(path: Path) -> dict[str, Any]:
    try:
        table = orjson.loads(path.read_bytes())
        for model in table["models"].values():
            for row in model["prices"]:
                Price(float(row["input"]), float(row["output"]))
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise SettingError(
            "TSUKURIOKI_PRICES",
            str(path),
            'a JSON file like {"dated": "2026-10-07", "models": {"NAME": {"prices": '
            '[{"input": 0.3, "output": 2.5}]}}}',
        ) from None
    return dict(table)
