"""The price table: what tokens cost on a day.

The table is `prices.json` next to this module; a JSON file named by TSUKURIOKI_PRICES replaces or
adds models. Prices are USD per million tokens, valid until a day or without end.
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
    """USD per million tokens. `cached` and `storage_hour` are None if they are not known."""

    input: float
    output: float
    cached: float | None = None
    storage_hour: float | None = None

    def cost(self, usage: Usage) -> float:
        """The price of `usage` in USD; thoughts are billed as output."""
        cached = usage.cached if self.cached is not None else 0.0
        return (
            (usage.prompt - cached) * self.input
            + cached * (self.cached or 0.0)
            + (usage.output + usage.thoughts) * self.output
        ) / MILLION


FREE = Price(0.0, 0.0, 0.0, 0.0)


class PriceTable(NamedTuple):
    """Prices as of the day `dated`; `free` providers cost nothing. Made by `load_prices`."""

    dated: str
    models: Mapping[str, Mapping[str, Any]]
    free: frozenset[str]

    def price(self, provider: str, model: str, day: str, *, batch: bool = False) -> Price | None:
        """The price of a model on a day (ISO 8601), or None if the table has none."""
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
        """A model's row, by its name or by the longest known name that begins it (`…-001`)."""
        name = model.removeprefix("models/")
        known = [row for row in self.models if name == row or name.startswith(row + "-")]
        return self.models[max(known, key=len)] if known else {}

    def closes(self, model: str) -> str | None:
        """The day (ISO 8601) on which a model is shut down; None if it is not known."""
        day = self._model(model).get("closes")
        return None if day is None else str(day)

    def caches_from(self, model: str) -> int | None:
        """The least number of tokens that can be cached explicitly; None if it is not known."""
        least = self._model(model).get("caches_from")
        return None if least is None else int(least)


def load_prices(path: Path | None = None) -> PriceTable:
    """The built-in table, with the models of the table at `path` over it. Raises SettingError."""
    table = _read(BOX)
    if path is not None:
        own = _read(path)
        table = {
            "dated": own.get("dated", table["dated"]),
            "providers": table["providers"] | own.get("providers", {}),
            "models": table["models"] | own["models"],
        }
    free = frozenset(name for name, price in table["providers"].items() if price == "free")
    return PriceTable(str(table["dated"]), table["models"], free)


def _read(path: Path) -> dict[str, Any]:
    try:
        table = orjson.loads(path.read_text(encoding="utf-8-sig"))
        for model in table["models"].values():
            for row in model["prices"]:
                Price(float(row["input"]), float(row["output"]))
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        raise SettingError(
            "TSUKURIOKI_PRICES",
            str(path),
            'a JSON file like {"dated": "2026-10-07", "models": {"NAME": {"prices": '
            '[{"input": 0.3, "output": 2.5}]}}}',
        ) from None
    return dict(table)
