"""The panels that the dashboards are made of, as Grafana's JSON; plain dictionaries.

Grafana 10 and later read this; ``tests/deploy/test_grafana.py`` holds it against Grafana's own schema.
Every panel says what it shows and what bad looks like, has a unit, and a colour means one thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
COUNT: Final = "short"
SECONDS: Final = "s"
SHARE: Final = "percentunit"
PER_MINUTE: Final = "suffix: /min"
NEUTRAL: Final = "text"
"""The colour of a figure that is neither good nor bad."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    Attributes:
        legend: what its series are called, ``{{label}}`` filled in.
        now: ask for this moment only, not for the time that is shown.
        form: ``time_series``, ``table`` or ``heatmap``.
    """

    expr: str
    legend: str = ""
    now: bool = False
    form: str = "time_series"

    def document(self, ref: str) -> Json:
        """The target as Grafana stores it."""
        return {
            "refId": ref,
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "format": self.form,
            "instant": self.now,
            "range": not self.now,
            "legendFormat": self.legend or "__auto",
        }


@dataclass(frozen=True, slots=True)
class Step:
    """From this value on, this colour; the first has no value."""

    color: str
    value: float | None = None


def thresholds_of(steps: Sequence[Step]) -> Json:
    """Thresholds as Grafana stores them; without any, a neutral colour."""
    listed = [{"color": step.color, "value": step.value} for step in steps or (Step(NEUTRAL),)]
    return {"mode": "absolute", "steps": listed}


def panel_of(
    kind: str, title: str, description: str, queries: Iterable[Query], **more: Any
) -> Json:
    """What every kind of panel has."""
    targets = [query.document(chr(ord("A") + n)) for n, query in enumerate(queries)]
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": targets,
        **more,
    }


def stat(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str = COUNT,
    steps: Sequence[Step] = (),
    decimals: int | None = None,
    nothing: str = "-",
    spark: bool = True,
    text: str = "auto",
    words: Mapping[int, str] | None = None,
) -> Json:
    """One figure; with ``spark`` its course behind it.

    Args:
        steps: from which value on it has which colour; absent: always neutral.
        nothing: what stands there where the query returns nothing.
        text: ``auto``, or ``name`` for a label instead of the value.
        words: what stands there instead of a value.
    """
    defaults: Json = {
        "unit": unit,
        "noValue": nothing,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds_of(steps),
        "mappings": [_mapping(words)] if words else [],
    }
    if decimals is not None:
        defaults["decimals"] = decimals
    return panel_of(
        "stat",
        title,
        description,
        [query],
        fieldConfig={"defaults": defaults, "overrides": []},
        options={
            "colorMode": "value",
            "graphMode": "area" if spark else "none",
            "justifyMode": "center",
            "orientation": "auto",
            "textMode": text,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
    )


def _mapping(words: Mapping[int, str]) -> Json:
    options = {str(value): {"text": word} for value, word in words.items()}
    return {"type": "value", "options": options}


@dataclass(frozen=True, slots=True)
class Look:
    """How a graph is drawn.

    Attributes:
        stacked: areas (or bars) on one another; else lines.
        bars: bars instead of areas.
        steps: values hold until the next one, as counts of now do.
        log: a scale on which each step is ten times the last.
        line_at: a value that a dashed red line marks; None for no line.
        most: the top of the scale, at least.
        calcs: what the legend says of each series beside its name; then it is a table.
        right: the legend stands on the right.
    """

    stacked: bool = False
    bars: bool = False
    steps: bool = False
    log: bool = False
    line_at: float | None = None
    most: float | None = None
    calcs: tuple[str, ...] = ()
    right: bool = False


def graph(
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    unit: str = COUNT,
    look: Look = Look(),
    colors: Mapping[str, str] | None = None,
    limits: str = "",
    links: Sequence[Json] = (),
) -> Json:
    """Series over time.

    Args:
        colors: of series by their names; a name may be a regular expression between slashes.
        limits: the letter of the query whose series are limits: dashed red steps, not filled.
        links: where a click on a series leads.
    """
    marks: list[Step] = [Step(NEUTRAL)]
    if look.line_at is not None:
        marks.append(Step("red", look.line_at))
    defaults: Json = {
        "unit": unit,
        "min": 0,
        "color": {"mode": "palette-classic"},
        "custom": _custom(look),
        "thresholds": thresholds_of(marks),
        "mappings": [],
        "links": list(links),
    }
    if look.log:
        del defaults["min"]
    overrides = [_colored(name, color) for name, color in (colors or {}).items()]
    if limits:
        overrides.append(_as_limit(limits))
    legend: Json = {
        "displayMode": "table" if look.calcs else "list",
        "placement": "right" if look.right else "bottom",
        "showLegend": True,
        "calcs": list(look.calcs),
    }
    if look.right:
        legend["width"] = 340
    return panel_of(
        "timeseries",
        title,
        description,
        queries,
        fieldConfig={"defaults": defaults, "overrides": overrides},
        options={"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}},
    )


def _custom(look: Look) -> Json:
    custom: Json = {
        "drawStyle": "bars" if look.bars else "line",
        "lineInterpolation": "stepAfter" if look.steps else "linear",
        "lineWidth": 0 if look.bars else 1 if look.stacked else 2,
        "fillOpacity": 80 if look.bars else 45 if look.stacked else 0 if look.log else 8,
        "gradientMode": "none",
        "showPoints": "never",
        "pointSize": 5,
        "spanNulls": False,
        "axisPlacement": "auto",
        "axisLabel": "",
        "scaleDistribution": {"type": "log", "log": 10} if look.log else {"type": "linear"},
        "stacking": {"group": "A", "mode": "normal" if look.stacked else "none"},
        "thresholdsStyle": {"mode": "dashed" if look.line_at is not None else "off"},
    }
    if look.most is not None:
        custom["axisSoftMax"] = look.most
    return custom


def _colored(name: str, color: str) -> Json:
    by = "byRegexp" if name.startswith("/") else "byName"
    return {
        "matcher": {"id": by, "options": name},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
    }


def _as_limit(ref: str) -> Json:
    drawn = {
        "color": {"mode": "fixed", "fixedColor": "red"},
        "custom.lineInterpolation": "stepAfter",
        "custom.lineStyle": {"fill": "dash", "dash": [8, 6]},
        "custom.lineWidth": 1,
        "custom.fillOpacity": 0,
    }
    return {
        "matcher": {"id": "byFrameRefID", "options": ref},
        "properties": [{"id": name, "value": value} for name, value in drawn.items()],
    }


def heatmap(title: str, description: str, query: Query) -> Json:
    """How many observations of each size at each time; ``query`` returns a histogram's buckets."""
    return panel_of(
        "heatmap",
        title,
        description,
        [query],
        fieldConfig={
            "defaults": {"custom": {"scaleDistribution": {"type": "linear"}}},
            "overrides": [],
        },
        options={
            "calculate": False,
            "cellGap": 1,
            "color": {
                "mode": "scheme",
                "scheme": "Blues",
                "scale": "exponential",
                "exponent": 0.5,
                "fill": "blue",
                "steps": 64,
                "reverse": False,
            },
            "filterValues": {"le": 1e-9},
            "rowsFrame": {"layout": "auto"},
            "yAxis": {"unit": SECONDS, "axisPlacement": "left", "reverse": False},
            "cellValues": {"unit": COUNT, "decimals": 0},
            "legend": {"show": True},
            "tooltip": {"show": True, "yHistogram": False},
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
        },
    )
