"""A plot of a few lines on two logarithmic axes, as SVG, by hand: no plotting library for two pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 210, 40, 50
_COLOURS = ("#0b6e4f", "#c1292e", "#235789", "#8d6a9f", "#f1a208", "#5c5c5c")
_STYLE = "font-family='sans-serif' font-size='12' fill='#222'"
_LABEL_HEIGHT = 15


@dataclass(frozen=True, slots=True)
class Line:
    """A line's name, and its points by x."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Powers of ten from `low` to `high` on the pixels from `start` to `end`."""

    low: int
    high: int
    start: float
    end: float

    def place(self, value: float) -> float:
        return self.start + (math.log10(value) - self.low) / (self.high - self.low) * (self.end - self.start)


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return _Axis(low, max(high, low + 1), start, end)


def _shown(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10**power:g}"


def plot(title: str, x_name: str, y_name: str, lines: Sequence[Line]) -> str:
    """Return the plot of the lines, each named at its end."""
    x_axis = _axis([x for line in lines for x, _ in line.points], _LEFT, _WIDTH - _RIGHT)
    y_axis = _axis([y for line in lines for _, y in line.points], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' {_STYLE}>",
        f"<rect width='{_WIDTH}' height='{_HEIGHT}' fill='white'/>",
        f"<text x='{_LEFT}' y='22' font-size='14' font-weight='bold'>{escape(title)}</text>",
        *_grid(x_axis, y_axis),
        f"<text x='{(x_axis.start + x_axis.end) / 2}' y='{_HEIGHT - 12}' text-anchor='middle'>{escape(x_name)}</text>",
        f"<text x='{_LEFT - 8}' y='22' text-anchor='end'>{escape(y_name)}</text>",
    ]
    heights = _spread([y_axis.place(line.points[-1][1]) for line in lines])
    for number, (line, height) in enumerate(zip(lines, heights, strict=True)):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [(x_axis.place(x), y_axis.place(y)) for x, y in line.points]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f"<polyline points='{drawn}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>" for x, y in places]
        parts.append(
            f"<text x='{_WIDTH - _RIGHT + 12}' y='{height + 4:.1f}' fill='{colour}'>{escape(line.name)}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    parts = []
    for power in range(x_axis.low, x_axis.high + 1):
        x = x_axis.place(10**power)
        parts.append(f"<line x1='{x:.1f}' y1='{_TOP}' x2='{x:.1f}' y2='{_HEIGHT - _BOTTOM}' stroke='#ddd'/>")
        parts.append(f"<text x='{x:.1f}' y='{_HEIGHT - _BOTTOM + 18}' text-anchor='middle'>{_shown(power)}</text>")
    for power in range(y_axis.low, y_axis.high + 1):
        y = y_axis.place(10**power)
        parts.append(f"<line x1='{_LEFT}' y1='{y:.1f}' x2='{_WIDTH - _RIGHT}' y2='{y:.1f}' stroke='#ddd'/>")
        parts.append(f"<text x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end'>{_shown(power)}</text>")
    return parts


def _spread(heights: Sequence[float]) -> list[float]:
    """Return the heights moved so far apart that names do not overlap, in the same order."""
    placed: dict[int, float] = {}
    last = -math.inf
    for number in sorted(range(len(heights)), key=heights.__getitem__):
        last = max(heights[number], last + _LABEL_HEIGHT)
        placed[number] = last
    return [placed[number] for number in range(len(heights))]
