"""Boards for tests of ``postmeter top``: a crowded one, a quiet one, an empty one, the manual's."""

from __future__ import annotations

from typing import Final

from worker.telemetry.board import Board, Day, Holding, Line, Scope, Worker

AT: Final = 1_800_036_000.0
"""2027-01-15 18:00:00 UTC."""
VERSION: Final = "0.1.0"
_STARTED_AT: Final = AT - 300_000.0
_DRAIN_SECONDS: Final = 12_345 * 60 / 30

_HALF: Final = (0,) * 30 + (30,) * 30
_GROWS: Final = (4,) * 6 + (9,) * 6 + (17,) * 6 + (21,) * 6 + (26,) * 6 + (30,) * 29 + (29,)
_COMES_BACK: Final = (30,) * 18 + (9,) * 6 + (0,) * 12 + (4,) * 6 + (12,) * 18
_BETA: Final = "beta-international"
_THROTTLED: Final = Holding("account:acme/jane", "throttled", AT - 312.0, None)

EMPTY: Final = Board(AT, VERSION)

CALM: Final = Board(
    AT,
    VERSION,
    scopes=(Scope("company:acme", 30, "company", 3, 12, 0, (3,) * 60),),
    workers=(Worker("mail1", 4711, VERSION, _STARTED_AT, alive=True, ready=True),),
    in_hand=1,
)

BUSY: Final = Board(
    AT,
    VERSION,
    scopes=(
        Scope(f"company:{_BETA}", 6000, "company", 5998, 6000, 402_113, (6000,) * 59 + (5998,)),
        Scope("company:acme", 30, "company", 29, 30, 12_345, _HALF),
        Scope("mailbox:acme/jane", 30, "user", 12, 30, 0, _COMES_BACK),
        Scope("all", 9000, "system", 6027, 6030, 0, (6027,) * 60),
        Scope("company:gamma", 20, "company", 1, 20, 0, (1,) * 60),
        Scope("system", None, "", 4, 9, 0, (4,) * 60),
        *(Scope(f"company:client-{n:02}", 20, "system", 0, 0, 0, (0,) * 60) for n in range(12)),
    ),
    days=(Day("mailbox:acme/jane:day", 10_000, "office365", 0.42),),
    lines=(
        Line(_BETA, "batch", "limit", 402_113, 402_113 / 100),
        Line("acme", "batch", "limit", 12_345, _DRAIN_SECONDS),
        Line("gamma", "batch", "settings", 77, None),
        Line("acme", "send", "held", 12, _DRAIN_SECONDS),
        Line("acme", "batch", "retry", 4, _DRAIN_SECONDS),
    ),
    holds=(
        Holding("server:smtp.beta.example.nz:587", "refused", AT - 90_000.0, None),
        _THROTTLED,
        Holding(f"company:{_BETA}:batch", "paused", AT - 20.0, AT + 3600.0),
    ),
    workers=(
        Worker("mail1", 4711, VERSION, _STARTED_AT, alive=True, ready=True),
        Worker("mail2", 99, VERSION, _STARTED_AT, alive=True, ready=False),
        Worker("mail3", 12, "0.0.9", _STARTED_AT, alive=False, ready=False),
    ),
    oldest_due_at=AT - 1080.0,
    in_hand=3,
    dead=(("acme", 4), (_BETA, 1)),
    unknown=(("acme", 1),),
    settings_errors=(("gamma", 2),),
)

MANUAL: Final = Board(
    AT,
    VERSION,
    scopes=(
        Scope("company:acme", 30, "company", 29, 30, 12_345, _GROWS),
        Scope("mailbox:acme/jane", 30, "user", 12, 30, 0, _COMES_BACK),
    ),
    lines=(
        Line("acme", "batch", "limit", 12_345, _DRAIN_SECONDS),
        Line("acme", "send", "held", 12, _DRAIN_SECONDS),
        Line("acme", "batch", "retry", 4, _DRAIN_SECONDS),
    ),
    holds=(_THROTTLED,),
    workers=(
        Worker("mail1", 4711, VERSION, _STARTED_AT, alive=True, ready=True),
        Worker("mail2", 99, VERSION, _STARTED_AT, alive=True, ready=True),
    ),
    oldest_due_at=AT - 1080.0,
    dead=(("acme", 4),),
)
"""What docs/command.md shows."""
