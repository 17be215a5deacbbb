"""The tables of the status page; pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from worker.telemetry.metrics import WaitReason
from worker.telemetry.web.markup import Markup, tag, together
from worker.wording import duration, number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.telemetry.board import Board, Line, Worker

SHOWN_ROWS: Final = 20
WAITS_FOR: Final = {
    WaitReason.LIMIT: "a limit",
    WaitReason.DATE: "its date",
    WaitReason.RETRY: "a retry",
    WaitReason.HELD: "a hold",
    WaitReason.SETTINGS: "settings",
    WaitReason.TURN: "its turn",
    WaitReason.VERSION: "a newer worker",
}
"""What a job waits for, in words."""
_DAY_SECONDS: Final = 86_400


def waiting(board: Board, _now_wall: float) -> Markup:
    """What waits, by company, kind and reason."""
    return table(
        "By company and kind, the longest first",
        ("line", "waits for", "jobs", "empty in"),
        [
            (
                f"{line.company} {line.kind}",
                WAITS_FOR[WaitReason(line.reason)],
                number(line.jobs),
                _leaves_in(line),
            )
            for line in board.lines
        ],
        "Nothing waits.",
        numbers=("jobs", "empty in"),
    )


def limits_by_day(board: Board, _now_wall: float) -> Markup:
    """The limits by the day, and what of each is used up."""
    return table(
        "Used in the last 24 hours, the fullest first",
        ("scope", "limit a day", "used", "wait for it"),
        [
            (day.id.removesuffix(":day"), number(day.limit), f"{day.used:.0%}", number(day.waiting))
            for day in board.days
        ],
        "There is no limit by the day.",
        numbers=("limit a day", "used", "wait for it"),
    )


def holds(board: Board, now_wall: float) -> Markup:
    """What is held or paused."""
    return table(
        "The oldest first",
        ("held", "why", "since", "until"),
        [
            (
                hold.target,
                hold.reason,
                moment(hold.since_at, now_wall),
                "it is tried or resumed"
                if hold.until_at is None
                else moment(hold.until_at, now_wall),
            )
            for hold in board.holds
        ],
        "Nothing is held.",
    )


def decisions(board: Board, _now_wall: float) -> Markup:
    """What waits for a person's decision."""
    dead, unknown = dict(board.dead), dict(board.unknown)
    return table(
        "Dead letters, and emails of which nobody knows whether they were sent",
        ("company", "dead", "unknown"),
        [
            (company, number(dead.get(company, 0)), number(unknown.get(company, 0)))
            for company in dict.fromkeys([*dead, *unknown])
        ],
        "Nothing waits for a decision.",
        numbers=("dead", "unknown"),
    )


def workers(board: Board, now_wall: float) -> Markup:
    """The worker processes, of all hosts."""
    return table(
        "On all hosts that share this ledger",
        ("process", "state", "version", "since"),
        [
            (
                f"{worker.host} {worker.pid}",
                state_of(worker),
                worker.version,
                moment(worker.started_at, now_wall),
            )
            for worker in board.workers
        ],
        together("No worker runs. Start one: ", tag("code", "postmeter worker")),
    )


def settings_errors(board: Board, _now_wall: float) -> Markup:
    """The contexts whose settings have errors."""
    return table(
        "What was right before stays in force",
        ("settings of", "errors"),
        [(context, number(count)) for context, count in board.settings_errors],
        "The settings have no errors.",
        numbers=("errors",),
    )


def _leaves_in(line: Line) -> str:
    """How long until what is due has left; what waits for something else has no such time."""
    if line.reason not in {WaitReason.LIMIT, WaitReason.TURN}:
        return "-"
    return "not known" if line.drain_seconds is None else duration(line.drain_seconds)


SECTIONS: Final[Sequence[tuple[str, str, Callable[[Board, float], Markup]]]] = (
    ("waiting", "Waiting", waiting),
    ("days", "Limits by the day", limits_by_day),
    ("holds", "Holds and pauses", holds),
    ("decisions", "For a person to decide", decisions),
    ("workers", "Workers", workers),
    ("settings", "Settings", settings_errors),
)
"""The tables in their order: the name of the place, its title, and what makes it."""


def state_of(worker: Worker) -> str:
    """How a worker is, in words."""
    if not worker.alive:
        return "silent"
    return "ready" if worker.ready else "not ready"


def moment(at_wall: float, now_wall: float) -> Markup:
    """A moment, in UTC; with its date where it is not within a day. Both are Unix seconds."""
    at = datetime.fromtimestamp(at_wall, tz=UTC)
    near = abs(now_wall - at_wall) < _DAY_SECONDS
    return tag(
        "time", f"{at:%H:%M:%S}" if near else f"{at:%Y-%m-%d %H:%M}", datetime=f"{at:%FT%TZ}"
    )


def table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    empty: str,
    *,
    numbers: Sequence[str] = (),
) -> Markup:
    """Write a table with its first rows, or where there are none a sentence.

    Args:
        numbers: the columns that stand flush right.
    """
    if not rows:
        return tag("p", empty, class_="quiet")
    kinds = ["number" if column in numbers else None for column in columns]
    heads = (
        tag("th", column, class_=kind, scope="col", role="columnheader")
        for column, kind in zip(columns, kinds, strict=True)
    )
    more = len(rows) - SHOWN_ROWS
    return together(
        tag(
            "table",
            tag("caption", caption),
            tag("thead", tag("tr", *heads, role="row"), role="rowgroup"),
            tag(
                "tbody", *(_row(row, columns, kinds) for row in rows[:SHOWN_ROWS]), role="rowgroup"
            ),
            role="table",
        ),
        tag("p", f"… and {more:,} more", class_="quiet") if more > 0 else None,
    )


def _row(cells: Sequence[str], columns: Sequence[str], kinds: Sequence[str | None]) -> Markup:
    """One row; on a narrow screen its cells stand below each other, and tell their column's name.

    The roles are those that the elements have anyway: how a table is laid out must not take them.
    """
    first, *rest = (
        {"class_": kind, "data_label": column} for column, kind in zip(columns, kinds, strict=True)
    )
    others = (tag("td", c, **named, role="cell") for c, named in zip(cells[1:], rest, strict=True))
    head = tag("th", cells[0], class_=first["class_"], scope="row", role="rowheader")
    return tag("tr", head, *others, role="row")
