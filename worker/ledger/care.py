"""What an operator does to the ledger as a whole: upgrade it, check it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, inspect, text

from worker.errors import LedgerUnavailable, LedgerUnusable
from worker.ledger.engine import begin, clock_of, open_engine, read_time, transact, translated
from worker.ledger.rows import State
from worker.ledger.upgrade import newest_version, upgrade, version_of
from worker.ledger.workers import count_beating

if TYPE_CHECKING:
    from worker.ledger.clock import Clock, Now


class Check(NamedTuple):
    """What a look at the whole ledger found.

    Attributes:
        size_bytes: of the database, without its log.
        jobs: how many of each state.
        problems: one line each; empty for a sound ledger.
    """

    size_bytes: int
    jobs: dict[State, int]
    problems: tuple[str, ...]


PROBE_LOCK_SECONDS = 3.0
_PROBE = (
    text("INSERT INTO boot (id, boot_id) VALUES (0, 'probe')"),
    text("DELETE FROM boot WHERE id = 0"),
)
_STATES = text("SELECT state, count(*) AS jobs FROM delivery GROUP BY state")
_SIZE = {
    "sqlite": text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"),
    "postgresql": text("SELECT pg_database_size(current_database())"),
}
_QUICK = {"sqlite": text("PRAGMA quick_check(5)")}
"""What a database can tell of its own soundness; PostgreSQL has ``pg_amcheck`` beside it."""
_FAULTS = {
    "jobs that are not final have lost their body": text(
        "SELECT count(*) FROM delivery WHERE body IS NULL"
        " AND state IN ('waiting', 'paused', 'claimed', 'data', 'dead', 'unknown')"
    ),
    "drafted jobs have no draft": text(
        "SELECT count(*) FROM delivery WHERE state = 'drafted'"
        " AND NOT EXISTS (SELECT 1 FROM draft WHERE draft.job_id = delivery.job_id)"
    ),
    "drafts belong to a job that is not there": text(
        "SELECT count(*) FROM draft"
        " WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.job_id = draft.job_id)"
    ),
    "jobs are in the hands of a worker that is not there": text(
        "SELECT count(*) FROM delivery WHERE worker IS NOT NULL"
        " AND worker NOT IN (SELECT id FROM worker)"
    ),
    "jobs are paused although nothing pauses their batch": text(
        "SELECT count(*) FROM delivery WHERE state = 'paused' AND NOT EXISTS (SELECT 1 FROM hold"
        " WHERE target = 'batch:' || delivery.company || '/' || delivery.batch_id"
        " AND origin = 'operator')"
    ),
    "slots are in the hands of a worker that is not there": text(
        "SELECT count(*) FROM slot WHERE worker IS NOT NULL"
        " AND worker NOT IN (SELECT id FROM worker)"
    ),
    "waiting jobs stand in a line that does not know of them": text(
        "SELECT count(*) FROM (SELECT DISTINCT company, user_id, kind FROM delivery"
        " WHERE state = 'waiting' AND kind <> 'unreadable') AS d LEFT JOIN lane l"
        " ON l.company = d.company AND l.user_id = d.user_id AND l.kind = d.kind"
        " WHERE l.next_due_at IS NULL"
    ),
}


def upgrade_ledger(url: str, clock: Clock | None = None) -> tuple[str | None, str]:
    """Bring the ledger's tables to the version of this program; (from, to).

    Raises:
        LedgerUnusable: workers are at work on it, or it is no ledger.
        LedgerUnavailable: it cannot be opened or written now.
    """
    engine = open_engine(url)
    try:
        with translated(), engine.connect() as connection:
            return transact(connection, clock or clock_of(engine), _upgrade)
    finally:
        engine.dispose()


def _upgrade(connection: Connection, now: Now) -> tuple[str | None, str]:
    there, wanted = version_of(connection), newest_version()
    if there == wanted:  # asked at every start of a compose.yaml, also beside workers
        return there, wanted
    if inspect(connection).has_table("worker"):
        beating = count_beating(connection, now)
        if beating:
            raise LedgerUnusable(f"{beating} worker(s) are at work on the ledger; stop them first")
    return upgrade(connection)


def touch(connection: Connection, _now: Now) -> None:
    """Write a page and change nothing.

    An update that leaves a row as it is would not do: SQLite then writes nothing.
    """
    for statement in _PROBE:
        connection.execute(statement)


def write_trouble(url: str) -> str:
    """Why the ledger cannot be written now, or an empty string; waits 3 s for its lock."""
    engine = open_engine(url, must_exist=True)
    try:
        with translated(), engine.connect() as connection:
            begin(connection, PROBE_LOCK_SECONDS)
            touch(connection, read_time(connection, clock_of(engine)))
            connection.commit()
    except LedgerUnavailable as error:
        return str(error)
    finally:
        engine.dispose()
    return ""


def check(connection: Connection, _now: Now) -> Check:
    """Read the whole ledger and tell what is wrong with it; the cost grows with its size."""
    database = connection.dialect.name
    problems = []
    if database in _QUICK:
        problems = [line for line in connection.execute(_QUICK[database]).scalars() if line != "ok"]
    for what, statement in _FAULTS.items():
        count = connection.execute(statement).scalar_one()
        if count:
            problems.append(f"{what}: {count}")
    jobs = {State(row.state): row.jobs for row in connection.execute(_STATES)}
    return Check(int(connection.execute(_SIZE[database]).scalar_one()), jobs, tuple(problems))
