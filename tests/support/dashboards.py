"""What the committed dashboards ask of Prometheus: every query of every panel, ready to be executed.

::

    for asked in queries():                      # of both dashboards, and their annotations
        prometheus.vectors(asked.filled({"company": "acme"}))
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"
FILLED: Final = {
    "job": "postmeter",
    "company": "acme",
    "scope": ".+",
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "1h",
}
"""What stands for the variables where nothing else is said: everything of one installation."""
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|([a-z_]\w*))")


class Asked(NamedTuple):
    """One query; ``ref`` is empty for an annotation."""

    dashboard: str
    panel: str
    ref: str
    expr: str

    def filled(self, values: Mapping[str, str] | None = None) -> str:
        """The expression with its variables filled in."""
        return filled(self.expr, values or {})


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with Grafana's variables replaced; ``values`` first, then ``FILLED``.

    Raises:
        KeyError: there is a variable that nobody has.
    """
    known = {**FILLED, **values}
    return _VARIABLE.sub(lambda found: known[found[1] or found[2]], text)


def dashboards() -> dict[str, dict[str, Any]]:
    """Both documents, by uid."""
    read = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json")))
    return {document["uid"]: document for document in read}


def panels(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels that show data: all but the rows' titles."""
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Asked]:
    """Every query there is."""
    for uid, document in dashboards().items():
        for panel in panels(document):
            for target in panel["targets"]:
                yield Asked(uid, panel["title"], target["refId"], target["expr"])
        for annotation in document["annotations"]["list"]:
            if "expr" in annotation:
                yield Asked(uid, annotation["name"], "", annotation["expr"])
