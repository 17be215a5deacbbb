"""Draws a panel's graph as SVG, the way Grafana would: axes, areas, bars, steps, limits, marks."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.support.panel_data import Mark, Series, Span

INK, FAINT, GRID = "#ccccdc", "#8e8ea0", "#2c3235"
PALETTE: Final = (
    *("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9"),
    *("#705da0", "#37872d", "#fade2a", "#447ebc", "#c15c17", "#890f02", "#6d1f62"),
)
COLORS: Final = {
    "text": INK,
    "green": "#73bf69",
    "dark-green": "#37872d",
    "light-green": "#96d98d",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "dark-red": "#c4162a",
    "blue": "#5794f2",
    "dark-blue": "#1f60c4",
    "super-light-blue": "#c0d8ff",
    "purple": "#b877d9",
    "dark-purple": "#8f3bb8",
}
_DURATIONS: Final = (
    (604_800.0, "weeks"),
    (86_400.0, "days"),
    (3_600.0, "hours"),
    (60.0, "mins"),
    (1.0, "s"),
    (0.001, "ms"),
)
_BOTTOM: Final = 20


def in_unit(value: float, unit: str, decimals: int | None = None) -> str:
    """A value as Grafana writes it in a unit."""
    if unit == "s":
        return _duration(value, decimals)
    if unit == "percentunit":
        return f"{_plain(100 * value, decimals)}%"
    suffix = unit.removeprefix("suffix:") if unit.startswith("suffix:") else ""
    if abs(value) >= 1000 and unit == "short":
        return f"{_plain(value / 1000, 2)} K"
    return _plain(value, decimals) + suffix


def _duration(value: float, decimals: int | None) -> str:
    if value == 0:
        return "0 s"
    size, name = next((pair for pair in _DURATIONS if abs(value) >= pair[0]), _DURATIONS[-1])
    return f"{_plain(value / size, decimals)} {name}"


def _plain(value: float, decimals: int | None) -> str:
    if decimals is not None:
        text = f"{value:.{decimals}f}"
        return text if not decimals else text.rstrip("0").rstrip(".")
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


@dataclass(frozen=True, slots=True)
class Plane:
    """Where values and times are on the paper; ``log`` is a logarithmic scale."""

    width: float
    height: float
    left: float
    span: Span
    low: float
    high: float
    log: bool = False

    def x(self, moment: float) -> float:
        """From the left, in pixels."""
        share = (moment - self.span.start) / (self.span.end - self.span.start)
        return self.left + share * (self.width - self.left - 8)

    def y(self, value: float) -> float:
        """From the top, in pixels."""
        if self.log:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return 6 + (1 - share) * (self.height - _BOTTOM - 6)


def colors_of(panel: Mapping[str, Any], series: Sequence[Series]) -> list[str]:
    """Each series' colour: what the panel fixes, else the palette's next."""
    found = []
    for n, one in enumerate(series):
        fixed = _override(panel, one, "color")
        found.append(COLORS[fixed["fixedColor"]] if fixed else PALETTE[n % len(PALETTE)])
    return found


def _override(panel: Mapping[str, Any], one: Series, name: str) -> Any:
    for override in panel["fieldConfig"]["overrides"]:
        options = override["matcher"]["options"]
        match override["matcher"]["id"]:
            case "byName":
                fits = options == one.name
            case "byRegexp":
                fits = re.search(options.strip("/"), one.name) is not None
            case "byFrameRefID":
                fits = options == one.ref
            case other:
                raise ValueError(f"a panel's matcher that is not drawn here: {other}")
        for each in override["properties"]:
            if fits and each["id"] == name:
                return each["value"]
    return None


def graph(
    panel: Mapping[str, Any],
    series: Sequence[Series],
    marks: Iterable[Mark],
    span: Span,
    size: tuple[float, float],
) -> str:
    """A ``timeseries`` panel's drawing."""
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults["custom"]
    stacked = custom["stacking"]["mode"] == "normal"
    lines = _stack(series) if stacked else [(None, one.values) for one in series]
    log = custom["scaleDistribution"]["type"] == "log"
    ticks = _ticks_for(defaults, [v for _, top in lines for v in top if v is not None], log)
    labels = [in_unit(tick, defaults["unit"]) for tick in ticks]
    left = 14 + 6.4 * max(map(len, labels))
    plane = Plane(*size, left, span, ticks[0], ticks[-1], log)
    parts = [_axes(plane, ticks, labels), *(_mark(plane, mark) for mark in marks)]
    colors = colors_of(panel, series)
    for one, (under, top), color in reversed(list(zip(series, lines, colors, strict=True))):
        dashed = _override(panel, one, "custom.lineStyle") is not None
        steps = dashed or custom["lineInterpolation"] == "stepAfter"
        if custom["drawStyle"] == "bars":
            parts.append(_bars(plane, under, top, color))
            continue
        opacity = 0 if dashed else custom["fillOpacity"] / 100
        parts.append(_area(plane, under, top, color, opacity, steps=steps))
        parts.append(_line(plane, top, color, custom["lineWidth"], dashed=dashed, steps=steps))
    parts.extend(_threshold(plane, defaults, custom))
    return _svg(size, parts)


def _stack(
    series: Sequence[Series],
) -> list[tuple[list[float | None] | None, list[float | None]]]:
    lines: list[tuple[list[float | None] | None, list[float | None]]] = []
    under: list[float | None] = [0.0] * (len(series[0].values) if series else 0)
    for one in series:
        top = [b if v is None else (b or 0.0) + v for b, v in zip(under, one.values, strict=True)]
        lines.append((under, top))
        under = top
    return lines


def _ticks_for(defaults: Mapping[str, Any], values: list[float], log: bool) -> list[float]:
    custom = defaults["custom"]
    marks = [s["value"] for s in defaults["thresholds"]["steps"] if s["value"] is not None]
    if custom["thresholdsStyle"]["mode"] == "off":
        marks = []
    most = max([*values, *marks, custom.get("axisSoftMax", 0.0)], default=1.0) or 1.0
    if log:
        least = min([v for v in values if v > 0], default=0.01)
        first, last = math.floor(math.log10(least)), math.ceil(math.log10(most * 1.05))
        return [10.0**n for n in range(first, max(last, first + 1) + 1)]
    step = 10 ** math.floor(math.log10(most / 4))
    step *= next(m for m in (1, 2, 2.5, 5, 10) if most / (m * step) <= 5)
    if defaults["unit"] == "short" and step < 1:
        step = 1
    if defaults["unit"] == "s":
        step = next((s for s in (60, 300, 600, 900, 1800, 3600, 7200) if most / s <= 5), step)
    return [n * step for n in range(math.ceil(most * 1.04 / step) + 1)]


def _axes(plane: Plane, ticks: Sequence[float], labels: Sequence[str]) -> str:
    parts = []
    for tick, label in zip(ticks, labels, strict=True):
        y = plane.y(tick)
        parts.append(f'<path d="M{plane.left:.0f} {y:.1f}H{plane.width - 8:.0f}" stroke="{GRID}"/>')
        parts.append(
            f'<text x="{plane.left - 8:.0f}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        )
    for moment, clock in clock_ticks(plane.span, plane.width):
        x = plane.x(moment)
        bottom = plane.height - _BOTTOM
        parts.append(f'<path d="M{x:.1f} 6V{bottom:.0f}" stroke="{GRID}" opacity=".55"/>')
        parts.append(clock_text(x, clock, plane.width, plane.height))
    return "".join(parts)


def clock_ticks(span: Span, width: float) -> list[tuple[float, str]]:
    """The moments that a time axis so wide names, and how."""
    every = next(s for s in (300, 600, 900, 1800, 3600) if (span.end - span.start) / s * 60 < width)
    first = math.ceil(span.start / every) * every
    moments = range(first, int(span.end) + 1, every)
    return [(moment, time.strftime("%H:%M", time.gmtime(moment))) for moment in moments]


def clock_text(x: float, clock: str, width: float, height: float) -> str:
    """A time below an axis, wholly on the paper."""
    x = min(x, width - 17)
    return f'<text x="{x:.1f}" y="{height - 4:.0f}" text-anchor="middle">{clock}</text>'


def _mark(plane: Plane, mark: Mark) -> str:
    left, right = plane.x(mark.start), plane.x(mark.end)
    color, bottom = COLORS[mark.color], plane.height - _BOTTOM
    region = (
        f'<rect x="{left:.1f}" y="6" width="{right - left:.1f}" height="{bottom - 6:.0f}"'
        f' fill="{color}" opacity=".09"/><rect x="{left:.1f}" y="{bottom:.0f}"'
        f' width="{right - left:.1f}" height="3" fill="{color}"/>'
        if right - left > 1
        else f'<path d="M{left - 4:.1f} {bottom + 5:.0f}h8l-4 -5z" fill="{color}"/>'
    )
    line = f'<path d="M{left:.1f} 6V{bottom:.0f}" stroke="{color}" stroke-dasharray="3 3" opacity=".8"/>'
    return f"<g><title>{escape(mark.text)}</title>{line}{region}</g>"


def _points(
    plane: Plane, values: Sequence[float | None], *, steps: bool
) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for moment, value in zip(plane.span.times, values, strict=True):
        if value is None:
            runs.append([])
            continue
        x, y = plane.x(moment), plane.y(value)
        if steps and runs[-1]:
            runs[-1].append((x, runs[-1][-1][1]))
        runs[-1].append((x, y))
    return [run for run in runs if run]


def _path(run: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in run)


def _line(
    plane: Plane,
    values: Sequence[float | None],
    color: str,
    width: float,
    *,
    dashed: bool,
    steps: bool,
) -> str:
    d = "".join(_path(run) for run in _points(plane, values, steps=steps))
    style = ' stroke-dasharray="8 6" stroke-width="1.4"' if dashed else f' stroke-width="{width}"'
    return f'<path d="{d}" fill="none" stroke="{color}" stroke-linejoin="round"{style}/>'


def _area(
    plane: Plane,
    under: Sequence[float | None] | None,
    top: Sequence[float | None],
    color: str,
    opacity: float,
    *,
    steps: bool,
) -> str:
    if not opacity:
        return ""
    floor = under or [plane.low if v is not None else None for v in top]
    both = [
        (u, t) if u is not None and t is not None else (None, None)
        for u, t in zip(floor, top, strict=True)
    ]
    runs = zip(
        _points(plane, [t for _, t in both], steps=steps),
        _points(plane, [u for u, _ in both], steps=steps),
        strict=True,
    )
    d = "".join(f"{_path([*run, *reversed(ground)])}Z" for run, ground in runs)
    return f'<path d="{d}" fill="{color}" opacity="{opacity}"/>'


def _bars(
    plane: Plane, under: Sequence[float | None] | None, top: Sequence[float | None], color: str
) -> str:
    times = plane.span.times
    width = max(1.0, (plane.x(times[1]) - plane.x(times[0])) * 0.86)
    parts = []
    for n, (moment, value) in enumerate(zip(times, top, strict=True)):
        base = (under[n] if under else 0.0) or 0.0
        if value is not None and value > base:
            y = plane.y(value)
            left = min(max(plane.left, plane.x(moment) - width / 2), plane.width - 8 - width)
            parts.append(f"M{left:.1f} {y:.1f}h{width:.1f}V{plane.y(base):.1f}h{-width:.1f}z")
    return f'<path d="{"".join(parts)}" fill="{color}" opacity=".85"/>'


def _threshold(
    plane: Plane, defaults: Mapping[str, Any], custom: Mapping[str, Any]
) -> Iterable[str]:
    if custom["thresholdsStyle"]["mode"] == "off":
        return
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is not None:
            y = plane.y(step["value"])
            yield (
                f'<path d="M{plane.left:.0f} {y:.1f}H{plane.width - 8:.0f}"'
                f' stroke="{COLORS[step["color"]]}" stroke-width="1.4" stroke-dasharray="8 6"/>'
            )


def _svg(size: tuple[float, float], parts: Iterable[str]) -> str:
    width, height = size
    return (
        f'<svg width="{width:.0f}" height="{height:.0f}" font-size="11" fill="{FAINT}">'
        f"{''.join(parts)}</svg>"
    )


def spark(values: Sequence[float | None], color: str, span: Span, size: tuple[float, float]) -> str:
    """The course of a figure, behind it."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or max(known) == min(known):
        return ""
    plane = Plane(size[0] + 8, size[1] + _BOTTOM, 0, span, min(0.0, *known), max(known) * 1.1)
    area = _area(plane, None, values, color, 0.16, steps=False)
    return _svg(size, [area, _line(plane, values, color, 1.4, dashed=False, steps=False)])
