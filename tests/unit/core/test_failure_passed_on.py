"""A failure that was another mail's: what it does to a hold that is there, is gone, or is being tried."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.jobs import JOB_ID, make_job
from worker.errors import Held
from worker.ledger import holds
from worker.ledger.rows import State
from worker.outcome import HoldTarget, TargetKind

if TYPE_CHECKING:
    from tests.support.fakes import Desk

SERVER = HoldTarget(TargetKind.SERVER, "127.0.0.1:25")
WISH_SECONDS = 60.0
LEFT_SECONDS = 0.4


def passed_on(wish_seconds: float | None) -> Held:
    """What the first connection has met 0.6 s ago."""
    return Held(
        "no login",
        target=SERVER,
        retry_after_seconds=wish_seconds,
        passed_on_seconds=LEFT_SECONDS,
    )


def next_probe_in(desk: Desk) -> float:
    """In how many seconds the one hold is tried out."""
    ((target, probe_at),) = desk.query("SELECT target, next_probe_at FROM hold")
    assert target == str(SERVER)
    return float(probe_at - desk.clock.wall)


def deliver(desk: Desk, *probes: str) -> None:
    """Deliver one mail."""
    asyncio.run(desk.claimed(make_job(), probes=probes).run())


@pytest.mark.parametrize("wish_seconds", [WISH_SECONDS, None])
def test_a_hold_that_was_cleared_comes_back_for_a_moment(
    desk: Desk, wish_seconds: float | None
) -> None:
    """Nobody has asked the server since: the mail waits out the failure's moment, not its pause."""
    desk.server.before.append(passed_on(wish_seconds))
    deliver(desk)
    assert next_probe_in(desk) == pytest.approx(LEFT_SECONDS)
    assert desk.row(JOB_ID).state is State.WAITING


def test_a_hold_that_is_there_keeps_its_pause(desk: Desk) -> None:
    """The server's own wish stands: those who only heard of its failure do not shorten it."""
    desk.ledger.call(
        lambda c, now: holds.put_hold(
            c, now, str(SERVER), "no login", probe_after_seconds=WISH_SECONDS
        )
    )
    desk.server.before.append(passed_on(WISH_SECONDS))
    deliver(desk)
    assert next_probe_in(desk) == pytest.approx(WISH_SECONDS)


@pytest.mark.parametrize(
    ("wish_seconds", "pause_seconds"),
    [(WISH_SECONDS, WISH_SECONDS), (None, 2 * holds.FIRST_PROBE_SECONDS)],
)
def test_a_probe_that_hears_of_a_failure_has_failed(
    desk: Desk, wish_seconds: float | None, pause_seconds: float
) -> None:
    """The pause grows, and is no shorter than the server asked for just now."""
    desk.ledger.call(lambda c, now: holds.put_hold(c, now, str(SERVER), "down"))
    desk.clock.advance(holds.FIRST_PROBE_SECONDS)
    desk.server.before.append(passed_on(wish_seconds))
    deliver(desk, str(SERVER))
    assert next_probe_in(desk) == pytest.approx(pause_seconds)
