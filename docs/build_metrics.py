"""Writes docs/metrics.md from the list of metrics: ``python docs/build_metrics.py``."""

# ruff: noqa: INP001 - a script beside the page that it writes, no package

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

if __name__ == "__main__":  # the packages lie beside docs/, not in it
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from worker.telemetry import metrics

PATH: Final = Path(__file__).resolve().parent / "metrics.md"
HEAD: Final = """\
# Metrics

<!-- Made by docs/build_metrics.py from worker/telemetry/metrics.py; do not edit. -->

`postmeter worker` serves `/metrics`, `/healthz` and `/readyz` on `POSTMETER_METRICS_PORT` (9191),
bound to 127.0.0.1 unless `POSTMETER_METRICS_HOST` says otherwise, for all worker processes together;
and for people `/`, the [status page](status-page.md), and `/runbook/`.

* `/healthz` is 200 while the process that serves is alive and does its rounds.
* `/readyz` is 200 while the ledger can be read and written and at least one worker process of this
  `postmeter worker` has nothing to complain of; else 503 with one line of why. What workers on other
  hosts do changes nothing. Both answer in JSON to `Accept: application/json`.

Counters and histograms add up what the worker processes of one host counted since `postmeter worker`
started, those that were killed included. Gauges are read from the ledger, which all hosts share: take
`max by (…)`, not `sum by (…)`.

Scopes: `company:<id>` and `system` (the batches of a context), `all` (every batch),
`mailbox:<context>/<user>` (all mail of a mailbox that has a limit), and the same with `:day` for a
limit by the day. The system's context is the company `_system`. How the emails of a configured company
end is counted from 0, also before the first one, so that `rate()` sees it.

Windows are counted from the record of attempts, a job's every acceptance once, whichever process or
host wrote it and however late its commit came (15 s at the most). `postmeter_drain_eta_seconds` is
the model that `postmeter status` foretells with (`worker/forecasting.py`): every limit at once, turns
with other companies and users by weight, single sends first, a pause with an end waited for.
"""


def document() -> str:
    """The whole page."""
    return "\n".join([HEAD, *map(_section, metrics.ALL)])


def _section(metric: metrics.Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
    lines = [f"## `{metric.name}`", "", metric.help, "", f"{metric.tells}", ""]
    lines.append(f"* type: {metric.kind.value}")
    lines.append(f"* labels: {labels}")
    if metric.buckets:
        lines.append(f"* buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)} seconds")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
