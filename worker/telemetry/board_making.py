"""From what the ledger and the settings say to what a person sees (``board``); pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from worker.ledger.rows import State
from worker.telemetry.board import Board, Day, Holding, Line, Scope, Worker
from worker.telemetry.standing import reason_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.ledger.holds import Hold
    from worker.ledger.overview import WorkerRecord
    from worker.telemetry.board_reading import Standing
    from worker.telemetry.rules import Rules
    from worker.telemetry.standing import Waiting


def make_board(
    standing: Standing,
    rules: Rules,
    *,
    at: float,
    version: str,
    workers: Iterable[WorkerRecord],
    others: Mapping[str, Mapping[State, int]],
    windows: Mapping[str, tuple[int, int]],
    minutes: Mapping[str, tuple[int, ...]],
    known_minutes: int,
    errors: Mapping[str, int],
    trouble: str = "",
) -> Board:
    """Put everything together.

    Args:
        at: Unix seconds.
        others: by company, how much is in hand, dead or unknown.
        windows: by scope, what the window holds now, and at the worst.
        minutes: by scope, what each of the last minutes held, the oldest first.
        known_minutes: of how many minutes everything is known.
        errors: by context, how many errors its settings have.
        trouble: why the ledger cannot be written, in a word.
    """
    kept = _kept_waiting(standing.waiting)
    workers = sorted(workers, key=lambda each: (each.host, each.pid))
    drains = standing.waiting.drain_seconds if any(each.alive for each in workers) else {}
    return Board(
        at=at,
        version=version,
        trouble=trouble,
        scopes=_scopes(rules, kept, windows, minutes, known_minutes),
        days=_days(rules, kept, standing.days_used),
        lines=_lines(standing.waiting, drains),
        holds=tuple(map(_holding, sorted(standing.backlog.holds, key=_since))),
        workers=tuple(map(_worker, workers)),
        oldest_due_at=standing.waiting.oldest_due_at,
        in_hand=sum(n.get(State.CLAIMED, 0) + n.get(State.DATA, 0) for n in others.values()),
        dead=_by_company(rules, others, State.DEAD),
        unknown=_by_company(rules, others, State.UNKNOWN),
        settings_errors=_most_first(errors),
    )


def _kept_waiting(waiting: Waiting) -> Counter[str]:
    """How many due jobs each limit keeps, by its scope."""
    kept = Counter[str]()
    for (scope, _), jobs in waiting.under.items():
        kept[scope] += jobs
    return kept


def _scopes(
    rules: Rules,
    kept: Mapping[str, int],
    windows: Mapping[str, tuple[int, int]],
    minutes: Mapping[str, tuple[int, ...]],
    known_minutes: int,
) -> tuple[Scope, ...]:
    """Every limit by the minute, and what has no limit but has sent in the last hour."""
    idle = (0,) * known_minutes
    found = []
    for scope in dict.fromkeys([*rules.minute_scopes, *minutes]):
        limit = rules.limits.get(scope)
        window, worst = windows.get(scope, (0, 0))
        found.append(
            Scope(
                scope,
                limit.limit if limit else None,
                limit.layer if limit else "",
                window,
                worst,
                kept.get(scope, 0),
                minutes.get(scope, idle),
            )
        )
    return tuple(sorted(found, key=_urgency))


def _urgency(scope: Scope) -> tuple[bool, float, int, int, str]:
    """What is the most used comes first; what has no limit last of those that send."""
    sent = sum(scope.minutes)
    used = scope.window / scope.limit if scope.limit else 0.0
    return not (sent or scope.waiting), -used, -scope.waiting, -sent, scope.id


def _days(rules: Rules, kept: Mapping[str, int], used: Mapping[str, float]) -> tuple[Day, ...]:
    days = [
        Day(
            limit.scope,
            limit.limit,
            limit.layer,
            used.get(limit.scope, 0.0),
            kept.get(limit.scope, 0),
        )
        for limit in rules.limits.values()
        if limit.per == "day"
    ]
    return tuple(sorted(days, key=lambda day: (-day.used, day.id)))


def _lines(waiting: Waiting, drains: Mapping[str, float]) -> tuple[Line, ...]:
    """What waits, and for how long; where nobody delivers, that can't be told."""
    lines = [
        Line(company, kind, reason.value, jobs, drains.get(company))
        for (company, kind, reason), jobs in waiting.jobs.items()
    ]
    return tuple(sorted(lines, key=lambda x: (-x.jobs, x.company, x.kind, x.reason)))


def _since(hold: Hold) -> tuple[float, str]:
    return hold.since_at, hold.target


def _holding(hold: Hold) -> Holding:
    """A hold without anybody's words; what follows # tells one password from the next."""
    target = hold.target.partition("#")[0] if _is_of_credential(hold) else hold.target
    return Holding(target, reason_word(hold), hold.since_at, hold.until_at)


def _is_of_credential(hold: Hold) -> bool:
    return hold.target.startswith("credential:")


def _worker(record: WorkerRecord) -> Worker:
    return Worker(
        record.host,
        record.pid,
        record.version,
        record.started_at,
        alive=record.alive,
        ready=record.alive and not record.trouble,
    )


def _by_company(
    rules: Rules, others: Mapping[str, Mapping[State, int]], state: State
) -> tuple[tuple[str, int], ...]:
    counts = Counter[str]()
    for company, by_state in others.items():
        counts[rules.label(company)] += by_state.get(state, 0)
    return _most_first(counts)


def _most_first(counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    found = [(name, count) for name, count in counts.items() if count]
    return tuple(sorted(found, key=lambda each: (-each[1], each[0])))
