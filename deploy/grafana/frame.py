"""What both dashboards have around their panels: variables, links, annotations, the grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from deploy.grafana.panels import DATASOURCE
from deploy.grafana.queries import of
from worker.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from deploy.grafana.panels import Json

OVERVIEW: Final = "postmeter-overview"
DRILLDOWN: Final = "postmeter-drilldown"
TAG: Final = "postmeter"
WIDTH: Final = 24
"""The columns of Grafana's grid."""
SCHEMA: Final = 38
"""The schema of Grafana 10; later ones read it and bring it up to date."""
NEW_MINUTES: Final = 5
"""For how long a version counts as new."""


@dataclass(frozen=True, slots=True)
class Band:
    """Panels side by side, so many rows of the grid high; a title begins a part of the page.

    Attributes:
        panels: each with its width; several that share one width stand one above the other.
    """

    height: int
    panels: Sequence[tuple[int, Json | tuple[Json, ...]]] = ()
    title: str = ""


def placed(bands: Iterable[Band]) -> list[Json]:
    """Number the panels and give each its place.

    Raises:
        ValueError: a band is not as wide as the page.
    """
    found: list[Json] = []
    top = 0
    for band in bands:
        if band.title:
            place = {"h": 1, "w": WIDTH, "x": 0, "y": top}
            row = {"type": "row", "title": band.title, "collapsed": False, "panels": []}
            found.append({"id": len(found) + 1, **row, "gridPos": place})
            top += 1
        left = 0
        for width, panels in band.panels:
            column = panels if isinstance(panels, tuple) else (panels,)
            height = band.height // len(column)
            for n, panel in enumerate(column):
                place = {"h": height, "w": width, "x": left, "y": top + n * height}
                found.append({"id": len(found) + 1, **panel, "gridPos": place})
            left += width
        if left != WIDTH:
            raise ValueError(
                f"the band that begins in row {top} is {left} columns wide: use {WIDTH}"
            )
        top += band.height
    return found


def dashboard(
    *,
    uid: str,
    title: str,
    description: str,
    variables: Iterable[Json],
    links: Iterable[Json],
    bands: Iterable[Band],
    last: str,
) -> Json:
    """The whole dashboard; ``last`` is how far back it looks at first: ``now-1h``."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": [TAG],
        "schemaVersion": SCHEMA,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": last, "to": "now"},
        "templating": {"list": [_datasource(), _installation(), *variables]},
        "annotations": {"list": _annotations()},
        "links": list(links),
        "panels": placed(bands),
    }


def variable(name: str, label: str, query: str, **more: Any) -> Json:
    """A variable with the values of a query to Prometheus, read anew when the time changes."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": False,
        "includeAll": False,
        **more,
    }


def _datasource() -> Json:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Prometheus",
        "query": "prometheus",
        "refresh": 1,
        "multi": False,
        "includeAll": False,
    }


def _installation() -> Json:
    query = f"label_values({metrics.BUILD.name}, job)"
    return variable("job", "Installation", query)


def dashboard_link(title: str, uid: str) -> Json:
    """A link at the top to another dashboard, at the same time and for the same installation."""
    return _link(title, f"/d/{uid}", "dashboard", keepTime=True, includeVars=True)


def page_link(title: str, url: str, tooltip: str) -> Json:
    """A link at the top to a page outside Grafana."""
    return _link(title, url, "external link", tooltip=tooltip, targetBlank=True)


def _link(title: str, url: str, icon: str, **more: Any) -> Json:
    link = {
        "title": title,
        "type": "link",
        "icon": icon,
        "tooltip": "",
        "url": url,
        "tags": [],
        "asDropdown": False,
        "targetBlank": False,
        "includeVars": False,
        "keepTime": False,
    }
    return link | more


def _annotations() -> list[Json]:
    versions = f"count by (version) ({of(metrics.BUILD)})"
    before = f"count by (version) ({of(metrics.BUILD)} offset {NEW_MINUTES}m)"
    alerts = of("ALERTS", 'alertstate="firing"', 'alertname=~"Postmeter.+"')
    firing = f"max by (alertname, severity) ({alerts})"
    fired = f"max by (alertname, severity) ({alerts} offset 1m)"
    some_before = f"count({of(metrics.BUILD)} offset {NEW_MINUTES}m)"
    return [
        _annotation(
            "Deployments",
            f"{versions} unless on (version) {before} and on () {some_before}",
            "purple",
            titleFormat="Version {{version}}",
            textFormat="The first workers of this version are at work.",
        ),
        _annotation(
            "Settings",
            f"1000 * max({of(metrics.SETTINGS_LOADED)})",
            "blue",
            titleFormat="Settings loaded",
            textFormat="A worker has read settings that had changed.",
            useValueForTime="on",
        ),
        _annotation(
            "Alerts",
            f"{firing} unless on (alertname, severity) {fired}",
            "red",
            titleFormat="{{alertname}}",
            textFormat="Begins to fire ({{severity}}).",
            tagKeys="severity",
        ),
    ]


def _annotation(name: str, expr: str, color: str, **more: str) -> Json:
    """Marks in every graph, where a query of Prometheus returns something above 0."""
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": expr,
        "step": "30s",
        **more,
    }
