"""Boards for tests of pages: nothing at all, much at once, a large installation."""

from __future__ import annotations

from worker.telemetry.board import HOUR_MINUTES, Board, Day, Holding, Line, Scope, Worker

NOW = 1_800_000_000.0
READY = Worker("mail-1", 812, "1.0", NOW - 40_000, alive=True, ready=True)
EMPTY = Board(NOW, "1.0", workers=(READY,))


def scope(
    name: str = "company:acme",
    limit: int | None = 30,
    minutes: tuple[int, ...] = (0,) * HOUR_MINUTES,
    waiting: int = 0,
) -> Scope:
    """A scope whose window holds what its last minute does."""
    worst = max(minutes)
    return Scope(name, limit, "company" if limit else "", minutes[-1], worst, waiting, minutes)


def busy() -> Board:
    """Something of everything that a board can have."""
    growing = tuple(range(30)) + (30,) * 30
    return Board(
        NOW,
        "1.0",
        scopes=(
            scope(minutes=growing, waiting=1204),
            scope("company:northwind-traders", 20, growing),
            scope("all", 600, growing),
            scope("system", None, growing[:20]),
        ),
        days=(
            Day("company:acme:day", 900, "company", 0.824, 3),
            Day("mailbox:northwind-traders/the-sales-department:day", 10_000, "office365", 0.05),
        ),
        lines=(
            Line("acme", "batch", "limit", 1204, 2410.0),
            Line("northwind-traders", "batch", "date", 300, None),
            Line("acme", "batch", "held", 12, None),
            Line("_unknown", "send", "settings", 2, None),
            Line("_system", "unreadable", "version", 1, None),
        ),
        holds=(
            Holding("server:smtp.a-rather-long-name.example.nz:587", "busy", NOW - 90_000, None),
            Holding("account:acme/jane", "throttled", NOW - 300, None),
            Holding("company:northwind-traders:batch", "paused", NOW - 20, NOW + 3600),
        ),
        workers=(
            READY,
            Worker("mail-1", 813, "1.0", NOW - 40_000, alive=True, ready=False),
            Worker(
                "mail-2.internal.example.nz", 90, "0.9", NOW - 200_000, alive=False, ready=False
            ),
        ),
        oldest_due_at=NOW - 2400,
        in_hand=3,
        dead=(("acme", 12), ("_unknown", 2)),
        unknown=(("acme", 1),),
        settings_errors=(("northwind-traders", 2),),
    )


def large() -> Board:
    """500 companies with 500 mailboxes, all of them sending, late and in trouble."""
    minutes = tuple(n % 31 for n in range(HOUR_MINUTES))
    names = [f"company-number-{n}" for n in range(500)]
    return Board(
        NOW,
        "1.0",
        scopes=(
            *(scope(f"company:{name}", 20, minutes, 1000) for name in names),
            *(scope(f"mailbox:{name}/jane", 10, minutes, 1000) for name in names),
        ),
        days=tuple(Day(f"mailbox:{name}/jane:day", 10_000, "office365", 0.1) for name in names),
        lines=tuple(Line(name, "batch", "limit", 1000, 3600.0) for name in names),
        holds=tuple(Holding(f"account:{name}/jane", "credential", NOW, None) for name in names),
        workers=(READY,) * 64,
        dead=tuple((name, 1) for name in names),
        unknown=tuple((name, 1) for name in names),
        settings_errors=tuple((name, 1) for name in names),
    )
