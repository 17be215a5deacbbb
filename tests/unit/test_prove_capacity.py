"""The capacity model, and the page that is made of its rows."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from tests.prove import capacity_page
from tests.prove.capacity import Measured, binding_part, error_of, fit

ONE = Measured(
    ledger="postgresql",
    processes=1,
    hosts=1,
    per_second=200.0,
    cpu_ms={"worker": 3.0, "ledger": 2.0, "broker": 0.5, "server": 0.5},
    cores_used=1.2,
    smtp_connections=32,
    ledger_connections=3,
    broker_connections=1,
    commits=1.0,
    rss_mb=90.0,
    bytes_an_email=2_900,
    worst=100,
    limit=100,
    used=1.0,
)
TWO = replace(ONE, processes=2, per_second=300.0, cores_used=1.8)


def test_more_processes_help_until_what_is_shared_is_full() -> None:
    """One process is as measured; many come near what the cores are enough for, and never past it."""
    model = fit([ONE, TWO], cores=2)
    assert model.most_per_second == pytest.approx(2_000 / 6.0)
    assert model.per_second(1) == pytest.approx(200.0)
    assert 200.0 < model.per_second(2) < model.per_second(4) < 333.3
    assert model.per_second(1_000) == pytest.approx(333.3, rel=0.01)
    assert model.per_minute_of_a_core("ledger") == pytest.approx(30_000.0)


def test_one_file_takes_one_commit_at_a_time() -> None:
    """On SQLite two processes fill what is shared, however idle the cores are."""
    rows = [replace(ONE, ledger="sqlite"), replace(TWO, ledger="sqlite", per_second=220.0)]
    model = fit(rows, cores=64)
    assert model.per_second(1) == pytest.approx(200.0)
    assert model.per_second(64) == pytest.approx(220.0, rel=0.02)


def test_a_row_says_how_far_the_model_is_off() -> None:
    """Above nought: less was measured than predicted."""
    model = fit([ONE, TWO], cores=2)
    row = replace(TWO, per_second=model.per_second(2) / 1.2)
    assert error_of(row, model) == pytest.approx(0.2)


def test_a_model_needs_one_process_and_two() -> None:
    """Rows of several hosts do not stand in for them."""
    with pytest.raises(ValueError, match=r"these are \[1\]"):
        fit([ONE, replace(TWO, hosts=2)], cores=2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cores_used": 1.9}, "the machine's 2 cores (dearest: worker)"),
        ({"cores_used": 1.65}, "the workers"),
        ({"cores_used": 0.8}, "the ledger"),
    ],
)
def test_a_row_names_what_binds(changes: dict[str, Any], words: str) -> None:
    """All cores busy, one process's own core busy, or neither: it waits for answers."""
    row = replace(ONE, **changes)
    assert binding_part(row, cores=2).startswith(words)


def test_the_page_is_made_of_its_results() -> None:
    """docs/capacity.md holds the results at its end; nothing of it was written by hand."""
    text = capacity_page.PAGE.read_text("utf-8")
    assert capacity_page.page(capacity_page.results_of(text)) == text
    rows, _ = capacity_page.read_rows(capacity_page.results_of(text))
    assert {(row.ledger, row.processes, row.hosts) for row in rows} >= {
        *((ledger, n, 1) for ledger in ("sqlite", "postgresql") for n in (1, 2, 4)),
        *(("postgresql", n, 2) for n in (2, 4)),
    }
    assert all(row.worst <= row.limit for row in rows)


def test_rows_of_different_machines_are_no_page() -> None:
    """Their figures cannot be set side by side."""
    lines = [{**asdict(ONE), "cores": 2}, {**asdict(TWO), "cores": 4}]
    with pytest.raises(ValueError, match="one machine"):
        capacity_page.read_rows("\n".join(map(json.dumps, lines)))
