"""A board as JSON: times in RFC 3339 and UTC, units in the names; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.cli import render

if TYPE_CHECKING:
    from worker.telemetry.board import Board


def board_json(board: Board, *, is_whole: bool) -> dict[str, Any]:
    """How things stand, for a script; the keys are part of the command's interface.

    Args:
        is_whole: false for one company's part: what is known of all only is null then.
    """
    return {
        "at": render.iso(board.at),
        "version": board.version,
        "trouble": board.trouble or None,
        "oldest_due_at": render.iso(board.oldest_due_at),
        "in_hand": board.in_hand if is_whole else None,
        "limits": [
            {
                "scope": each.id,
                "limit_per_minute": each.limit,
                "layer": each.layer or None,
                "accepted_last_minute": each.window,
                "worst_last_hour": each.worst,
                "waiting": each.waiting,
                "accepted_by_minute": list(each.minutes),
            }
            for each in board.scopes
        ],
        "limits_per_day": [
            {
                "scope": each.id,
                "limit_per_day": each.limit,
                "layer": each.layer,
                "used_ratio": round(each.used, 4),
            }
            for each in board.days
        ],
        "waiting": [
            {
                "company": each.company,
                "kind": each.kind,
                "reason": each.reason,
                "jobs": each.jobs,
                "company_drain_seconds": each.drain_seconds,
            }
            for each in board.lines
        ],
        "holds": [
            {
                "target": each.target,
                "reason": each.reason,
                "since": render.iso(each.since_at),
                "until": render.iso(each.until_at),
            }
            for each in board.holds
        ],
        "workers": [
            {
                "host": each.host,
                "pid": each.pid,
                "version": each.version,
                "started_at": render.iso(each.started_at),
                "alive": each.alive,
                "ready": each.ready,
            }
            for each in board.workers
        ],
        "dead": dict(board.dead),
        "unknown": dict(board.unknown),
        "settings_errors": dict(board.settings_errors),
    }
