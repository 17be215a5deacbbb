"""From a job on the wire to the row that the ledger gets for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from producers.envelope import decode
from producers.errors import InvalidEnvelope
from worker.ledger import deliveries, operations
from worker.ledger.rows import NewJob

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from producers.job import Job
    from producers.topology import Topology
    from worker.ledger.clock import Now

SYSTEM = "_system"
"""The company of rows whose job names none."""


def row_of(job: Job, envelope: bytes, now_wall: float) -> NewJob:
    """The row of a job that waits; ``now_wall`` is Unix seconds."""
    return NewJob(
        job_id=job.id,
        company=job.company or SYSTEM,
        user=job.user or "",
        kind=job.kind,
        fingerprint=job.fingerprint(),
        body=envelope,
        enqueued_at=job.enqueued_at.timestamp(),
        due_at=now_wall if job.send_at is None else max(now_wall, job.send_at.timestamp()),
        expires_at=None if job.expires_at is None else job.expires_at.timestamp(),
        batch_id=job.batch_id,
        batch_index=job.batch_index,
        idempotency_key=job.idempotency_key,
        subject=job.subject,
        metadata=json.dumps(job.metadata, ensure_ascii=False) if job.metadata else "",
        message_id=job.message_id,
    )


def read_envelope(envelope: bytes, topology: Topology) -> Job:
    """The job of a message whose queue is not known any more.

    Raises:
        InvalidEnvelope: it is none of either queue.
    """
    try:
        return decode(envelope, topology.send)
    except InvalidEnvelope as error:
        if error.hold or topology.batch.encode() not in envelope:
            raise
    return decode(envelope, topology.batch)


def readmit(connection: Connection, now: Now, job_id: str, envelope: bytes, job: Job) -> None:
    """Give a job that could not be read before a row of its own, and drop the unreadable one."""
    deliveries.accept(connection, now, row_of(job, envelope, now.wall))
    operations.forget_raw(connection, job_id)
