"""Writes docs/dashboards.md from the dashboards' own panels: ``python docs/build_dashboards.py``."""

# ruff: noqa: INP001 - a script beside the page that it writes, no package

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if __name__ == "__main__":  # the packages lie beside docs/, not in it
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deploy.grafana.build import documents
from deploy.grafana.frame import DRILLDOWN, OVERVIEW

if TYPE_CHECKING:
    from deploy.grafana.panels import Json

PATH: Final = Path(__file__).resolve().parent / "dashboards.md"
HEAD: Final = """\
# Dashboards

<!-- Made by docs/build_dashboards.py from deploy/grafana; do not edit. -->

Two, for Grafana 10 and later, in [deploy/grafana](../deploy/grafana): the **overview** (is mail leaving
as fast as it may, and does anybody have to do something?) and the **drill-down** (one company, then
the machinery that all companies share). A worker shows the most of it by itself:
its [status page](status-page.md) on the metrics port, and `postmeter top`.

Tests hold them against Grafana's own schema (10.1), and execute every query on a Prometheus that
scrapes workers and a RabbitMQ; they have no Grafana to look at them with.

## Install

Prometheus scrapes the workers' metrics port and has Postmeter's rules: [alerting.md](alerting.md). The
error budget is the one panel that needs the rules.

* **Compose**: nothing to do. `deploy/compose.yaml` mounts the dashboards and the data source; they are
  at <http://localhost:3000>.
* **A Grafana of your own, from files**: copy
  [`provisioning/dashboards/postmeter.yaml`](../deploy/grafana/provisioning/dashboards/postmeter.yaml)
  into its folder of the same name and [`dashboards/`](../deploy/grafana/dashboards) to
  `/etc/postmeter-dashboards`, which that file names. Your data source may have any name: the
  dashboards ask which one.
* **By hand**: *Dashboards, New, Import*, and upload both files of `deploy/grafana/dashboards`.
* **Kubernetes**: `deploy/kubernetes/components/grafana-dashboards` makes a ConfigMap of each, with the
  label `grafana_dashboard` that the sidecar of Grafana's chart looks for.

Set the data source's *scrape interval* to that of your Prometheus (15 s in `deploy/prometheus`): rates
are taken over four of them. The links at the top lead to `http://localhost:9191`; for another address,
or to change anything else, write the files anew. Do not edit them in Grafana: the next version of
Postmeter brings its own.

```sh
python deploy/grafana/build.py --site https://postmeter.example.nz --folder /etc/postmeter-dashboards
```

Their uids are `postmeter-overview` and `postmeter-drilldown`; every alert's `dashboard_url` leads to the
first.

## How to read them

* **Prometheus** and **Installation** choose the data source and the scrape job. Two installations that one
  Prometheus knows are never added up; hosts of one installation are: counters are summed, and what every
  host reads from the ledger is taken once.
* **Red dashes** are limits, as steps: a limit that changes jumps. Graphs show 0 where there was
  nothing, and a gap only where Prometheus has no word from the workers.
* **Marks** in every graph, each of which can be switched off at the top: a version that is new
  (purple), settings that were read because they had changed (blue), an alert that begins to fire (red).
* What waits: blue, green and yellow leave by themselves, orange is a pause, red and purple need a look.
* The **i** beside a panel's title says what is written here.
* Thresholds of the figures are those of the alerts as they come
  (`deploy/prometheus/thresholds.py`); rules that were written with `--set` do not change them.
"""
PICTURES: Final = """\
## The pictures

They show these panels, drawn from Prometheus data without a Grafana: `tests/support/panel_pictures.py`
reads the dashboards' JSON, asks their queries and draws what it is told, so that a picture has their
titles, units, thresholds and colours. The data is forty minutes of two worker processes, a RabbitMQ and
scripted servers on one machine, not of an installation in service. What happens is
`tests/support/small_installation.py`: batches of three companies, single sends throughout; a pause, a
changed password, settings with an error, a raised limit, a provider that throttles, a restart, and
more mail than is left of a day's cap: so *Drained in* jumps to a day.

```sh
python -m tests.support.small_installation /tmp/forty-minutes
python -m tests.support.panel_pictures /tmp/forty-minutes
```
"""


def document() -> str:
    """The whole page."""
    found = documents()
    return "\n".join(
        [HEAD, *map(_section, (found[f"{u}.json"] for u in (OVERVIEW, DRILLDOWN))), PICTURES]
    )


def _section(dashboard: Json) -> str:
    name = dashboard["title"].rpartition(" / ")[2]
    lines = [f"## {name}", "", f"![The panels of the {name.lower()}](images/{_picture(name)})", ""]
    for panel in dashboard["panels"]:
        title = panel["title"].replace("$company", "a company")
        if panel["type"] == "row":
            lines += ["", f"### {title}", ""]
        else:
            lines.append(f"* **{title}**: {panel['description']}")
    return "\n".join([*lines, ""]).replace("\n\n\n", "\n\n")


def _picture(name: str) -> str:
    return f"{name.lower().replace('-', '')}.png"


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
