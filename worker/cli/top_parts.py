"""The parts of ``postmeter top``'s page: what needs a look, limits, waiting lines, holds; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from config.values import SYSTEM
from worker.cli import render
from worker.cli.top_marks import HOUR_WIDTHS
from worker.cli.top_table import Column, Table, words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.cli.top_marks import Marks
    from worker.telemetry.board import Board, Day, Holding, Line, Scope, Worker

ALARM: Final = "bold red"
CAUTION: Final = "bold yellow"
NAME_LEAST: Final = 12
"""To how much a name is cut before a column is left out."""
_BAR: Final = (4, 10)


def heeds(board: Board) -> list[tuple[str, str, str]]:
    """What a person should look at: a style, what it is, and more of it; the worst first."""
    over = [scope for scope in board.scopes if is_over(scope)]
    alive = [worker for worker in board.workers if worker.alive]
    idle = [worker for worker in alive if not worker.ready]
    found = [
        (ALARM, "over the limit", ", ".join(f"{x.id} {x.window:,} of {x.limit:,}" for x in over)),
        (ALARM, "no worker", "" if alive else "nothing leaves; start one with postmeter worker"),
        (CAUTION, "not ready", _by_host(idle)),
        (ALARM, "ledger", board.trouble),
        (CAUTION, "settings", _named(board.settings_errors, "error", "postmeter settings check")),
        (CAUTION, "dead", _named(board.dead, "email", "postmeter dead list")),
        (CAUTION, "unknown", _named(board.unknown, "email", "postmeter unknown list")),
    ]
    return [(style, what, more) for style, what, more in found if more]


def is_over(scope: Scope) -> bool:
    """Whether more was accepted in the last 60 s than the limit allows."""
    return scope.limit is not None and scope.window > scope.limit


def _by_host(workers: Iterable[Worker]) -> str:
    return ", ".join(f"{each.host} process {each.pid}" for each in workers)


def _named(counts: tuple[tuple[str, int], ...], noun: str, command: str) -> str:
    """How many in all, where, and the command that says more."""
    if not counts:
        return ""
    total = render.plural(sum(count for _, count in counts), noun)
    return f"{total} ({', '.join(f'{name} {count:,}' for name, count in counts)}): {command}"


def limits(board: Board, marks: Marks) -> Table[Any]:
    """Each limit beside what went through it, and what it keeps waiting."""
    scopes = board.scopes
    drains = {line.company: line.drain_seconds for line in board.lines}
    windows = max((len(f"{scope.window:,}") for scope in scopes), default=0)
    tops = max((len(f"{scope.limit or 0:,}") for scope in scopes), default=0)

    def used(scope: Scope) -> str:
        top = "-" if scope.limit is None else f"{scope.limit:,}"
        return f"{scope.window:>{windows},} of {top:>{tops}}"

    def bar(scope: Scope, width: int) -> Text:
        if scope.limit is None:
            return Text()
        full, rest = marks.bar(scope.window / scope.limit, width)
        return Text.assemble((full, ALARM if is_over(scope) else "green"), (rest, "dim"))

    def hour(scope: Scope, width: int) -> Text:
        return Text(marks.hour(scope.minutes, scope.limit, width), "cyan")

    def style(scope: Scope) -> str:
        return ALARM if is_over(scope) else ""

    columns = [
        words("LIMIT", scopes, lambda x: x.id, marks, least=NAME_LEAST),
        words("LAST 60 S", scopes, used, marks, right=True, style=style),
        Column("USED", bar, *_BAR, rank=2),
        words("WORST", scopes, lambda x: render.number(x.worst), marks, right=True, rank=5),
        Column("LAST HOUR", hour, HOUR_WIDTHS[-1], HOUR_WIDTHS[0], rank=3, steps=HOUR_WIDTHS),
        words("WAITING", scopes, lambda x: render.number(x.waiting), marks, right=True, rank=1),
        words("EMPTY IN", scopes, lambda x: _empty_in(x, drains), marks, right=True, rank=4),
    ]
    return Table(scopes, columns)


def _empty_in(scope: Scope, drains: dict[str, float | None]) -> str:
    """When what the limit keeps will have left; only a company's is known."""
    kind, _, company = scope.id.partition(":")
    if not scope.waiting or kind not in {"company", "system"}:
        return "-"
    return _in(drains.get(company or SYSTEM))


def _in(seconds: float | None) -> str:
    return "-" if seconds is None else render.duration(seconds)


def lines(board: Board, marks: Marks) -> Table[Any]:
    """What waits, by company, kind and reason."""
    rows = board.lines

    def style(line: Line) -> str:
        return CAUTION if line.reason in {"held", "settings", "version"} else ""

    columns = [
        words("WAITING", rows, lambda x: x.company, marks, least=NAME_LEAST),
        words("KIND", rows, lambda x: x.kind, marks, rank=2),
        words("FOR", rows, lambda x: x.reason, marks, style=style),
        words("EMAILS", rows, lambda x: f"{x.jobs:,}", marks, right=True),
        words("EMPTY IN", rows, lambda x: _in(x.drain_seconds), marks, right=True, rank=1),
    ]
    return Table(rows, columns)


def holds(board: Board, marks: Marks) -> Table[Any]:
    """What gets nothing for now."""
    rows = board.holds

    def since(hold: Holding) -> str:
        ago = render.duration(board.at - hold.since_at)
        return f"{render.local(hold.since_at, board.at)}, {ago}"

    def until(hold: Holding) -> str:
        if hold.until_at is None:
            return "resumed" if hold.reason == "paused" else "it works"
        return render.local(hold.until_at, board.at)

    columns = [
        words("HELD", rows, lambda x: x.target, marks, least=NAME_LEAST),
        words("WHY", rows, lambda x: x.reason, marks, style=lambda _: CAUTION),
        words("SINCE", rows, since, marks, rank=2),
        words("UNTIL", rows, until, marks, rank=1),
    ]
    return Table(rows, columns)


def days(board: Board, marks: Marks) -> Table[Any]:
    """The limits by the day."""
    rows = board.days

    def bar(day: Day, width: int) -> Text:
        full, rest = marks.bar(day.used, width)
        return Text.assemble((full, "green"), (rest, "dim"))

    columns = [
        words("DAY'S LIMIT", rows, lambda x: x.id, marks, least=NAME_LEAST),
        words("USED", rows, lambda x: f"{x.used:.0%} of {x.limit:,}", marks, right=True),
        Column("SHARE", bar, *_BAR, rank=1),
    ]
    return Table(rows, columns)


def workers(board: Board, marks: Marks) -> Table[Any]:
    """The processes that deliver."""
    rows = board.workers

    def state(worker: Worker) -> str:
        if not worker.alive:
            return "silent"
        return "ready" if worker.ready else "not ready"

    def style(worker: Worker) -> str:
        return "" if worker.ready else CAUTION

    columns = [
        words("WORKER", rows, lambda x: x.host, marks, least=NAME_LEAST),
        words("PROCESS", rows, lambda x: str(x.pid), marks, right=True),
        words("IS", rows, state, marks, style=style),
        words("VERSION", rows, lambda x: x.version, marks, rank=1),
        words("RUNS", rows, lambda x: render.duration(board.at - x.started_at), marks, rank=2),
    ]
    return Table(rows, columns)
