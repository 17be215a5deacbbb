"""The writer: one thread a process, many callers a commit, each told its own result."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError

from tests.support.clock import FakeClock
from tests.support.ledger import LANE, new_job
from worker.errors import LedgerUnavailable
from worker.ledger import deliveries, holds, housekeeping, lanes, workers
from worker.ledger.engine import open_engine, transact
from worker.ledger.ledger import Ledger
from worker.ledger.rows import Claim, Terms
from worker.ledger.upgrade import make_or_check
from worker.ledger.writer import Writer
from worker.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from worker.ledger.clock import Now

PROCESSES = 8
JOBS_EACH = 25


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A ledger in a file."""
    engine = open_engine(f"sqlite:///{tmp_path}/ledger.db")
    with engine.connect() as connection:
        transact(connection, FakeClock(), lambda c, _: make_or_check(c))
    yield engine
    engine.dispose()


@pytest.fixture
def writer(engine: Engine) -> Iterator[Writer]:
    """A writer of that ledger."""
    writer = Writer(engine, FakeClock())
    yield writer
    writer.close()


def accept(connection: Connection, now: Now, job_id: str) -> bool:
    """Write one job."""
    return deliveries.accept(connection, now, new_job(job_id))


def fail(connection: Connection, now: Now) -> None:
    """Write something, then raise."""
    accept(connection, now, "half")
    raise LookupError("its own mistake")


def jobs(writer: Writer) -> set[str]:
    """Read the ids of all jobs."""
    return set(
        writer.call(lambda c, _: c.execute(text("SELECT job_id FROM delivery")).scalars().all())
    )


class Gate:
    """An operation that keeps the writer busy until told, so that others gather behind it."""

    def __init__(self, writer: Writer) -> None:
        self._open = threading.Event()
        entered = threading.Event()

        def operation(_: Connection, __: Now) -> None:
            entered.set()
            assert self._open.wait(10)

        self.done = writer.submit(operation)
        assert entered.wait(10)

    def open(self) -> None:
        """Let the writer go on."""
        self._open.set()


def test_operations_that_gather_share_a_commit(engine: Engine) -> None:
    """Twenty callers, one commit."""
    commits: list[Connection] = []
    event.listen(engine, "commit", commits.append)
    writer = Writer(engine, FakeClock())
    gate = Gate(writer)
    futures = [writer.submit(partial(accept, job_id=f"j{i}")) for i in range(20)]
    gate.open()
    assert [future.result(10) for future in futures] == [True] * 20
    writer.close()
    assert len(commits) == 2


def test_one_bad_operation_harms_no_other(writer: Writer) -> None:
    """Its caller gets its error; the others of the group are committed, the half of it is not."""
    gate = Gate(writer)
    before = writer.submit(partial(accept, job_id="a"))
    bad = writer.submit(fail)
    after = writer.submit(partial(accept, job_id="b"))
    gate.open()
    assert before.result(10)
    assert after.result(10)
    with pytest.raises(LookupError, match="its own mistake"):
        bad.result(10)
    assert jobs(writer) == {"a", "b"}


def test_a_ledger_that_is_away_is_told_to_the_whole_group_at_once(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is waited for once, not once for each of the group; then the writer goes on."""
    waits: list[Connection] = []

    def wait_in_vain(connection: Connection) -> None:
        waits.append(connection)
        raise OperationalError("BEGIN IMMEDIATE", {}, sqlite3.OperationalError("locked"))

    gate = Gate(writer)
    futures = [writer.submit(partial(accept, job_id=f"j{i}")) for i in range(20)]
    monkeypatch.setattr("worker.ledger.writer.begin", wait_in_vain)
    gate.open()
    for future in futures:
        with pytest.raises(LedgerUnavailable, match="locked"):
            future.result(10)
    monkeypatch.undo()
    assert len(waits) == 1
    assert writer.call(partial(accept, job_id="later"))


def test_close_finishes_what_is_queued_and_refuses_the_rest(engine: Engine) -> None:
    """Nothing that was promised is dropped; safe to call twice."""
    writer = Writer(engine, FakeClock())
    gate = Gate(writer)
    queued = writer.submit(partial(accept, job_id="a"))
    gate.open()
    writer.close()
    writer.close()
    assert queued.result(0)
    with pytest.raises(LedgerUnavailable, match="this worker is stopping"):
        writer.submit(partial(accept, job_id="b"))


def test_a_cancelled_caller_leaves_the_operation_to_finish(writer: Writer) -> None:
    """What was asked for stays true, whoever still waits for it."""

    async def story() -> None:
        gate = Gate(writer)
        asked = asyncio.create_task(writer.run(partial(accept, job_id="a")))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        gate.open()
        assert await writer.run(partial(accept, job_id="b"))

    asyncio.run(story())
    assert jobs(writer) == {"a", "b"}


def test_many_threads_each_get_their_own_answer(writer: Writer) -> None:
    """Of many copies of one job, exactly one caller hears that it was new."""
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(lambda i: writer.call(partial(accept, job_id=f"j{i % 10}")), range(80))
        )
    assert sum(answers) == 10


def work(url: str, name: str, limits: list[Limit], begun: multiprocessing.Queue[str]) -> None:
    """Take, begin and settle jobs of one file, beside others that do the same."""
    ledger = Ledger(url)
    ledger.call(lambda c, now: workers.register(c, now, name, host="h", pid=1, version="1"))
    for number in range(10_000):
        claim = ledger.call(
            partial(
                lanes.take,
                lane=LANE,
                limits=limits,
                worker=name,
                token=f"{name}-{number}",
                ahead_seconds=0.0,
            )
        )
        if not isinstance(claim, Claim):
            break
        ledger.call(
            partial(
                deliveries.begin_claimed, claim=claim, terms=Terms(name, "smtp", 0.0, "hold", 600.0)
            )
        )
        begun.put(claim.job_id)
    ledger.close()


def test_eight_processes_share_one_new_file(tmp_path: Path) -> None:
    """They make its tables together, take every slot once, and begin every job once."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    total = PROCESSES * JOBS_EACH
    limits = [Limit("company:acme", total - 20, even=False)]
    context = multiprocessing.get_context("fork")
    begun: multiprocessing.Queue[str] = context.Queue()
    first = Ledger(url)
    for number in range(total):
        first.call(partial(accept, job_id=f"j{number}"))
    first.close()
    processes = [
        context.Process(target=work, args=(url, f"w{i}", limits, begun)) for i in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    jobs_begun = [begun.get(timeout=60) for _ in range(total - 20)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert begun.empty()
    assert len(set(jobs_begun)) == total - 20
    ledger = Ledger(url)
    states = ledger.read(
        lambda c, _: [
            tuple(row)
            for row in c.execute(
                text("SELECT state, count(*) FROM delivery GROUP BY state ORDER BY state")
            )
        ]
    )
    assert states == [("data", total - 20), ("waiting", 20)]
    ledger.close()


def test_the_ledger_opens_reads_and_closes(tmp_path: Path) -> None:
    """The facade: accept, take, release, settle, hold, keep house, and what the pump reads."""
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db", FakeClock())
    ledger.call(lambda c, now: workers.register(c, now, "w1", host="h", pid=1, version="1"))

    async def story() -> None:
        assert await ledger.accept(new_job("a"))
        claim = ledger.call(
            partial(lanes.take, lane=LANE, limits=[], worker="w1", token="t", ahead_seconds=0.0)
        )
        assert isinstance(claim, Claim)
        assert await ledger.release(claim, due_at=0.0, reason="stopped")
        await ledger.hold("server:mx", "refused")

    asyncio.run(story())
    held = ledger.read(lambda c, _: holds.all_holds(c))
    assert [hold.target for hold in held] == ["server:mx"]
    assert ledger.call(housekeeping.keep).expired == []
    assert ledger.read(lanes.due_lanes)[0] == [LANE]
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerUnavailable):
        ledger.call(partial(accept, job_id="b"))
