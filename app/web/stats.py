"""The figures of `/stats`: store, coverage and use. Each share comes with its denominator."""

from __future__ import annotations

from typing import Any

from app.web.service import Service


def collect(service: Service) -> dict[str, Any]:
    """The whole of `/stats`."""
    return {
        "started": service.started,
        "now": service.now(),
        "tiers": list(service.settings.tiers),
        "refused_requests": service.counters.refusals(),
        **({"local_models": service.loaded.figures()} if service.loaded else {}),
        **({"line": service.line.figures()} if service.line else {}),
        "decks": {deck: served.figures() for deck, served in service.decks.items()},
    }
