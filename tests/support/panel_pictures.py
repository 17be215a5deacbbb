"""Draws the dashboards' panels from what a Prometheus has: the pictures in the docs.

::

    python -m tests.support.panel_pictures FOLDER [--url URL] [--minutes 40] [--to docs/images]

``FOLDER`` is what ``small_installation`` has left; with ``--url`` a Prometheus that runs is asked. There is no
Grafana in it: ``panel_page`` lays the panels out and draws them from the dashboards' own JSON, so a
picture has their titles, queries, units, thresholds and colours. It needs Chromium and pngquant.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from tests.support.dashboards import dashboards
from tests.support.panel_data import Source, Span, last_moment, stored
from tests.support.panel_page import WIDTH, height_of, page

PICTURES: Final = {"postmeter-overview": "overview.png", "postmeter-drilldown": "drilldown.png"}
VARIABLES: Final = {
    "postmeter-overview": {"job": "postmeter"},
    "postmeter-drilldown": {"job": "postmeter", "company": "beta", "scope": "company:beta|all"},
}
"""What a person has chosen: all limits of the company."""
IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
CHROMIUM: Final = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


def draw(url: str, minutes: float, folder: Path) -> None:
    """Write both pictures."""
    end = last_moment(url) // 15 * 15
    folder.mkdir(parents=True, exist_ok=True)
    for uid, document in dashboards().items():
        source = Source(url, Span(end - 60 * minutes, end), VARIABLES[uid])
        with tempfile.TemporaryDirectory() as scratch:
            html = Path(scratch) / "page.html"
            html.write_text(page(document, source), encoding="utf-8")
            picture = folder / PICTURES[uid]
            _photograph(html, picture, height_of(document))
        print(f"wrote {picture}")


def _photograph(html: Path, picture: Path, height: int) -> None:
    options = [f"--screenshot={picture}", f"--window-size={WIDTH},{height}", f"file://{html}"]
    subprocess.run(
        [*CHROMIUM, f"--user-data-dir={html.parent / 'profile'}", *options],
        check=True,
        timeout=120,
        capture_output=True,
    )
    subprocess.run(["pngquant", "--force", "--strip", f"--output={picture}", picture], check=True)


def main() -> None:
    """Read the options and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", help="a Prometheus that runs")
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--to", type=Path, default=IMAGES)
    options = parser.parse_args()
    data = options.folder / "prometheus" / "data"
    with nullcontext(options.url) if options.url else stored(data) as url:
        draw(url, options.minutes, options.to)


if __name__ == "__main__":
    main()
