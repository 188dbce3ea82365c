"""A diagram of coverage by the number of entries, as SVG, for slides.

Both axes are logarithmic, because values range over nine orders of magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 960, 540
LEFT, RIGHT, TOP, BOTTOM = 110, 250, 60, 70


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve: its name, colour, and points (entries, share)."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]


def draw(title: str, curves: Sequence[Curve], entries: int) -> str:
    """The diagram as SVG; `entries`, the number in the store today, is marked."""
    points = [point for curve in curves for point in curve.points if point[1] > 0]
    x_most = max(10.0, max((x for x, _ in points), default=10.0), entries)
    y_least = min((y for _, y in points), default=0.1)
    frame = _Frame(math.log10(x_most), math.floor(math.log10(y_least)))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="16"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="34" font-size="22">{escape(title)}</text>',
        *frame.grid(),
        *(part for curve in curves for part in _curve(frame, curve)),
    ]
    if entries:
        x = frame.x(entries)
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#a33" '
            'stroke-dasharray="5 5"/>'
            f'<text x="{x + 6}" y="{TOP + 16}" fill="#a33">{entries:,} entries today</text>'
        )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class _Frame:
    decades: float
    floor: int

    def x(self, entries: float) -> float:
        share = math.log10(max(1.0, entries)) / self.decades
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, share: float) -> float:
        height = HEIGHT - TOP - BOTTOM
        return round(TOP + height * math.log10(share) / min(-1, self.floor), 1)

    def grid(self) -> list[str]:
        parts = []
        for decade in range(math.floor(self.decades) + 1):
            x = self.x(10.0**decade)
            parts.append(
                f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
                f'<text x="{x}" y="{HEIGHT - BOTTOM + 24}" text-anchor="middle">{10**decade:,}</text>'
            )
        for decade in range(0, min(-1, self.floor) - 1, -2):
            y = self.y(10.0**decade)
            label = "all" if decade == 0 else f"1 in 10{_raised(-decade)}"
            parts.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#ddd"/>'
                f'<text x="{LEFT - 8}" y="{y + 5}" text-anchor="end">{label}</text>'
            )
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(
            f'<text x="{middle}" y="{HEIGHT - 18}" text-anchor="middle">entries cooked</text>'
        )
        return parts


def _raised(number: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(number))


def _curve(frame: _Frame, curve: Curve) -> list[str]:
    points = [(frame.x(x), frame.y(y)) for x, y in curve.points if y > 0]
    if not points:
        return []
    path = " ".join(f"{x},{y}" for x, y in points)
    x, y = points[-1]
    return [
        f'<polyline points="{path}" fill="none" stroke="{curve.colour}" stroke-width="3"/>',
        f'<text x="{x + 10}" y="{y + 5}" fill="{curve.colour}">{escape(curve.name)}</text>',
    ]
