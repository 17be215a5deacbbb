"""Delivery when the ledger refuses, is away, or the worker ends: no job is lost, none is sent twice."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.support.fakes import NEVER, WORKER, heard, limited_settings
from tests.support.jobs import JOB_ID, make_job
from worker.errors import Deferred, Held, LedgerUnavailable, Rejected
from worker.ledger import operations, workers
from worker.ledger.rows import State
from worker.outcome import HoldTarget, TargetKind, Transmission
from worker.tickets import SETTLE_AGAIN_SECONDS

if TYPE_CHECKING:
    from tests.support.fakes import Desk
    from worker.delivery import Delivery
    from worker.ledger.engine import Operation
    from worker.outcome import Fact

T = TypeVar("T")
SCOPE = "mailbox:acme/jane"
SERVER = HoldTarget(TargetKind.SERVER, "127.0.0.1:25")
FAILURES = [
    pytest.param(Deferred("later"), id="deferred"),
    pytest.param(Rejected("never", reply=NEVER, mail_sent=True), id="rejected"),
    pytest.param(Rejected("cannot be rendered"), id="rejected before MAIL"),
    pytest.param(Held("down", target=SERVER), id="held"),
    pytest.param(Held("421", target=SERVER, mail_sent=True), id="held after MAIL"),
    pytest.param(RuntimeError("a fault"), id="fault"),
    pytest.param(LedgerUnavailable("away"), id="a lease"),
]


def limited(desk: Desk) -> None:
    """Let jobs come under a limit of two a minute of the mailbox."""
    desk.settings = limited_settings(mailbox_emails_per_min=2, pace="burst")


def in_nobodys_hands(desk: Desk) -> bool:
    """Whether no row is claimed or in DATA, and no slot is with a worker."""
    rows = desk.query("SELECT job_id FROM delivery WHERE state IN ('claimed', 'data')")
    return not rows and not desk.query("SELECT scope FROM slot WHERE worker IS NOT NULL")


def test_a_second_copy_sends_nothing(desk: Desk) -> None:
    """Both copies were taken in at once: the first to begin is sent, the other changes nothing."""
    first, second = desk.direct(make_job()), desk.direct(make_job())
    asyncio.run(first.run())
    asyncio.run(second.run())
    assert len(desk.server.begun_at) == 1
    assert (desk.row(JOB_ID).state, desk.outcomes) == (State.SENT, ["sent"])


def test_a_copy_under_another_id_is_recorded_as_cancelled(desk: Desk) -> None:
    """The same idempotency key was sent: the other id gets an answer, and no mail."""
    other = make_job(id=JOB_ID.replace("1", "2"), idempotency_key="k")
    asyncio.run(desk.direct(make_job(idempotency_key="k")).run())
    asyncio.run(desk.direct(other).run())
    assert desk.row(other.id).state is State.CANCELLED
    assert len(desk.server.begun_at) == 1


def cancel(desk: Desk) -> bool:
    """Cancel the test's job as a person does."""
    return desk.ledger.call(lambda c, now: operations.cancel(c, now, JOB_ID, "by a person"))


def test_cancelled_before_begin_sends_nothing_and_uses_the_slot(desk: Desk) -> None:
    """A claimed job may still be cancelled; its begin is refused, but the server has seen MAIL."""
    limited(desk)
    delivery = desk.claimed(make_job())
    assert cancel(desk)
    asyncio.run(delivery.run())
    assert (desk.row(JOB_ID).state, desk.server.begun_at) == (State.CANCELLED, [])
    assert in_nobodys_hands(desk)
    assert desk.free_slots(SCOPE) == 1


def test_a_hold_that_puts_nothing_back_is_not_reported(desk: Desk) -> None:
    """The job was cancelled while its server was tried: the target is held, the job is not."""
    limited(desk)
    desk.server.before.append(Held("down", target=SERVER))
    delivery = desk.claimed(make_job())
    assert cancel(desk)
    asyncio.run(delivery.run())
    assert (desk.row(JOB_ID).state, desk.outcomes) == (State.CANCELLED, [])
    assert (desk.holds(), desk.free_slots(SCOPE)) == ([str(SERVER)], 2)


def test_cancelled_after_begin_is_too_late(desk: Desk) -> None:
    """What is in DATA cannot be cancelled: the mail is on its way, and is sent."""
    tried: list[bool | str] = []

    def late(fact: Fact) -> None:
        tried.append(fact.outcome.value)

    class Cancelling(type(desk.server)):  # type: ignore[misc]  # the server that the desk has
        async def _hang(self, where: str) -> None:
            if where == "after":
                tried.append(cancel(desk))

    server = Cancelling()
    server.clock = desk.clock
    asyncio.run(desk.claimed(make_job(), transports={"smtp": server}, report=late).run())
    assert tried == [False, "sent"]


def test_a_reaped_worker_begins_nothing(desk: Desk) -> None:
    """Found dead between taking and begin: not a byte leaves, the row is another's."""
    delivery = desk.claimed(make_job())
    desk.ledger.call(lambda c, now: workers.bury(c, now, WORKER))
    asyncio.run(delivery.run())
    assert desk.server.begun_at == []
    assert desk.row(JOB_ID).state is State.WAITING


@pytest.mark.parametrize("failure", [None, *FAILURES[:3]])
def test_a_reaped_worker_loses_no_job_that_has_no_row(
    desk: Desk, failure: Exception | None
) -> None:
    """Its message will be acknowledged, so the job must be in the ledger, whatever came of it."""
    desk.server.before.append(failure)
    delivery = desk.direct(make_job())
    desk.ledger.call(lambda c, now: workers.bury(c, now, WORKER))
    asyncio.run(delivery.run())
    assert desk.row(JOB_ID).state is State.WAITING
    assert desk.server.begun_at == []


@pytest.mark.parametrize("failure", [None, *FAILURES])
def test_without_ledger_a_direct_job_comes_again(desk: Desk, failure: Exception | None) -> None:
    """No row could be written: the error goes up, so that the message is not acknowledged."""
    desk.server.before.append(failure)
    desk.ledger.away.extend([True] * 5)
    with pytest.raises(LedgerUnavailable):
        asyncio.run(desk.direct(make_job()).run())
    assert desk.find(JOB_ID) is None
    assert desk.outcomes == []


def unconfirm(desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let one operation of that name be committed, and the connection break before the answer."""
    real = desk.ledger.run
    cut: list[bool] = []

    async def run(operation: Operation[T], *, can_wait: bool = False) -> T:
        done = await real(operation, can_wait=can_wait)
        if not cut and name in repr(operation):
            cut.append(True)
            raise LedgerUnavailable("the server closed the connection")
        return done

    monkeypatch.setattr(desk.ledger, "run", run)


@pytest.mark.parametrize("direct", [True, False])
def test_a_begin_whose_commit_was_not_confirmed_is_undone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, direct: bool
) -> None:
    """Nothing leaves, and no job stays in DATA with a worker that has no mail in hand."""
    limited(desk)
    unconfirm(desk, monkeypatch, "begin_")
    with suppress(LedgerUnavailable):  # a direct job's message comes again, and finds its row
        asyncio.run((desk.direct(make_job()) if direct else desk.claimed(make_job())).run())
    desk.ledger.call(lambda _c, _now: None)
    assert desk.server.begun_at == []
    assert in_nobodys_hands(desk)
    row = desk.row(JOB_ID)
    assert (row.state, row.attempts, desk.outcomes) == (State.WAITING, 0, [])
    assert desk.query("SELECT * FROM attempt") == []


def test_a_claim_whose_commit_was_not_confirmed_is_undone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A direct job that was refused gets a row; if nobody knows of it, the job waits in it."""
    unconfirm(desk, monkeypatch, "_adopt")
    desk.server.before.append(Deferred("later"))
    with pytest.raises(LedgerUnavailable):
        asyncio.run(desk.direct(make_job()).run())
    desk.ledger.call(lambda _c, _now: None)
    assert (desk.row(JOB_ID).state, desk.outcomes) == (State.WAITING, [])
    assert in_nobodys_hands(desk)


@pytest.mark.parametrize("failure", [None, *FAILURES])
def test_a_claimed_job_is_put_down_once_the_ledger_is_back(
    desk: Desk, failure: Exception | None
) -> None:
    """No claim and no slot stays with this worker, at whichever statement the ledger went away."""
    limited(desk)
    delivery = desk.claimed(make_job())
    desk.server.before.append(failure)
    desk.ledger.away.extend([True] * 3)
    asyncio.run(delivery.run())
    assert in_nobodys_hands(desk)
    assert SETTLE_AGAIN_SECONDS in desk.sleeps


@pytest.mark.parametrize("failure", [None, *FAILURES])
@pytest.mark.parametrize("statement", range(4))
def test_no_statement_may_fail_for_a_claimed_job_to_be_stuck(
    desk: Desk, failure: Exception | None, statement: int
) -> None:
    """The same with the ledger away for one statement only, each in turn."""
    limited(desk)
    delivery = desk.claimed(make_job())
    desk.server.before.append(failure)
    desk.ledger.away.extend([False] * statement + [True])
    asyncio.run(delivery.run())
    assert in_nobodys_hands(desk)


def test_a_refused_job_is_put_down_too(desk: Desk) -> None:
    """A job that must not be sent is dead once the ledger can be written."""
    delivery = desk.claimed(make_job())
    desk.refuses = "sender not allowed"
    delivery.tools = desk.tools
    desk.ledger.away.extend([True, True])
    asyncio.run(delivery.run())
    assert desk.row(JOB_ID).state is State.DEAD


@pytest.mark.parametrize("direct", [True, False])
def test_a_reply_is_recorded_as_often_as_it_takes(desk: Desk, *, direct: bool) -> None:
    """Begun, accepted, and then the ledger is away: sent in the end, and reported once."""
    delivery = desk.direct(make_job()) if direct else desk.claimed(make_job())
    desk.ledger.away.extend([False, *[True] * 4])
    asyncio.run(delivery.run())
    assert (desk.row(JOB_ID).state, desk.outcomes) == (State.SENT, ["sent"])
    assert desk.sleeps == [SETTLE_AGAIN_SECONDS] * 4


def test_a_direct_job_with_a_row_is_not_forgotten_between_two_statements(desk: Desk) -> None:
    """The row was written and the ledger went away: a second copy would find it and be dropped."""
    desk.server.unasked.append(Transmission((heard("jane@example.org", NEVER),), None))
    desk.ledger.away.extend([False, True])
    asyncio.run(desk.direct(make_job()).run())
    assert desk.row(JOB_ID).state is State.DEAD
    assert in_nobodys_hands(desk)


def test_a_fault_before_begin_is_tried_later(desk: Desk) -> None:
    """A bug of ours puts the mail off, tells of it once, and uses no slot."""
    limited(desk)
    fault = RuntimeError("a secret")
    desk.server.before.append(fault)
    asyncio.run(desk.claimed(make_job()).run())
    row = desk.row(JOB_ID)
    assert (row.state, row.reason) == (State.WAITING, "a fault in Postmeter: RuntimeError")
    assert desk.faults == [(JOB_ID, fault)]
    assert desk.free_slots(SCOPE) == 2


@pytest.mark.parametrize("direct", [True, False])
def test_a_fault_after_begin_is_unknown(desk: Desk, *, direct: bool) -> None:
    """Bytes may have left, so the mail is not simply tried again."""
    desk.server.after.append(RuntimeError("x"))
    asyncio.run((desk.direct(make_job()) if direct else desk.claimed(make_job())).run())
    assert desk.row(JOB_ID).state is State.UNKNOWN


def test_a_fault_in_what_comes_after_the_reply_leaves_no_job_in_data(desk: Desk) -> None:
    """Even a random number out of range, met while the outcome is worked out."""
    desk.random = 7.0
    desk.server.after.append(Deferred("later"))
    asyncio.run(desk.claimed(make_job()).run())
    assert desk.row(JOB_ID).state is State.UNKNOWN
    assert len(desk.faults) == 1


def test_a_fault_in_the_report_changes_no_outcome(desk: Desk) -> None:
    """The row says sent: a metric that fails must not make a dead letter of it."""

    def report(_: Fact) -> None:
        raise ValueError("no such label")

    asyncio.run(desk.claimed(make_job(), report=report).run())
    assert desk.row(JOB_ID).state is State.SENT
    assert [type(fault) for _, fault in desk.faults] == [ValueError]


def stop(desk: Desk, delivery: Delivery, where: str) -> None:
    """Cut a delivery short while the server hangs there."""

    async def main() -> None:
        desk.server.hangs = where
        task = asyncio.create_task(delivery.run())
        await desk.server.waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


@pytest.mark.parametrize("direct", [True, False])
def test_stopped_before_begin_the_job_waits(desk: Desk, *, direct: bool) -> None:
    """The process ends and nothing has left: the row waits for the next worker, its slot free."""
    limited(desk)
    stop(desk, desk.direct(make_job()) if direct else desk.claimed(make_job()), "before")
    row = desk.row(JOB_ID)
    assert (row.state, row.reason) == (State.WAITING, "the worker was stopped")
    assert in_nobodys_hands(desk)


@pytest.mark.parametrize("direct", [True, False])
def test_stopped_after_begin_the_job_is_unknown(desk: Desk, *, direct: bool) -> None:
    """The process ends while the server may be accepting: nobody knows, and the row says so."""
    stop(desk, desk.direct(make_job()) if direct else desk.claimed(make_job()), "after")
    row = desk.row(JOB_ID)
    assert row.state is State.UNKNOWN
    assert row.reason == "the worker was stopped before the server replied"


def test_stopped_before_begin_without_ledger_still_ends(desk: Desk) -> None:
    """A process that ends does not wait for the ledger: the goodbye or the reaper puts it back."""
    delivery = desk.claimed(make_job())
    desk.ledger.away.extend([True] * 9)
    stop(desk, delivery, "before")
    assert desk.row(JOB_ID).state is State.CLAIMED
    assert desk.ledger.lost == 1
