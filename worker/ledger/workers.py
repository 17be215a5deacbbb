"""Workers: the one lease there is, a heartbeat, and what happens to a worker that has none.

Slots, claims and probes name their worker; when it is found dead they are freed together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from worker.errors import LedgerUnusable
from worker.ledger.lanes import note_waiting
from worker.ledger.rows import Prio
from worker.ledger.slots import reap_slots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.ledger.clock import Now

BEAT_SECONDS = 3.0
DEAD_AFTER_SECONDS = 10.0
REAP_SECONDS = 2.0


class Reaped(LedgerUnusable):
    """This worker was silent for too long and was found dead: it must end at once."""


_REGISTER = text(
    "INSERT INTO worker (id, host, pid, process, version, started_at, beat_steady)"
    " VALUES (:id, :host, :pid, :process, :version, :now, :beat)"
)
_BEAT = text("UPDATE worker SET beat_steady = :beat, trouble = :trouble WHERE id = :id")
_BEATING = text("SELECT count(*) FROM worker WHERE beat_steady >= :since")
_PROCESSES = text("SELECT id, process FROM worker WHERE process <> '' ORDER BY id")
_SILENT = text(
    "SELECT id FROM worker WHERE beat_steady < :since ORDER BY id FOR UPDATE SKIP LOCKED"
)
_LOCK = text("SELECT 1 FROM worker WHERE id = :worker FOR UPDATE SKIP LOCKED")
_OWNED = text(
    "SELECT job_id, company, user_id, kind, state, attempts, due_at, on_unknown,"
    " resend_after_seconds, resends FROM delivery WHERE worker = :worker ORDER BY job_id FOR UPDATE"
)
_BACK = text(
    "UPDATE delivery SET state = 'waiting', worker = NULL, claim = NULL, prio = :prio,"
    " updated_at = :now WHERE job_id = :job_id AND state = 'claimed'"
)
_UNKNOWN = text(
    "UPDATE delivery SET state = 'unknown', worker = NULL, claim = NULL, reason = :reason,"
    " due_at = :due_at, event = 'unknown', updated_at = :now"
    " WHERE job_id = :job_id AND state = 'data'"
)
_ATTEMPT = text(
    "UPDATE attempt SET ended_at = :now, outcome = 'unknown'"
    " WHERE job_id = :job_id AND n = :n AND ended_at IS NULL"
)
_PROBES = text(
    "UPDATE hold SET probe_worker = NULL, probe_token = NULL WHERE probe_worker = :worker"
)
_DELETE = text("DELETE FROM worker WHERE id = :worker")


@dataclass(frozen=True, slots=True)
class Reaping:
    """What was found with dead workers."""

    workers: tuple[str, ...]
    returned: int
    unknown: tuple[str, ...]


def register(
    connection: Connection,
    now: Now,
    worker: str,
    *,
    host: str,
    pid: int,
    version: str,
    process: str = "",
) -> None:
    """Begin a worker's lease.

    Args:
        process: what the kernel of its host knows it by, or empty.
    """
    connection.execute(
        _REGISTER,
        {
            "id": worker,
            "host": host,
            "pid": pid,
            "process": process,
            "version": version,
            "now": now.wall,
            "beat": now.steady,
        },
    )


def beat(connection: Connection, now: Now, worker: str, trouble: str = "") -> None:
    """Renew the lease, and say in one line why the worker is not ready (empty: it is).

    Raises:
        Reaped: there is no lease any more.
    """
    named = {"id": worker, "beat": now.steady, "trouble": trouble}
    if connection.execute(_BEAT, named).rowcount != 1:
        raise Reaped("this worker was silent for too long and was found dead; it ends now")


def count_beating(connection: Connection, now: Now) -> int:
    """Count the workers that have not been silent for too long."""
    since = {"since": now.steady - DEAD_AFTER_SECONDS}
    return int(connection.execute(_BEATING, since).scalar_one())


def reap(connection: Connection, now: Now) -> Reaping:
    """Free what dead workers hold: claims wait again, DATA is unknown, slots rest."""
    since = {"since": now.steady - DEAD_AFTER_SECONDS}
    return bury_all(connection, now, connection.execute(_SILENT, since).scalars().all())


def processes(connection: Connection) -> dict[str, str]:
    """The process of each worker that has named one, by the worker's id."""
    return {row.id: row.process for row in connection.execute(_PROCESSES)}


def bury_all(connection: Connection, now: Now, dead: Sequence[str]) -> Reaping:
    """Free everything that these workers hold, and end their leases."""
    found = [bury(connection, now, worker) for worker in dead]
    return Reaping(
        tuple(worker for one in found for worker in one.workers),
        sum(one.returned for one in found),
        tuple(job for one in found for job in one.unknown),
    )


def bury(connection: Connection, now: Now, worker: str) -> Reaping:
    """Free everything that one worker holds and end its lease; also how a worker says goodbye."""
    if connection.execute(_LOCK, {"worker": worker}).first() is None:
        return Reaping((), 0, ())  # somebody else buries it, or has buried it
    returned, unknown = 0, []
    for row in connection.execute(_OWNED, {"worker": worker}).all():
        named = {"job_id": row.job_id, "now": now.wall}
        if row.state == "claimed":
            connection.execute(_BACK, {**named, "prio": Prio.RETRY})
            note_waiting(connection, row.company, row.user_id, row.kind, row.due_at)
            returned += 1
        else:
            connection.execute(_ATTEMPT, {**named, "n": row.attempts})
            mark_unknown(connection, now, row.job_id, row.resend_after_seconds)
            unknown.append(row.job_id)
    reap_slots(connection, now, worker)
    connection.execute(_PROBES, {"worker": worker})
    connection.execute(_DELETE, {"worker": worker})
    return Reaping((worker,), returned, tuple(unknown))


def mark_unknown(
    connection: Connection, now: Now, job_id: str, resend_after_seconds: float
) -> None:
    """Say of a job in DATA that its reply never came."""
    connection.execute(
        _UNKNOWN,
        {
            "job_id": job_id,
            "reason": "the worker ended in DATA before the server replied",
            "due_at": now.wall + resend_after_seconds,
            "now": now.wall,
        },
    )
