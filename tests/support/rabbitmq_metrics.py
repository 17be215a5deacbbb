"""A private RabbitMQ with its own Prometheus plugin."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.rabbitmq import RabbitServer, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def broker_with_metrics() -> Iterator[tuple[RabbitServer, int]]:
    """A running broker, and the port of 127.0.0.1 where it serves its metrics.

    ``/metrics`` tells of each queue there, as ``/metrics/detailed`` does where it is asked to.
    """
    broker = RabbitServer()
    port = free_port()
    with (broker.folder / "rabbitmq.conf").open("a", encoding="utf-8") as file:
        file.write(f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {port}\n")
        file.write("prometheus.return_per_object_metrics = true\n")
    (broker.folder / "enabled_plugins").write_text("[rabbitmq_prometheus].\n", encoding="utf-8")
    try:
        broker.start()
        yield broker, port
    finally:
        broker.close()
