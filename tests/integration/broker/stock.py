"""Dramatiq as it comes, to show what each cure in ``worker/broker`` is for."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dramatiq
import pika.exceptions
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from tests.support.rabbitmq import RabbitServer, unique_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dramatiq.middleware import Middleware


@dataclass
class Stock:
    """Dramatiq's RabbitMQ broker with its default middleware, its worker and one actor."""

    broker: RabbitmqBroker
    worker: dramatiq.Worker
    actor: dramatiq.Actor[..., Any]
    queue: str

    stopped: bool = False

    def stop(self) -> None:
        """Stop the worker, which gives back everything unacknowledged; safe to call twice."""
        if not self.stopped:
            self.stopped = True
            self.worker.stop(timeout=60_000)

    def alive_threads(self) -> int:
        """How many of its worker threads live."""
        return sum(thread.is_alive() for thread in self.worker.workers)


@contextlib.contextmanager
def stock_worker(
    server: RabbitServer,
    function: Callable[..., Any],
    *,
    url: str | None = None,
    threads: int = 4,
    middleware: Iterable[Middleware] = (),
    **options: Any,
) -> Iterator[Stock]:
    """Run one actor, named ``send``, under stock Dramatiq; its queues are gone afterwards."""
    queue = f"{unique_prefix('stock')}send"
    broker = RabbitmqBroker(url=url or server.url)
    for one in middleware:
        broker.add_middleware(one)
    actor = dramatiq.actor(broker=broker, actor_name="send", queue_name=queue, **options)(function)
    broker.declare_queue(queue, ensure=True)
    broker.emit_after("process_boot")
    worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=100)
    worker.start()
    stock = Stock(broker, worker, actor, queue)
    try:
        yield stock
    finally:
        stock.stop()
        with contextlib.suppress(pika.exceptions.AMQPError, dramatiq.BrokerError):
            broker.close()
        server.delete_queues(queue, f"{queue}.DQ", f"{queue}.XQ")
