"""Charts as HTML and SVG: lines and dots stretch with the page, their words keep their size.

Every function returns escaped markup. Colours are classes that the page's style gives to both
themes; lines differ in their dashes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tinybert.reporting.scales import Scale, apart, fitted, shown

__all__ = ["Line", "line_chart", "scatter"]

HEIGHT, LABEL_HEIGHT = 220, 16
"""Pixels of a chart's plane and of a line's name beside it; style.css has the same."""
_SIDE = 1000
_MARKED = 30


@dataclass(frozen=True)
class Line:
    """A named line; ``style`` is the class that gives it colour and dashes."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str


def line_chart(
    lines: Sequence[Line], label: str, *, x_name: str = "step", x_scale: Scale | None = None
) -> Markup:
    """Lines over steps, named at their ends; logarithmic where figures differ by orders.

    Args:
        lines: at least one, each with a point or more.
        label: what the chart shows, for those who do not see it.
        x_name: stands at the end of the axis.
        x_scale: steps from left to right; default: those of the lines.
    """
    across = [x for line in lines for x, _ in line.points]
    x_scale = x_scale or Scale(min(across), max(across))
    y_scale = fitted(y for line in lines for _, y in line.points)
    names = _names(lines, y_scale) if len(lines) > 1 else Markup("")
    drawn = Markup("").join(_line(line, x_scale, y_scale, x_name) for line in lines)
    classes = "plot" if len(lines) > 1 else "plot alone"
    if y_scale.logarithmic:
        label += " (logarithmic scale)"
    return _plane(classes, label, drawn + names, x_scale, y_scale, x_name)


def scatter(points: Sequence[tuple[float, float]], style: str, label: str, scale: Scale) -> Markup:
    """Values against labels on one scale; the diagonal is where they are equal."""
    path = "".join(f"M{_x(scale, x)} {_y(scale, y)}h0" for x, y in points)
    drawn = Markup(
        '<svg viewBox="0 0 {side} {side}" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="rule" d="M0 {side}L{side} 0"/><path class="cloud {style}" d="{path}"/></svg>'
    ).format(side=_SIDE, style=style, path=path)
    return _plane("plot square", label, drawn, scale, scale, "label")


def _plane(
    classes: str, label: str, drawn: Markup, x_scale: Scale, y_scale: Scale, x_name: str
) -> Markup:
    """What is drawn, between its axes."""
    rows, columns = y_scale.ticks(), x_scale.ticks()
    rules = "".join(f"M0 {_y(y_scale, tick)}h{_SIDE}" for tick in rows)
    grid = Markup(
        '<svg class="rules" viewBox="0 0 {side} {side}" preserveAspectRatio="none" '
        'aria-hidden="true"><path class="rule" d="{rules}"/></svg>'
    ).format(side=_SIDE, rules=rules)
    words = [
        Markup('<span class="tick y" style="top:{}%">{}</span>').format(
            _percent(1 - y_scale.place(tick)), shown(tick)
        )
        for tick in rows
    ]
    words += [
        Markup('<span class="tick x" style="left:{}%">{}</span>').format(
            _percent(x_scale.place(tick)), shown(tick)
        )
        for tick in columns
    ]
    words.append(Markup('<span class="tick axis">{}</span>').format(x_name))
    return Markup('<div class="{}" role="img" aria-label="{}">{}{}{}</div>').format(
        classes, label, grid, drawn, Markup("").join(words)
    )


def _line(line: Line, x_scale: Scale, y_scale: Scale, x_name: str) -> Markup:
    places = [(_x(x_scale, x), _y(y_scale, y)) for x, y in line.points]
    path = "M" + "L".join(f"{x} {y}" for x, y in places)
    kind = "mark" if len(places) <= _MARKED else "mark veiled"
    marks = Markup("").join(
        Markup('<path class="{}" d="M{} {}h0"><title>{}</title></path>').format(
            kind, x, y, f"{line.name}, {x_name} {value[0]:,.0f}: {value[1]:.4g}"
        )
        for (x, y), value in zip(places, line.points, strict=True)
    )
    return Markup(
        '<svg viewBox="0 0 {side} {side}" preserveAspectRatio="none" aria-hidden="true" '
        'class="{style}"><path class="line" d="{path}"/>{marks}</svg>'
    ).format(side=_SIDE, style=line.style, path=path, marks=marks)


def _names(lines: Sequence[Line], y_scale: Scale) -> Markup:
    """Each line's name at the height of its last point, none upon another."""
    ends = [1 - y_scale.place(line.points[-1][1]) for line in lines]
    heights = apart(ends, LABEL_HEIGHT / HEIGHT)
    return Markup("").join(
        Markup('<span class="name {}" style="top:{}%"><i></i>{}</span>').format(
            line.style, _percent(height), line.name
        )
        for line, height in zip(lines, heights, strict=True)
    )


def _x(scale: Scale, value: float) -> str:
    return f"{_SIDE * scale.place(value):.4g}"


def _y(scale: Scale, value: float) -> str:
    return f"{_SIDE * (1 - scale.place(value)):.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g}"
