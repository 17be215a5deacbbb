"""Writes docs/capacity.md from the rows of ``make scale``: what was measured, and what follows."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final

from tests.prove.capacity import PARTS, Measured, Model, binding_part, error_of, fit
from tests.prove.sections import TITLES, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "capacity.md"
TEMPLATE: Final = Path(__file__).with_name("capacity.md.in")
MINUTE: Final = 60.0


def read_rows(text: str) -> tuple[list[Measured], int]:
    """Read JSON lines; the rows, and the cores of the machine they were measured on."""
    told: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines() if line.strip()]
    cores = {each.pop("cores") for each in told}
    if len(cores) != 1:
        raise ValueError(f"rows of one machine are needed, these are of {sorted(cores)} cores")
    return [Measured(**each) for each in told], cores.pop()


def write_page(results: Path) -> None:
    """Make the page of saved results."""
    PAGE.write_text(page(results.read_text("utf-8")), "utf-8")


def page(results: str) -> str:
    """The whole page; it ends with the results that it was made of, so that a test can remake it."""
    rows, cores = read_rows(results)
    models = {
        ledger: fit([row for row in rows if row.ledger == ledger], cores)
        for ledger in sorted({row.ledger for row in rows})
    }
    model = models["postgresql"]
    return Template(TEMPLATE.read_text("utf-8")).substitute(
        cores=cores,
        table=_measured(rows, cores),
        costs=_costs(models),
        predictions=_predictions(rows, models),
        per_core_worker=f"{model.per_minute_of_a_core('worker'):,.0f}",
        per_core_ledger=f"{model.per_minute_of_a_core('ledger'):,.0f}",
        per_core_broker=f"{model.per_minute_of_a_core('broker'):,.0f}",
        process=f"{model.per_second(1) * MINUTE:,.0f}",
        most=f"{model.most_per_second * MINUTE:,.0f}",
        worst=f"{max(abs(error_of(r, models[r.ledger])) for r in rows if not _is_fitted(r)):.0%}",
        rss=f"{max(row.rss_mb for row in rows):,.0f}",
        amqp=max(row.broker_connections // row.processes for row in rows),
        sqlite_bytes=_bytes(rows, "sqlite"),
        postgresql_bytes=_bytes(rows, "postgresql"),
        results="\n".join(line for line in results.splitlines() if line.strip()),
    )


def results_of(text: str) -> str:
    """The results that a page was made of."""
    return text.partition("```json\n")[2].partition("```")[0]


def _predicted(row: Measured, model: Model) -> str:
    return f"{model.per_second(row.processes) * MINUTE:,.0f}"


def _is_fitted(row: Measured) -> bool:
    """Whether the model's constants come from this row."""
    return row.hosts == 1 and row.processes in {1, 2}


def _bytes(rows: Iterable[Measured], ledger: str) -> str:
    return f"{max(row.bytes_an_email for row in rows if row.ledger == ledger):,.0f}"


def _who(row: Measured) -> str:
    hosts = f" on {row.hosts} hosts" if row.hosts > 1 else ""
    return f"{row.processes}{hosts}"


def _measured(rows: Sequence[Measured], cores: int) -> str:
    head = (
        "ledger",
        "processes",
        "a minute",
        "against 1",
        "SMTP",
        "PostgreSQL",
        "AMQP",
        "commits",
        "MB",
        "worst",
    )
    single = {row.ledger: row.per_second for row in rows if (row.processes, row.hosts) == (1, 1)}
    lines = [
        (
            TITLES[row.ledger],
            _who(row),
            f"{row.per_second * MINUTE:,.0f}",
            f"{row.per_second / single[row.ledger]:.2f}",
            row.smtp_connections,
            row.ledger_connections or "-",
            row.broker_connections or "-",
            f"{row.commits:.2f}" if row.commits else "-",
            f"{row.rss_mb:.0f}",
            f"{row.worst} of {row.limit}",
        )
        for row in rows
    ]
    bound = "\n".join(
        f"* {TITLES[row.ledger]}, {_who(row)}: {binding_part(row, cores)}; {row.cores_used:.2f} of {cores} cores"
        for row in rows
    )
    return f"{table(head, lines)}\n\nWhat each is bound by:\n\n{bound}"


def _costs(models: dict[str, Model]) -> str:
    head = ("of one email, in ms of processor time", *PARTS, "all")
    return table(
        head,
        (
            (
                TITLES[ledger],
                *(f"{model.cpu_ms[part]:.2f}" for part in PARTS),
                f"{sum(model.cpu_ms.values()):.2f}",
            )
            for ledger, model in models.items()
        ),
    )


def _predictions(rows: Sequence[Measured], models: dict[str, Model]) -> str:
    head = ("ledger", "processes", "predicted a minute", "measured", "off by", "")
    return table(
        head,
        (
            (
                TITLES[row.ledger],
                _who(row),
                _predicted(row, models[row.ledger]),
                f"{row.per_second * MINUTE:,.0f}",
                f"{error_of(row, models[row.ledger]):+.0%}",
                "fitted" if _is_fitted(row) else "predicted",
            )
            for row in rows
        ),
    )
