"""The load through Celery's ``rate_limit``; ``python -m tests.prove.peers.celery_app 390`` publishes.

Runs in an environment of its own, with Celery in it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from celery import Celery  # type: ignore[import-not-found]  # installed by `make prove` alone
from redis import Redis  # type: ignore[import-not-found]  # installed by `make prove` alone

from tests.prove.peers.mail import Task, deliver

task = Task.from_environment()
app = Celery("peer", broker=task.broker_url)
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
redis: Any = Redis.from_url(task.redis_url)


def send(number: int) -> None:
    """Count the try and send the mail."""
    redis.hincrby("tries", str(os.getpid()), 1)
    deliver(number, task.smtp_port)


# "each" is the limit as it is written; "divided" is what an operator of two workers makes of it.
_PER_WORKER = task.limit // 2 if task.limiter == "divided" else task.limit
send_task: Any = app.task(name="send", rate_limit=f"{_PER_WORKER}/m")(send)

if __name__ == "__main__":
    for n in range(int(sys.argv[1])):
        app.send_task("send", [n])
