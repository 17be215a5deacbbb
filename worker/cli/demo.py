"""``postmeter demo``: about ninety seconds that show the limits held while a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from worker.demo.figures import (
    company_of,
    is_batch,
    judge,
    last_window,
    used_share,
    worst_window,
)
from worker.demo.scenario import COMPANIES, Demo
from worker.demo.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.demo.figures import Verdict
    from worker.demo.sink import Arrival

KILL_AT_SECONDS = 45.0
SINGLES_UNTIL_SECONDS = 75.0
GIVE_UP_SECONDS = 150.0
USED_AT_LEAST = 0.95
PLAIN_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """One company at one moment, as the receiving server sees it."""

    company: str
    limit: int
    waiting: int
    sent_last_minute: int
    worst_window: int
    used: float
    singles: int


def rows_of(arrivals: Sequence[Arrival], waiting: dict[str, int], now: float) -> list[Row]:
    """Every company's figures now."""
    rows = []
    for one in COMPANIES:
        own = [a for a in arrivals if company_of(a) == one.company]
        batch = [a.at for a in own if is_batch(a)]
        rows.append(
            Row(
                company=one.company,
                limit=one.limit,
                waiting=waiting.get(one.company, 0),
                sent_last_minute=last_window(batch, now),
                worst_window=worst_window(batch),
                used=used_share(batch, one.limit, now=now),
                singles=sum(not is_batch(a) for a in own),
            )
        )
    return rows


def table_of(rows: Sequence[Row], title: str) -> Table:
    """The rows as a table of at most 80 columns."""
    table = Table(title=title, title_justify="left")
    names = ("company", "limit/min", "waiting", "last 60 s", "worst 60 s", "used", "singles")
    for name in names:
        table.add_column(name, justify="left" if name == "company" else "right")
    for row in rows:
        held = "[green]" if row.worst_window <= row.limit else "[red]"
        table.add_row(
            row.company,
            str(row.limit),
            str(row.waiting),
            str(row.sent_last_minute),
            f"{held}{row.worst_window}[/]",
            f"{row.used:.0%}",
            str(row.singles),
        )
    return table


def plain(rows: Sequence[Row], seconds: float) -> str:
    """The rows as one line, for a log."""
    parts = [
        f"{row.company} {row.sent_last_minute}/{row.limit} waiting {row.waiting}"
        f" worst {row.worst_window}"
        for row in rows
    ]
    return f"{seconds:3.0f} s  " + " | ".join(parts)


@click.command()
@click.option(
    "--broker-url",
    default="embedded:",
    show_default=True,
    help="A RabbitMQ that the demo may use; else none is needed.",
)
@click.option("--json", "as_json", is_flag=True, help="End with the figures as JSON.")
def demo(broker_url: str, *, as_json: bool) -> None:
    """Show the limits held: two companies, two workers, one of them killed.

    Takes about 90 seconds, needs no service and no root, and leaves a folder with the mails.
    """
    root = Path(tempfile.mkdtemp(prefix="postmeter-demo-"))
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(stderr=as_json, width=None if sys.stdout.isatty() else 80)
    console.print(
        "Two companies, 60 and 240 batch emails per minute; 80 and 300 mails, and single\n"
        "sends throughout. Two worker processes; one is killed after 45 seconds."
    )
    with Sink(root / "mails", delay_seconds=0.2) as sink:
        story = Demo(
            root=root,
            broker_url=broker_url,
            smtp_port=sink.port,
            metrics_port=_free_port(),
            environ=os.environ,
        )
        try:
            story.start()
            seconds = _watch(console, story, sink)
            verdict = judge(
                story.expected(), sink.arrivals, story.unknown_ids(), used_at_least=USED_AT_LEAST
            )
            rows = rows_of(sink.arrivals, story.waiting(), time.monotonic())
        except KeyboardInterrupt:
            console.print("interrupted: everything the demo started is being ended")
            sys.exit(130)
        finally:
            with suppress(KeyboardInterrupt):
                story.stop()
    _tell(console, story, rows, verdict, seconds)
    if as_json:
        click.echo(json.dumps(_figures(story, rows, verdict, seconds), indent=2))
    sys.exit(0 if verdict.held else 1)


def _watch(console: Console, story: Demo, sink: Sink) -> float:
    """Follow the story until everything has arrived; how long it took, in seconds."""
    began = time.monotonic()
    title = "what the receiving server saw"
    live = Live(console=console, auto_refresh=False, transient=True)
    told = -PLAIN_EVERY_SECONDS
    with live if console.is_terminal else nullcontext():
        while (seconds := time.monotonic() - began) < GIVE_UP_SECONDS and story.alive():
            if seconds >= KILL_AT_SECONDS and story.killed_pid is None:
                pid = story.kill_one_worker()
                console.print(f"{seconds:3.0f} s  killed worker process {pid} with SIGKILL")
            waiting = story.waiting()
            rows = rows_of(list(sink.arrivals), waiting, time.monotonic())
            if console.is_terminal:
                live.update(table_of(rows, f"{title}, {seconds:.0f} s"), refresh=True)
            elif seconds - told >= PLAIN_EVERY_SECONDS:
                told = seconds
                console.print(plain(rows, seconds), soft_wrap=True)
            if seconds >= SINGLES_UNTIL_SECONDS:
                story.hush()
                if not any(waiting.values()) and _all_here(story, sink):
                    break
            time.sleep(0.5)
    return time.monotonic() - began


def _all_here(story: Demo, sink: Sink) -> bool:
    wanted = sum(one.mails + one.singles for one in story.expected())
    return len({a.message_id for a in sink.arrivals}) >= wanted


def _tell(
    console: Console, story: Demo, rows: Sequence[Row], verdict: Verdict, seconds: float
) -> None:
    """Say what came of it, where things lie, and what to type next."""
    console.print(table_of(rows, f"after {seconds:.0f} s, at the receiving server"))
    for failure in verdict.failures:
        console.print(f"[red]failed:[/] {failure}", highlight=False)
    if not story.alive() and story.killed_pid is None:
        console.print(f"the worker ended early; its words are in {story.log}")
    if verdict.held:
        console.print(
            f"[green]held:[/] no window of 60 s had more than its limit, every mail arrived,\n"
            f"{verdict.doubled} twice; {verdict.unknown} in the killed worker's hands, so unknown,"
            " and sent again."
        )
    tree = story.root / "settings"
    console.print(f"mails     {story.root / 'mails'}", soft_wrap=True)
    console.print(f"settings  {tree}", soft_wrap=True)
    console.print(f"metrics   http://127.0.0.1:{story.metrics_port}/metrics while a worker runs")
    console.print("next      look at the ledger of this demo:", soft_wrap=True)
    exports = " ".join(
        f"{name}={value}"
        for name, value in story.variables(tree).items()
        if name in {"POSTMETER_SETTINGS", "POSTMETER_STATE"}
    )
    command = os.path.relpath(sys.argv[0])
    console.print(f"  {exports} {command} status", soft_wrap=True, highlight=False)
    console.print("then      your own settings: postmeter settings init", highlight=False)


def _figures(story: Demo, rows: Sequence[Row], verdict: Verdict, seconds: float) -> dict[str, Any]:
    return {
        "seconds": round(seconds, 1),
        "held": verdict.held,
        "failures": list(verdict.failures),
        "doubled": verdict.doubled,
        "unknown": verdict.unknown,
        "companies": [asdict(row) for row in rows],
        "mails": str(story.root / "mails"),
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
