"""Every query of the dashboards, asked of a real Prometheus that scrapes real workers and a RabbitMQ."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING

import pytest

from producers.topology import Topology, declare
from tests.support.dashboards import queries
from tests.support.faulty import watched
from tests.support.lively import open_lively
from tests.support.prometheus import PrometheusServer, require_prometheus
from tests.support.rabbitmq import MISSING, QUEUE_TYPE, RabbitServer
from tests.support.rabbitmq_metrics import broker_with_metrics
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.dashboards import Asked

pytestmark = pytest.mark.slow
ASKED = list(queries())
EMPTY = {
    "Deployments": "one version has always been at work",
    "Messages that wait in RabbitMQ": "the worker takes jobs from its embedded inbox",
    "Consumers": "the same",
}
"""What rightly returns nothing here, and why; the last two are asked of a RabbitMQ below."""
MARKED_SECONDS = 600
"""How far back annotations are looked for: each is a mark at a moment."""
COMPANY = "paced"
"""It has a limit by the minute, by the day and of its mailbox."""


def _has_value(prometheus: PrometheusServer, asked: Asked) -> bool:
    expression = asked.filled({"company": COMPANY, "__rate_interval": "30s"})
    if asked.ref:
        return any(not math.isnan(sample.value) for sample in prometheus.vectors(expression))
    now = time.time()
    return bool(prometheus.range(expression, now - MARKED_SECONDS, now, 5))


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """One that has scraped a worker for which everything has happened, with the rules."""
    require_prometheus()
    root = tmp_path_factory.mktemp("lively")
    with (
        open_lively(root / "lively") as lively,
        watched(root / "prometheus", lively.metrics_port) as server,
    ):
        lively.happen()
        yield server


@pytest.mark.parametrize("asked", ASKED, ids=lambda a: f"{a.dashboard}/{a.panel}/{a.ref}")
def test_a_query_returns_data(prometheus: PrometheusServer, asked: Asked) -> None:
    """It returns a number, or is known to return nothing, for a reason."""
    if asked.panel in EMPTY:
        assert not _has_value(prometheus, asked), EMPTY[asked.panel]
    else:
        wait_until(lambda: _has_value(prometheus, asked), asked.filled(), 60.0)


@pytest.mark.rabbitmq
@pytest.mark.parametrize("asked", [a for a in ASKED if "rabbitmq_" in a.expr], ids=lambda a: a.ref)
def test_a_query_of_the_broker_returns_data(broker_metrics: PrometheusServer, asked: Asked) -> None:
    """RabbitMQ's own plugin calls its metrics so, and has one of each of our queues."""
    wait_until(lambda: len(broker_metrics.query(asked.filled())) == 3, asked.expr, 60.0)


@pytest.fixture(scope="module")
def broker_metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """One that has scraped a RabbitMQ with Postmeter's queues."""
    require_prometheus()
    if not RabbitServer.available():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    with broker_with_metrics() as (broker, port):
        with broker.channel() as channel:
            declare(channel, Topology("", QUEUE_TYPE))
        folder: Path = tmp_path_factory.mktemp("broker") / "prometheus"
        with PrometheusServer(folder, port, job="rabbitmq") as server:
            yield server
