"""Writes the dashboards: ``python deploy/grafana/build.py``.

Metric names come from ``worker.telemetry.metrics``, thresholds from ``deploy.prometheus.thresholds``,
queues from ``producers.topology``; ``tests/deploy/test_grafana.py`` writes them anew and compares.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if __name__ == "__main__":  # the packages lie beside deploy/, not in it
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy.grafana import drilldown, overview
from deploy.prometheus.model import SITE

if TYPE_CHECKING:
    from deploy.grafana.panels import Json

FOLDER: Final = Path(__file__).resolve().parent / "dashboards"


def documents(site: str = SITE) -> dict[str, Json]:
    """Both dashboards, by the name of their file.

    Args:
        site: where a worker's metrics port serves its status page and the runbook.
    """
    made = (each.document(site.rstrip("/")) for each in (overview, drilldown))
    return {f"{document['uid']}.json": document for document in made}


def written(document: Json) -> str:
    """A dashboard as its file has it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--site", default=SITE, help="where a worker's status page is [%(default)s]"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to write them")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents(options.site).items():
        path = options.folder / name
        path.write_text(written(document), encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
