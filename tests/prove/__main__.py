"""``make prove``: run every row, tell each as it ends, write the table, exit 1 if one failed.

``python -m tests.prove --only 120-2`` runs the rows whose name contains that.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tests.prove.rows import Row, as_json, run_neighbours, run_row
from tests.support.rabbitmq import MISSING, RabbitServer

if TYPE_CHECKING:
    from tests.prove.rows import Neighbours, Result

LIMITS = (120, 600)
PROCESSES = (1, 2, 4)
BROKERS = ("embedded", "rabbitmq")
AT_ONCE = 3


def main() -> int:
    """Run the proof; 1 if a row failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each row")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="rows that run together")
    options = parser.parse_args()
    console = Console(stderr=options.json, width=None if sys.stdout.isatty() else 80)
    rows = [
        Row(limit, processes, broker, killed)
        for killed, limit, processes, broker in product((False, True), LIMITS, PROCESSES, BROKERS)
    ]
    rows = [row for row in rows if options.only in row.name]
    neighbours = options.only in "neighbours"
    if not RabbitServer.available():
        console.print(MISSING)
        return 1
    root = Path(tempfile.mkdtemp(prefix="postmeter-prove-"))
    console.print(f"{len(rows)} rows, {options.at_once} at once; folders in {root}")
    began = time.monotonic()
    with RabbitServer() as server:
        urls = {"embedded": "embedded:", "rabbitmq": server.url}
        beside = run_neighbours(root, "embedded:") if neighbours else None
        results = []
        with ThreadPoolExecutor(options.at_once) as pool:
            running = [pool.submit(run_row, row, root, urls[row.broker]) for row in rows]
            for done in as_completed(running):
                result = done.result()
                results.append(result)
                if options.json:
                    print(as_json(result), flush=True)
                words = "; ".join(result.failures) or "held"
                minutes = (time.monotonic() - began) / 60
                console.print(f"{minutes:4.1f} min  {result.row.name}: {words}", soft_wrap=True)
    order = {row: n for n, row in enumerate(rows)}
    results.sort(key=lambda result: order[result.row])
    _tell(console, results, beside)
    if options.json and beside is not None:
        print(as_json(beside), flush=True)
    failed = [r for r in results if r.failures] or (beside is not None and beside.failures)
    return 1 if failed else 0


def _tell(console: Console, results: list[Result], beside: Neighbours | None) -> None:
    table = Table(title="at the receiving server, 60 s windows", title_justify="left")
    names = ("limit", "proc", "way in", "killed", "worst", "used", "needed", "lost", "dbl", "unkn")
    for name in names:
        table.add_column(name, justify="right")
    for r in results:
        table.add_row(
            str(r.row.limit),
            str(r.row.processes),
            r.row.broker,
            str(r.kills) if r.row.killed else "-",
            str(r.worst),
            f"{r.used:.2%}",
            f"{r.needed:.2%}",
            str(r.lost),
            str(r.doubled),
            str(r.unknown),
            style="" if not r.failures else "red",
        )
    console.print(table)
    if beside is None:
        return
    ms = 1000.0
    console.print(
        f"single sends, call to acceptance: idle p50 {beside.idle_p50 * ms:.1f} ms, p99"
        f" {beside.idle_p99 * ms:.1f} ms;\nbeside {beside.waiting} waiting at the limit p50"
        f" {beside.beside_p50 * ms:.1f} ms, p99 {beside.beside_p99 * ms:.1f} ms\n"
        f"another company's batch of 50 at 600 a minute: alone"
        f" {beside.other_batch_alone_seconds:.2f} s, beside"
        f" {beside.other_batch_beside_seconds:.2f} s"
    )
    for failure in beside.failures:
        console.print(f"[red]failed:[/] {failure}")


if __name__ == "__main__":
    sys.exit(main())
