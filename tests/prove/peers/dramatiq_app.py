"""The load through Dramatiq's rate limiters; ``python -m tests.prove.peers.dramatiq_app 390`` publishes.

A mail over the limit is tried again after 1 to 5 s, until it goes. Runs in an environment of its
own, with Dramatiq's Redis client in it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.rate_limits import BucketRateLimiter, WindowRateLimiter
from dramatiq.rate_limits.backends import RedisBackend

from tests.prove.peers.mail import Task, deliver

task = Task.from_environment()
# Dramatiq has no annotations for these.
open_broker: Any = RabbitmqBroker
make_bucket: Any = BucketRateLimiter
make_window: Any = WindowRateLimiter
broker = open_broker(url=task.broker_url)
dramatiq.set_broker(broker)
backend = RedisBackend(url=task.redis_url)
if task.limiter == "bucket":
    limiter = make_bucket(backend, "mails", limit=task.limit, bucket=60_000)
else:
    limiter = make_window(backend, "mails", limit=task.limit, window=60)
redis: Any = backend.client


def send(number: int) -> None:
    """Count the try, and send the mail if the limiter lets it."""
    redis.hincrby("tries", str(os.getpid()), 1)
    with limiter.acquire():
        deliver(number, task.smtp_port)


send_actor = dramatiq.actor(max_retries=1_000_000, min_backoff=1_000, max_backoff=5_000)(send)

if __name__ == "__main__":
    for n in range(int(sys.argv[1])):
        send_actor.send(n)
