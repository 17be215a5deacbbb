"""A supervised worker as a program: ``child.py URL PREFIX DIARY PROCESSES SECONDS``.

Each run of a message takes SECONDS and leaves two lines in the file DIARY.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import uvloop

from producers.topology import Topology
from tests.support.rabbitmq import QUEUE_TYPE
from worker.broker.broker import PostmeterBroker
from worker.broker.intake import Intake
from worker.broker.launcher import WorkerProcess, signals
from worker.broker.sources import rabbitmq_source
from worker.supervisor import Supervisor

GRACE_SECONDS = 120.0
"""Longer than any test waits: a worker that ends sooner was not cut off."""


async def work(url: str, topology: Topology, diary: Path, seconds: float) -> int:
    """Run messages of the batch queue until told to stop."""
    intake = Intake()
    source = rabbitmq_source(
        url, topology.batch, topology=topology, actor_name="batch", prefetch=20, intake=intake
    )
    broker = PostmeterBroker({topology.batch: source}, intake=intake)

    def note(word: str, envelope: bytes) -> None:
        line = f"{word} {json.loads(envelope)['message_id']} {os.getpid()}\n"
        descriptor = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    async def batch(*, envelope: bytes, redelivered: bool) -> None:
        note("begin", envelope)
        await asyncio.sleep(seconds)
        note("end", envelope)

    async def failed(message: object, error: Exception) -> None:
        raise AssertionError(message) from error

    broker.register(batch, actor_name="batch", queue_name=topology.batch)
    process = WorkerProcess(
        broker, on_failure=failed, on_ledger_unavailable=print, grace_seconds=GRACE_SECONDS
    )
    with signals(process):
        return await process.run()


def main() -> int:
    """Supervise as the command line says."""
    url, prefix, diary, processes, seconds = sys.argv[1:]
    topology = Topology(prefix, QUEUE_TYPE)
    return Supervisor(
        int(processes),
        lambda _index: uvloop.run(work(url, topology, Path(diary), float(seconds))),
        grace_seconds=GRACE_SECONDS,
        log=lambda event, **facts: print(event, facts, flush=True),
    ).run()


if __name__ == "__main__":
    sys.exit(main())
