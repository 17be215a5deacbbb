"""The pictures in the docs: every panel is drawn, with its title, unit, legend, thresholds and limit."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.dashboards import dashboards, panels
from tests.support.panel_data import Mark, Series, Source, Span
from tests.support.panel_page import height_of, page
from tests.support.panel_svg import in_unit

if TYPE_CHECKING:
    from collections.abc import Mapping

SPAN = Span(1_800_000_000.0, 1_800_000_600.0)
VARIABLES = {"job": "postmeter", "company": "acme", "scope": "company:acme|all"}


@dataclass(slots=True)
class Told(Source):
    """A Prometheus that answers each query with two series, one of which ends."""

    url: str = ""
    span: Span = SPAN
    variables: dict[str, str] = field(default_factory=lambda: dict(VARIABLES))

    def series(self, panel: Mapping[str, Any]) -> list[Series]:
        """Two for each query."""
        count = len(self.span.times)
        rising: list[float | None] = [float(n) for n in range(count)]
        ending = [value if n < count / 2 else None for n, value in enumerate(rising)]
        refs = [target["refId"] for target in panel["targets"]]
        return [
            Series(f"{ref} <{le}>", ref, {"le": le}, values)
            for ref in refs
            for le, values in (("0.1", rising), ("+Inf", ending))
        ]

    def now(self, target: Mapping[str, Any]) -> list[tuple[dict[str, str], float]]:
        """One row."""
        return [({"scope": "company:acme", "layer": "company", "owner": "a", "resource": "b"}, 0.5)]

    def marks(self, annotation: Mapping[str, Any]) -> list[Mark]:
        """A moment and a stretch."""
        start = self.span.start
        return [
            Mark(start + 60, start + 60, annotation["name"], annotation["iconColor"]),
            Mark(start + 120, start + 240, annotation["name"], annotation["iconColor"]),
        ]


@pytest.mark.parametrize("uid", dashboards())
def test_every_panel_is_drawn(uid: str) -> None:
    """Each has its title and a drawing that is well-formed; nothing is NaN, no variable is left."""
    document = dashboards()[uid]
    html = page(document, Told())
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    graphs = [p for p in panels(document) if p["type"] in {"timeseries", "heatmap"}]
    assert len(drawings) >= len(graphs)
    for drawing in drawings:
        ET.fromstring(drawing)  # noqa: S314 - we have just made it
    for panel in document["panels"]:
        assert panel["title"].replace("$company", "acme") in html.replace("&#x27;", "'")
    assert not re.search(r"\bnan\b", html, re.IGNORECASE)
    assert "$" not in html.split("</style>")[1]
    assert "<0.1>" not in html, "labels are escaped"
    assert f"height:{height_of(document) - 96}px" in html


def test_a_limit_is_a_dashed_step() -> None:
    """It is drawn as the panel says: level until it changes, then straight up."""
    (panel,) = (p for p in panels(dashboards()["postmeter-overview"]) if p["gridPos"]["w"] == 24)
    document = dashboards()["postmeter-overview"] | {"panels": [panel]}
    html = page(document, Told())
    (limit, *_) = re.findall(
        r'<path d="M([^"]+)" fill="none" stroke="#f2495c"[^>]+dasharray="8 6"', html
    )
    points = [tuple(map(float, pair.split())) for pair in limit.split("L")]
    moves = itertools.pairwise(points)
    assert all(x == other_x or y == other_y for (x, y), (other_x, other_y) in moves)
    assert html.count('class="dash"') == 2


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (0.0, "s", "0 s"),
        (0.0123, "s", "12.3 ms"),
        (5400.0, "s", "1.5 hours"),
        (0.984, "percentunit", "98.4%"),
        (2513.0, "short", "2.51 K"),
        (30.0, "suffix: /min", "30 /min"),
    ],
)
def test_values_are_written_in_their_unit(value: float, unit: str, written: str) -> None:
    """As Grafana writes them."""
    assert in_unit(value, unit) == written
