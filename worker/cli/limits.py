"""The limits in force, each beside what it lets through: a table for ``status`` and ``lanes``."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from config.errors import ConfigError
from config.values import SYSTEM, Kind
from worker.binding import Use
from worker.cli import render
from worker.ledger.figures import newest_accepted
from worker.ledger.recipients import used_by_scope
from worker.ledger.uses import uses_of
from worker.pace import WINDOW_SECONDS, Limit, account_of_recipients, budget_of
from worker.telemetry.rules import Rules
from worker.telemetry.window import SlidingWindow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from config.effective import Provenance
    from config.settings import Settings
    from worker.cli.forecast import Outlook
    from worker.pace import Budget

LOOK_BACK_SECONDS: Final = 3600.0
LOOK_BACK_EMAILS: Final = 100_000
"""How far back the worst window is looked for, and at how many of the last acceptances the most."""


class LimitRow(NamedTuple):
    """One limit.

    Attributes:
        window: accepted in the last 60 s; of a day's limit, its slots in use, or the recipients.
        worst: the most in any 60 s of the last hour; None for a day's.
        waiting: how many wait under it.
        drains_at: when those that are due will have left (Unix seconds); None if it can't be told.
    """

    limit: Limit
    window: int
    worst: int | None
    waiting: int
    drains_at: float | None

    @property
    def used(self) -> float:
        """The share of the limit that is used."""
        return self.window / self.limit.limit


def read_limits(
    connection: Connection, outlook: Outlook, settings: Settings | None, company: str | None = None
) -> list[LimitRow]:
    """Look at every limit; of mailboxes only those with mail waiting or sent in the last hour.

    Args:
        company: only limits that its mail comes under.
    """
    if settings is None:
        return []
    rules = Rules(settings)
    windows = _windows(connection, outlook, rules)
    waiting: Counter[str] = Counter()
    lanes: dict[str, list[Any]] = {}
    for record in outlook.lanes:
        for limit in outlook.terms(record.lane).limits:
            waiting[limit.scope] += record.waiting
            lanes.setdefault(limit.scope, []).append(record)
    shown = [
        limit
        for limit in sorted(rules.limits.values())
        if _concerns(limit, company)
        and (
            not limit.scope.startswith("mailbox:") or waiting[limit.scope] or limit.scope in windows
        )
    ]
    uses = uses_of(connection, outlook.now, [limit for limit in shown if limit.per == "day"])
    rows = []
    for limit in shown:
        count, worst = windows.get(limit.scope, (0, 0))
        by_day = limit.per == "day"
        drain = outlook.drain_seconds(lanes.get(limit.scope, ()))
        rows.append(
            LimitRow(
                limit,
                uses.get(limit.scope, Use()).held if by_day else count,
                None if by_day else worst,
                waiting[limit.scope],
                None if drain is None else outlook.now.wall + drain,
            )
        )
    return [*rows, *_of_recipients(connection, outlook, settings, company)]


def _of_recipients(
    connection: Connection, outlook: Outlook, settings: Settings, company: str | None
) -> list[LimitRow]:
    """The mailboxes that have written to anybody in 24 h and are limited in that."""
    lanes: dict[str, list[Any]] = {}
    for record in outlook.lanes:
        lanes.setdefault(f"{record.lane.company}/{record.lane.user}", []).append(record)
    rows = []
    for scope, used in used_by_scope(connection, outlook.now).items():
        account = account_of_recipients(scope)
        if company not in {None, account.partition("/")[0]}:
            continue
        counted = _counted(settings, account)
        if not counted:
            continue
        budget, key = next(iter(counted.values()))
        limit = Limit(
            scope,
            budget.limit,
            window_seconds=24 * 3600.0,
            even=False,
            per="day",
            layer=key.layer,
            key=key.key,
            file=key.file,
        )
        own = [each for each in lanes.get(account, ()) if each.lane.kind in counted]
        drain = outlook.drain_seconds(own)
        at = None if drain is None else outlook.now.wall + drain
        rows.append(LimitRow(limit, used, None, sum(each.waiting for each in own), at))
    return rows


def _counted(settings: Settings, account: str) -> dict[str, tuple[Budget, Provenance]]:
    """The kinds of an account's mail whose recipients are counted: the limit, and who has set it."""
    context, _, user = account.partition("/")
    found = {}
    for kind in get_args(Kind):
        with suppress(ConfigError):
            each = settings.resolve(None if context == SYSTEM else context, user, kind)
            budget = budget_of(each, recipients=0)
            if budget is not None:
                found[kind] = (budget, each.provenance["mailbox_recipients_per_day"])
    return found


def _concerns(limit: Limit, company: str | None) -> bool:
    """Whether a company's mail comes under a limit."""
    kind, _, key = limit.scope.partition(":")
    if company is None or kind == "all":
        return True
    return company == ("_system" if kind == "system" else key.partition("/")[0].partition(":")[0])


def _windows(connection: Connection, outlook: Outlook, rules: Rules) -> dict[str, tuple[int, int]]:
    """By scope, what the last 60 s hold, and the most that any 60 s of the last hour held."""
    now = outlook.now.steady
    since = now - LOOK_BACK_SECONDS
    found: dict[str, SlidingWindow] = {}
    for stamp in newest_accepted(connection, since, most=LOOK_BACK_EMAILS):
        for scope in rules.scopes(stamp.company, stamp.user, stamp.kind):
            found.setdefault(scope, SlidingWindow(WINDOW_SECONDS)).add(stamp.steady)
    return {scope: (window.count(now), window.worst) for scope, window in found.items()}


def limits_json(rows: Iterable[LimitRow]) -> list[dict[str, Any]]:
    """The limits for JSON."""
    return [
        {
            "scope": row.limit.scope,
            "limit": row.limit.limit,
            "per": row.limit.per,
            "layer": row.limit.layer,
            "key": row.limit.key,
            "file": row.limit.file,
            "used": row.window,
            "used_ratio": round(row.used, 4),
            "worst_last_hour": row.worst,
            "waiting": row.waiting,
            "drains_at": render.iso(row.drains_at) if row.waiting else None,
        }
        for row in rows
    ]


def print_limits(rows: Sequence[LimitRow], now_wall: float) -> None:
    """Print the table, if there is a limit."""
    if not rows:
        return
    render.show(
        ("limit", "60 s", "worst", "used", "waiting", "from", "scope", "drains at"),
        [
            (
                f"{row.limit.limit:,}/{row.limit.per[:3]}",
                f"{row.window:,}",
                "-" if row.worst is None else f"{row.worst:,}",
                f"{row.used:.0%}",
                render.number(row.waiting),
                row.limit.layer,
                row.limit.scope,
                _drains_at(row, now_wall),
            )
            for row in rows
        ],
        numbers=("limit", "60 s", "worst", "used", "waiting"),
    )


def _drains_at(row: LimitRow, now_wall: float) -> str:
    if not row.waiting:
        return "-"
    return "held" if row.drains_at is None else render.local(row.drains_at, now_wall)
