"""``make prove``: run every row, tell each as it ends, write docs/proof.md, exit 1 if one failed.

``python -m tests.prove --only 600-4`` runs the rows whose name contains that, and writes no page;
``python -m tests.prove --row 600-4-kill-sqlite`` runs that one in this process;
``python -m tests.prove --page RESULTS...`` writes the page from saved results and runs nothing.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tests.prove.parts import Part, all_parts, run_part
from tests.prove.peers.run import missing as peers_lack
from tests.prove.report import page, versions, write_page
from tests.prove.saved import SOAK, read_saved, run_line
from tests.prove.schedule import Schedule
from tests.support.postgresql import MISSING as NO_POSTGRESQL
from tests.support.postgresql import PostgresServer
from tests.support.rabbitmq import MISSING as NO_RABBITMQ
from tests.support.rabbitmq import RabbitServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.prove.report import Told
    from tests.prove.schedule import Costly

BUDGET = 16
"""What may run beside each other, in tenths of two cores; most of what rows do is wait."""
AT_ONCE = 6


def main() -> int:
    """Run the proof; 1 if a row failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--row", help="the one row with this name, in this process")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each row")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="rows that run together")
    parser.add_argument("--folder", type=Path, help="where rows keep what they write")
    parser.add_argument("--page", type=Path, nargs="+", help="write the page from these results")
    parser.add_argument("--minutes", type=float, help="what the results of --page took to make")
    options = parser.parse_args()
    if options.page:
        return _write_page_of(options.page, options.minutes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as for Ctrl-C
    name = options.row
    parts = [
        part
        for part in all_parts()
        if (part.name == name if name is not None else options.only in part.name)
    ]
    if not parts:
        print("no row is called that; docs/proof.md lists them", file=sys.stderr)
        return 2
    lacking = _missing(parts)
    if lacking:
        print("\n".join(lacking), file=sys.stderr)
        return 1
    folder = options.folder or Path(tempfile.mkdtemp(prefix="postmeter-prove-"))
    folder.mkdir(parents=True, exist_ok=True)
    if name is not None:
        return _run_one(parts[0], folder, as_json=options.json)
    console = Console(stderr=options.json, width=None if sys.stdout.isatty() else 80)
    began = time.monotonic()
    with (folder / "results.json").open("w", encoding="utf-8") as saved:

        def keep(document: Told) -> None:
            for file in (saved, sys.stdout) if options.json else (saved,):
                print(json.dumps(document), file=file, flush=True)

        results = _run_all(parts, folder, options.at_once, console, keep)
        minutes, when = (time.monotonic() - began) / 60, datetime.now(UTC)
        keep(run_line(minutes, when, versions()))
    _tell(console, results)
    console.print(f"the page can be made with {saved.name}", soft_wrap=True)
    if len(parts) == len(all_parts()):
        write_page(page({each["name"]: each for each in results}, versions(), minutes, when))
    return 1 if any(result["failures"] for result in results) else 0


def _write_page_of(files: Sequence[Path], minutes: float | None) -> int:
    """Write the page from saved results; 1 if one of them failed, 2 if they do not do."""
    try:
        saved = read_saved(files)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if minutes is None:
        minutes = saved.minutes
    if minutes is None:
        print("not every file says how long it took: give --minutes", file=sys.stderr)
        return 2
    names = [*(part.name for part in all_parts()), SOAK]
    results = {name: saved.results[name] for name in names if name in saved.results}
    for name in saved.results.keys() - set(names):
        print(f"left out: nothing is called {name} now", file=sys.stderr)
    for name in [name for name in names if name not in saved.results]:
        print(f"not measured: {name}", file=sys.stderr)
    programs = versions() | saved.programs
    write_page(page(results, programs, minutes, saved.when, saved.runs, saved.again))
    return 1 if any(result["failures"] for result in results.values()) else 0


def _missing(parts: Sequence[Part]) -> list[str]:
    """What has to be installed before these can run, in sentences."""
    servers = ((RabbitServer, NO_RABBITMQ), (PostgresServer, NO_POSTGRESQL))
    found = [sentence for server, sentence in servers if not server.available()]
    return [*found, *(peers_lack() if any(part.peer for part in parts) else [])]


def _run_one(part: Part, folder: Path, *, as_json: bool) -> int:
    result = run_part(part, folder)
    if as_json:
        print(json.dumps(result), flush=True)
    else:
        for key, value in result.items():
            print(f"{key:28} {value}")
    return 1 if result["failures"] else 0


def _run_all(
    parts: Sequence[Part],
    folder: Path,
    at_once: int,
    console: Console,
    keep: Callable[[Told], None],
) -> list[dict[str, Any]]:
    """Run parts as processes, several at once; the results in the order of the parts.

    Args:
        keep: given each result as it comes.
    """
    console.print(f"{len(parts)} rows, up to {at_once} at once; what they write is in {folder}")
    began = time.monotonic()

    def minutes() -> str:
        return f"{(time.monotonic() - began) / 60:4.1f} min"

    def command(part: Costly) -> list[str]:
        own = [sys.executable, "-m", "tests.prove", "--row", part.name, "--json"]
        return [*own, "--folder", str(folder)]

    def started(name: str) -> None:
        console.print(f"{minutes()}  {name} begins", style="dim", soft_wrap=True)

    results: dict[str, dict[str, Any]] = {}
    schedule = Schedule(folder, BUDGET, at_once, command, started)
    for part, output, log in schedule.run(parts):
        result = _read(part.name, output, log)
        results[part.name] = result
        keep(result)
        words = "; ".join(result["failures"]) or "held"
        done = f"{len(results)}/{len(parts)}"
        console.print(f"{minutes()}  {done} {part.name}: {words}", soft_wrap=True)
    return [results[part.name] for part in parts]


def _read(name: str, output: str, log: str) -> dict[str, Any]:
    """What a row's process told; where it told nothing, that is the failure."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            told: dict[str, Any] = json.loads(line)
            return told
    lines = Path(log).read_text("utf-8", "replace").strip().splitlines() or ["it said nothing"]
    return {"name": name, "failures": [f"no result: {lines[-1][:200]} (its log is {log})"]}


def _tell(console: Console, results: Sequence[Told]) -> None:
    table = Table(title="at the receiving server, 60 s windows", title_justify="left")
    table.add_column("row", overflow="fold")
    for name in ("times", "worst", "used", "needed", "lost", "dbl", "unkn"):
        table.add_column(name, justify="right")
    for result in results:
        if "needed" not in result:
            continue
        table.add_row(
            result["name"],
            str(result["times"]),
            str(result["worst"]),
            f"{result['used']:.2%}",
            f"{result['needed']:.2%}",
            str(result["lost"]),
            str(result["doubled"]),
            str(result["unknown"]),
            style="red" if result["failures"] else "",
        )
    console.print(table)
    for result in results:
        for failure in result["failures"]:
            console.print(f"failed: {result['name']}: {failure}", style="red", soft_wrap=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell tells it
