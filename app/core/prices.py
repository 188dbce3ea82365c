"""The dated price table, `prices.json` in the data folder: what tokens cost on a day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from app.core.entry import Usage
from app.errors import SettingError

FILE = "prices.json"
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens."""

    input: float
    output: float

    def cost(self, usage: Usage) -> float:
        """USD for so many tokens; thoughts are billed as output."""
        return (usage.prompt * self.input + (usage.output + usage.thoughts) * self.output) / MILLION


@dataclass(frozen=True, slots=True)
class Prices:
    """A price table. `dated` is the day on which it was written down."""

    dated: str
    models: Mapping[str, Mapping[str, Any]]

    def of(self, model: str, day: str) -> Price | None:
        """The price of a model on a day (ISO 8601); None where the table does not know."""
        name = model.removeprefix("models/")
        known = [row for row in self.models if name == row or name.startswith(row + "-")]
        rows = self.models[max(known, key=len)].get("prices", ()) if known else ()
        for row in rows:
            if day[:10] <= row.get("until", "9999"):
                return Price(row["input"], row["output"])
        return None


NO_PRICES = Prices("", {})


def load_prices(path: Path) -> Prices:
    """The table of a file; none of our models has a price where there is no file.

    Raises SettingError where the file is not a price table.
    """
    try:
        table = orjson.loads(path.read_bytes())
        for model in table["models"].values():
            for row in model["prices"]:
                Price(float(row["input"]), float(row["output"]))
        return Prices(str(table["dated"]), table["models"])
    except FileNotFoundError:
        return NO_PRICES
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise SettingError(
            "TSUKURIOKI_PRICES", str(path), "a price table like data/prices.json"
        ) from None
