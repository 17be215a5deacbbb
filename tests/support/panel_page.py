"""A dashboard as a page: every panel in its place in the grid, with what Prometheus has."""

from __future__ import annotations

import string
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.support.panel_heatmap import heatmap
from tests.support.panel_svg import COLORS, colors_of, graph, in_unit, spark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.panel_data import Mark, Series, Source

WIDTH: Final = 1440
COLUMN, ROW, GAP = (WIDTH - 16) / 24, 38, 8
HEAD: Final = 88
_STYLE: Final = Path(__file__).with_suffix(".css")
_PAGE: Final = string.Template("""\
<!doctype html><html lang="en"><meta charset="utf-8"><title>$title</title><style>$style</style>
<header><h1>$title</h1><p>$variables</p><nav>$links</nav></header>
<main style="height:${height}px">$panels</main></html>
""")
_CALCS: Final = {"lastNotNull": "Last *", "max": "Max"}


def height_of(document: Mapping[str, Any]) -> int:
    """How high the page is, in pixels."""
    return HEAD + _bottom(document) + 8


def page(document: Mapping[str, Any], source: Source) -> str:
    """The page."""
    annotations = [a for a in document["annotations"]["list"] if "expr" in a]
    marks = [mark for annotation in annotations for mark in source.marks(annotation)]
    clock = " to ".join(
        time.strftime("%H:%M", time.gmtime(t)) for t in (source.span.start, source.span.end)
    )
    shown = [v for v in document["templating"]["list"] if v["name"] in source.variables]
    chips = [(v["label"], source.variables[v["name"]]) for v in shown]
    return _PAGE.substitute(
        title=escape(document["title"]),
        style=_STYLE.read_text(encoding="utf-8"),
        variables="".join(
            f"<span>{escape(name)} <b>{escape('All' if '|' in value else value)}</b></span>"
            for name, value in [*chips, ("Time", clock)]
        ),
        links="".join(f"<span>{escape(link['title'])}</span>" for link in document["links"]),
        height=_bottom(document),
        panels="".join(_placed(panel, source, marks) for panel in document["panels"]),
    )


def _bottom(document: Mapping[str, Any]) -> int:
    places = [panel["gridPos"] for panel in document["panels"]]
    rows: int = max(place["y"] + place["h"] for place in places)
    return rows * ROW


def _placed(panel: Mapping[str, Any], source: Source, marks: Sequence[Mark]) -> str:
    place = panel["gridPos"]
    width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
    at = (
        f"left:{place['x'] * COLUMN + GAP:.0f}px;top:{place['y'] * ROW}px;"
        f"width:{width:.0f}px;height:{height}px"
    )
    title = escape(source.fill(panel["title"])).replace("\\.", ".")
    if panel["type"] == "row":
        return f'<h2 style="{at}">⌄ {title}</h2>'
    body = {
        "stat": _stat,
        "timeseries": _graph,
        "heatmap": _heatmap,
        "table": _table,
    }[panel["type"]](panel, source, marks, (width, height - 34))
    return f'<section style="{at}"><h3>{title} <i>i</i></h3>{body}</section>'


def _stat(
    panel: Mapping[str, Any], source: Source, marks: Sequence[Mark], size: tuple[float, float]
) -> str:
    defaults, options = panel["fieldConfig"]["defaults"], panel["options"]
    series = source.series(panel)
    known = [one for one in series if one.known]
    if not known:
        text, color, behind = defaults["noValue"], COLORS["text"], ""
    else:
        last = known[0].known[-1]
        color = _threshold_color(defaults, last)
        behind = spark(known[0].values, color, source.span, (size[0], size[1] * 0.6))
        words = {k: v for each in defaults["mappings"] for k, v in each["options"].items()}
        written = in_unit(last, defaults["unit"], defaults.get("decimals"))
        text = words[f"{last:g}"]["text"] if f"{last:g}" in words else written
    if options["textMode"] == "name":
        text = ", ".join(one.name for one in series)
    if options["graphMode"] == "none":
        behind = ""
    return f'<p class="figure" style="color:{color}">{escape(text)}</p><div class="spark">{behind}</div>'


def _threshold_color(defaults: Mapping[str, Any], value: float) -> str:
    color = ""
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return COLORS[color]


def _graph(
    panel: Mapping[str, Any], source: Source, marks: Sequence[Mark], size: tuple[float, float]
) -> str:
    legend = panel["options"]["legend"]
    series = [one for one in source.series(panel) if one.known]
    width, height = size[0] - 12, size[1]
    right = legend["placement"] == "right"
    if right:
        width -= legend["width"]
    rows = max(1, -(-sum(34 + 6.6 * len(one.name) for one in series) // width))
    if not right:
        height -= rows * 19 + 6
    drawn = graph(panel, series, marks, source.span, (width, height))
    names = _legend(panel, series, legend)
    side = f' style="width:{legend["width"]}px"' if right else ""
    return f'<div class="{"beside" if right else "below"}">{drawn}<div class="legend"{side}>{names}</div></div>'


def _legend(panel: Mapping[str, Any], series: Sequence[Series], legend: Mapping[str, Any]) -> str:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    rows = []
    limits = {
        o["matcher"]["options"]
        for o in panel["fieldConfig"]["overrides"]
        if o["matcher"]["id"] == "byFrameRefID"
    }
    for one, color in zip(series, colors_of(panel, series), strict=True):
        dash = "dash" if one.ref in limits else ""
        name = f'<span><i class="{dash}" style="color:{color}"></i>{escape(one.name)}</span>'
        figures = {"lastNotNull": one.known[-1], "max": max(one.known)}
        cells = "".join(f"<td>{in_unit(figures[c], unit)}</td>" for c in legend["calcs"])
        rows.append(f"<tr><td>{name}</td>{cells}</tr>" if legend["calcs"] else name)
    if not legend["calcs"]:
        return "".join(rows)
    head = "".join(f"<th>{_CALCS[calc]}</th>" for calc in legend["calcs"])
    return f"<table><tr><th>Name</th>{head}</tr>{''.join(rows)}</table>"


def _heatmap(
    panel: Mapping[str, Any], source: Source, marks: Sequence[Mark], size: tuple[float, float]
) -> str:
    return f'<div class="below">{heatmap(source.series(panel), source.span, (size[0] - 12, size[1] - 4))}</div>'


def _table(
    panel: Mapping[str, Any], source: Source, marks: Sequence[Mark], size: tuple[float, float]
) -> str:
    organize = next(t for t in panel["transformations"] if t["id"] == "organize")["options"]
    titles = organize["renameByName"]
    fields = sorted(titles, key=lambda name: organize["indexByName"][name])
    overrides = {o["matcher"]["options"]: _properties(o) for o in panel["fieldConfig"]["overrides"]}
    nothing = panel["fieldConfig"]["defaults"]["noValue"]
    head = "".join(f"<th{_aligned(name)}>{escape(titles[name])}</th>" for name in fields)
    body = "".join(
        "<tr>"
        + "".join(_cell(row.get(name), name, overrides[titles[name]], nothing) for name in fields)
        + "</tr>"
        for row in _joined(panel, source, fields[0])
    )
    return f'<table class="table"><tr>{head}</tr>{body}</table>'


def _joined(panel: Mapping[str, Any], source: Source, by: str) -> list[dict[str, str | float]]:
    rows: dict[tuple[str, ...], dict[str, str | float]] = {}
    several = len(panel["targets"]) > 1
    for target in panel["targets"]:
        value = f"Value #{target['refId']}" if several else "Value"
        for labels, number in source.now(target):
            key = (labels[by],) if several else tuple(labels.values())
            rows.setdefault(key, {}).update({**labels, value: number})
    return [rows[key] for key in sorted(rows)]


def _properties(override: Mapping[str, Any]) -> dict[str, Any]:
    return {each["id"]: each["value"] for each in override["properties"]}


def _aligned(name: str) -> str:
    return ' class="number"' if name.startswith("Value") else ""


def _cell(value: str | float | None, name: str, properties: Mapping[str, Any], nothing: str) -> str:
    kind = properties.get("custom.cellOptions", {}).get("type", "auto")
    text = nothing
    style = ""
    if isinstance(value, str):
        text = value
    elif value is not None:
        text = in_unit(value, properties["unit"])
        if kind == "color-text":
            style = f' style="color:{_threshold_color(properties, value)}"'
        if kind == "gauge":
            share = min(100.0, 100 * value)
            bar = f'<span class="gauge"><b style="width:{share:.0f}%"></b></span>'
            return f'<td class="bar">{bar}{text}</td>'
    return f"<td{_aligned(name)}{style}>{escape(text)}</td>"
