"""The losses of a training as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 50, 50

Point = tuple[int, float]


def draw_losses(name: str, train: Sequence[Point], validation: Sequence[Point]) -> str:
    """A diagram of (step, loss): of the rows that are learned, and of the held-out ones."""
    points = [*train, *validation]
    most_step = max((step for step, _ in points), default=1) or 1
    most, least = max((y for _, y in points), default=1.0), min((y for _, y in points), default=0.0)
    span = (most - least) or 1.0

    def place(point: Point) -> str:
        step, loss = point
        x = LEFT + step / most_step * (WIDTH - LEFT - RIGHT)
        y = TOP + (most - loss) / span * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="14">'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="28" font-size="18">Loss of {escape(name)}</text>',
        f'<text x="6" y="{TOP + 5}">{most:.2f}</text>',
        f'<text x="6" y="{HEIGHT - BOTTOM + 5}">{least:.2f}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 20}" text-anchor="end">{most_step} steps</text>',
    ]
    for label, colour, found, at in (
        ("learned", "#2b6", train, 0),
        ("held out", "#c33", validation, 90),
    ):
        if found:
            line = " ".join(map(place, found))
            parts.append(
                f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
            )
            parts.append(f'<text x="{LEFT + at}" y="{HEIGHT - 20}" fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
