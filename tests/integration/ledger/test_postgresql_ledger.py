"""What only PostgreSQL does: other transactions at the same time, and a server that goes away."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest
from psycopg import sql
from sqlalchemy import text

from tests.support.ledger import ACCEPTED, LANE, new_job
from tests.support.postgresql import PostgresServer
from worker.errors import BeginRefused, LedgerUnavailable, LedgerUnusable
from worker.ledger import deliveries, endings, lanes, workers
from worker.ledger.boot import FAILOVER_GRACE_SECONDS
from worker.ledger.engine import open_engine
from worker.ledger.ledger import Ledger
from worker.ledger.postgresql import DatabaseClock, ImpatientConnection
from worker.ledger.rows import Claim, Terms
from worker.ledger.slots import find_slots, take_slots
from worker.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from worker.ledger.clock import Now

LIMIT = Limit("company:acme", 1, even=False)
TERMS = Terms("w1", "smtp", 0.0, "resend", 600.0)

pytestmark = pytest.mark.postgresql


@pytest.fixture
def ledger(postgresql_url: str) -> Iterator[Ledger]:
    """A new ledger with one worker."""
    opened = Ledger(postgresql_url)
    opened.call(partial(_register, worker="w1"))
    yield opened
    opened.close()


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with PostgresServer() as server:
        yield server


def _register(connection: Connection, now: Now, *, worker: str) -> None:
    workers.register(connection, now, worker, host="host", pid=1, version="1")


def accept(ledger: Ledger, job_id: str, **changes: object) -> None:
    """Let a job wait."""
    assert ledger.call(partial(deliveries.accept, job=new_job(job_id, **changes)))


def take(ledger: Ledger, token: str = "t1", *limits: Limit) -> Claim:  # noqa: S107 - no secret
    """Take the next job, which must be there."""
    taken = ledger.call(
        partial(lanes.take, lane=LANE, limits=limits, worker="w1", token=token, ahead_seconds=0.0)
    )
    assert isinstance(taken, Claim)
    return taken


def rows(ledger: Ledger, statement: str, **named: object) -> list[tuple[object, ...]]:
    """Read."""
    return ledger.read(lambda c, _: [tuple(row) for row in c.execute(text(statement), named)])


def change(ledger: Ledger, statement: str) -> None:
    """Write behind the ledger's back."""
    ledger.call(lambda c, _: c.execute(text(statement)).rowcount)


def test_workers_that_start_together_make_the_tables_once(postgresql_url: str) -> None:
    """Eight at once on an empty database: one migrates, the others wait and find it done."""
    with ThreadPoolExecutor(8) as pool:
        ledgers = list(pool.map(lambda _: Ledger(postgresql_url), range(8)))
    assert rows(ledgers[0], "SELECT version_num FROM alembic_version") == [("0001",)]
    for one in ledgers:
        one.close()


def test_time_is_the_databases(ledger: Ledger) -> None:
    """Both clocks, inside a transaction and between two."""
    (asked,) = rows(ledger, "SELECT extract(epoch FROM clock_timestamp())::float8")[0]
    stamped = ledger.call(lambda _, now: now)
    assert stamped.wall == stamped.steady
    assert 0 <= stamped.steady - float(str(asked)) < 30
    assert abs(ledger.now().steady - stamped.steady) < 30


def test_a_clock_that_steps_ahead_frees_no_slot(postgresql_url: str) -> None:
    """The database says two minutes later, this host's clock says it cannot be: every slot rests."""
    local = [1000.0]
    ledger = Ledger(postgresql_url, DatabaseClock(lambda: local[0]))
    ledger.call(partial(_register, worker="w1"))
    accept(ledger, "a")
    claim = take(ledger, "t1", LIMIT)
    local[0] -= 120.0  # as if the other clock had gone 120 s ahead
    for _ in range(2):  # what the refused begin rolled back is done again
        with pytest.raises(BeginRefused, match="too early"):
            ledger.call(partial(deliveries.begin_claimed, claim=claim, terms=TERMS))
    now = ledger.call(lambda _, now: now.steady)
    (rest,) = rows(ledger, "SELECT usable_steady - :now FROM slot", now=now)[0]
    assert 50 < float(str(rest)) <= 60
    ledger.close()


def test_after_a_failover_every_slot_rests(ledger: Ledger, postgresql_url: str) -> None:
    """Another timeline, and the last commits may be lost: a window and what was on its way."""
    accept(ledger, "a")
    take(ledger, "t1", LIMIT)
    change(ledger, "UPDATE boot SET boot_id = 'the-primary-that-was' WHERE id = 1")
    other = Ledger(postgresql_url)
    now = other.call(lambda _, now: now.steady)
    (rest,) = rows(other, "SELECT usable_steady - :now FROM slot", now=now)[0]
    assert 55 < float(str(rest)) - FAILOVER_GRACE_SECONDS <= 60
    assert rows(other, "SELECT id FROM worker") == []  # what it settled may be lost: it ends
    assert rows(other, "SELECT state, worker FROM delivery") == [("waiting", None)]
    other.close()


def test_a_failover_in_the_middle_of_a_group_is_noticed(
    ledger: Ledger, postgresql: PostgresServer, postgresql_url: str
) -> None:
    """The connection breaks inside a transaction: the next one may be to another server."""
    accept(ledger, "a")
    take(ledger, "t1", LIMIT)
    database = sql.Literal(postgresql_url.rpartition("/")[2])
    broken: list[bool] = []

    def operation(connection: Connection, _now: Now) -> None:
        if not broken:
            broken.append(True)
            connection.execute(text("SELECT 1"))
            postgresql.query(
                sql.SQL(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = {} AND state = 'idle in transaction'"
                ).format(database)
            )
            connection.execute(text("SELECT 1"))

    change(ledger, "UPDATE boot SET boot_id = 'the-primary-that-was' WHERE id = 1")
    entered, gate = threading.Event(), threading.Event()

    def hold_up(_connection: Connection, _now: Now) -> None:
        entered.set()
        assert gate.wait(30)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(ledger.call, hold_up)
        assert entered.wait(30)
        others = [pool.submit(ledger.call, operation) for _ in range(2)]
        while len(ledger._writer._urgent) < len(others):
            time.sleep(0.01)
        gate.set()
        first.result(30)
        for other in others:
            other.result(30)
    (known,) = rows(ledger, "SELECT boot_id FROM boot WHERE id = 1")[0]
    assert known != "the-primary-that-was"
    assert rows(ledger, "SELECT id FROM worker") == []


def test_disowning_waits_for_a_commit_that_is_under_way(
    ledger: Ledger, postgresql_url: str
) -> None:
    """The server has not decided yet: to look past it would leave the job in nobody's hands."""
    accept(ledger, "a")
    ledger.owner = "w1"
    engine = open_engine(postgresql_url)
    with engine.connect() as connection, ThreadPoolExecutor(1) as pool:
        connection.begin()
        lanes.take(
            connection,
            ledger.now(),
            LANE,
            [LIMIT],
            worker="w1",
            token="t1",
            ahead_seconds=0.0,
        )
        ledger.disown("t1")
        paid = pool.submit(ledger.call, lambda _c, _now: None)
        time.sleep(0.3)
        connection.commit()
        paid.result(30)
    engine.dispose()
    assert rows(ledger, "SELECT state, worker FROM delivery") == [("waiting", None)]
    assert rows(ledger, "SELECT worker FROM slot") == [(None,)]


def test_takers_without_a_gap_do_not_wait_for_each_other(
    ledger: Ledger, postgresql_url: str
) -> None:
    """Connections to two mailboxes, asked for in opposite order: no lock in common, no deadlock."""
    one, two = (Limit(f"conn:acme/{name}", 3, 0.0, even=False) for name in ("jane", "john"))
    engine = open_engine(postgresql_url)
    with engine.connect() as mine, engine.connect() as other:
        for connection, limits in ((mine, (one, two)), (other, (two, one))):
            connection.begin()
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            found = find_slots(connection, ledger.now(), limits[:1], 0.0)
            assert isinstance(found, list)
            take_slots(connection, ledger.now(), found, worker="w1", token=limits[0].scope)
        mine.commit()
        other.commit()
        for connection, limit in ((mine, two), (other, one)):
            connection.begin()
            found = find_slots(connection, ledger.now(), [limit], 0.0)
            assert isinstance(found, list)
            take_slots(connection, ledger.now(), found, worker="w1", token=f"{limit.scope}2")
        mine.commit()
        other.commit()
    engine.dispose()
    assert rows(ledger, "SELECT count(*) FROM slot WHERE worker = 'w1'") == [(4,)]
    assert rows(ledger, "SELECT count(*) FROM scope") == [(0,)]


def test_a_restarted_server_is_found_again(own_server: PostgresServer) -> None:
    """The operation under way is told; the next one works, with everything that was committed."""
    ledger = Ledger(own_server.new_database())
    accept(ledger, "a")
    own_server.restart("immediate")
    with contextlib.suppress(LedgerUnavailable):
        accept(ledger, "b")
    accept(ledger, "c")
    assert ("a",) in rows(ledger, "SELECT job_id FROM delivery")
    own_server.stop("immediate")
    with pytest.raises(LedgerUnavailable, match="PostgreSQL server"):
        accept(ledger, "d")
    ledger.close()


def test_a_server_that_says_nothing_is_given_up(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, so that its kernel still answers: the caller is told, and it heals by itself."""
    monkeypatch.setattr(ImpatientConnection, "patience_seconds", 0.5)
    ledger = Ledger(own_server.new_database())
    accept(ledger, "a")
    listed = subprocess.run(
        ["pgrep", "-P", str(own_server.pid)], capture_output=True, text=True, check=True
    )
    stopped = [int(pid) for pid in listed.stdout.split()]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(LedgerUnavailable, match=r"did not answer within 0\.5 s"):
            accept(ledger, "b")
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    accept(ledger, "c")
    ledger.close()


def test_a_commit_whose_answer_is_lost_is_disowned(ledger: Ledger) -> None:
    """Begin committed and nobody heard it: job and slot are free again, as if never begun."""
    accept(ledger, "a")
    claim = take(ledger, "t1", LIMIT)
    ledger.call(partial(deliveries.begin_claimed, claim=claim, terms=TERMS))
    ledger.disown("t1")
    ledger.call(lambda _, __: None)
    assert rows(ledger, "SELECT state, attempts, worker FROM delivery") == [("waiting", 0, None)]
    assert rows(ledger, "SELECT count(*) FROM attempt") == [(0,)]
    assert rows(ledger, "SELECT worker, in_data FROM slot") == [(None, 0)]
    again = take(ledger, "t2", LIMIT)
    ledger.call(partial(deliveries.begin_claimed, claim=again, terms=TERMS))


def test_disowning_what_was_settled_changes_nothing(ledger: Ledger) -> None:
    """The token is spent: a slot that rests goes on resting."""
    accept(ledger, "a")
    claim = take(ledger, "t1", LIMIT)
    ledger.call(partial(deliveries.begin_claimed, claim=claim, terms=TERMS))
    ledger.call(
        partial(endings.settle, job_id="a", token="t1", attempt=1, settlement=ACCEPTED, begun=True)
    )
    before = rows(ledger, "SELECT * FROM slot") + rows(ledger, "SELECT state FROM delivery")
    ledger.disown("t1")
    ledger.call(lambda _, __: None)
    assert rows(ledger, "SELECT * FROM slot") + rows(ledger, "SELECT state FROM delivery") == before


def test_a_lane_is_not_called_empty_while_a_job_comes(ledger: Ledger, postgresql_url: str) -> None:
    """The job that is not committed yet cannot be seen: nobody may forget its lane meanwhile."""
    accept(ledger, "first")
    take(ledger, "t1")
    engine = open_engine(postgresql_url)
    with engine.connect() as connection:
        connection.begin()
        deliveries.accept(connection, ledger.now(), new_job("second"))
        ledger.call(lambda c, _: lanes.refresh_due(c, LANE))
        connection.commit()
    engine.dispose()
    assert take(ledger, "t2").job_id == "second"


def test_a_worker_that_is_buried_takes_nothing_more(ledger: Ledger, postgresql_url: str) -> None:
    """A take that is under way is finished first, so that what it took is freed with the rest."""
    accept(ledger, "a")
    engine = open_engine(postgresql_url)
    with engine.connect() as connection, ThreadPoolExecutor(1) as pool:
        connection.begin()
        taken = lanes.take(
            connection, ledger.now(), LANE, [LIMIT], worker="w1", token="t1", ahead_seconds=0.0
        )
        assert isinstance(taken, Claim)
        burial = pool.submit(ledger.call, lambda c, now: workers.bury(c, now, "w1"))
        assert burial.result(30).workers == ()  # passed by: it is at work just now
        connection.commit()
    engine.dispose()
    assert ledger.call(lambda c, now: workers.bury(c, now, "w1")).returned == 1
    assert rows(ledger, "SELECT worker, token FROM slot") == [(None, None)]


def test_transactions_that_wait_for_each_other_are_done_again(ledger: Ledger) -> None:
    """A deadlock is PostgreSQL's to find and ours to repeat; no caller hears of it."""
    accept(ledger, "a")
    accept(ledger, "b")
    other = Ledger(str(ledger._engine.url))
    both = threading.Barrier(2)
    tries: list[str] = []

    def crossing(first: str, second: str) -> None:
        def operation(connection: Connection, _now: Now) -> None:
            tries.append(first)
            statement = text("UPDATE delivery SET prio = 0 WHERE job_id = :job")
            connection.execute(statement, {"job": first})
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(1.0)
            connection.execute(statement, {"job": second})

        (ledger if first == "a" else other).call(operation)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(crossing, "ab", "ba"))
    other.close()
    assert len(tries) > 2


def test_a_reply_with_a_nul_is_recorded(ledger: Ledger) -> None:
    """No column can hold one; the reply is a server's words, and the outcome must not be lost."""
    accept(ledger, "a", subject="a\x00b")
    assert rows(ledger, "SELECT subject FROM delivery") == [("a\ufffdb",)]


def test_a_database_with_another_encoding_is_refused(postgresql: PostgresServer) -> None:
    """Names in every script must be kept; the sentence says what to make."""
    url = postgresql.new_database()
    name = url.rpartition("/")[2]
    postgresql.drop_database(url)
    postgresql.query(
        sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'").format(
            sql.Identifier(name)
        )
    )
    with pytest.raises(LedgerUnusable, match="encoding LATIN1"):
        Ledger(url)
    postgresql.drop_database(url)


def test_a_stopped_process_keeps_no_lock(ledger: Ledger, postgresql_url: str) -> None:
    """Stopped inside a transaction: the server ends it after seconds, and the others go on."""
    accept(ledger, "a")
    engine = open_engine(postgresql_url)
    with engine.connect() as connection:
        connection.begin()
        connection.execute(text("UPDATE delivery SET prio = 0 WHERE job_id = 'a'"))
        until = time.monotonic() + 60
        while True:  # nothing more comes from it, as if it were stopped
            try:
                change(ledger, "UPDATE delivery SET prio = 1 WHERE job_id = 'a'")
            except LedgerUnavailable:
                assert time.monotonic() < until
            else:
                break
        connection.invalidate()
    engine.dispose()
