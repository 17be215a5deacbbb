"""Names and arguments of the queues."""

from __future__ import annotations

from typing import Any

import pytest

from producers.topology import Topology, actor_for, declare


class Recorder:
    """A channel that remembers what was declared on it."""

    def __init__(self) -> None:
        self.queues: dict[str, dict[str, Any]] = {}
        self.exchanges: dict[str, dict[str, Any]] = {}

    def queue_declare(self, queue: str, **options: Any) -> None:
        """Remember a queue."""
        self.queues[queue] = options

    def exchange_declare(self, exchange: str, **options: Any) -> None:
        """Remember an exchange."""
        self.exchanges[exchange] = options


def test_everything_has_the_prefix_and_nothing_a_time_limit() -> None:
    """All that is declared, by its exact name; dead letters stay until a worker takes them."""
    channel = Recorder()
    declare(channel, Topology("t."))
    assert set(channel.queues) == {"t.postmeter.send", "t.postmeter.batch", "t.postmeter.dead"}
    assert channel.exchanges == {"t.postmeter.events": {"exchange_type": "topic", "durable": True}}
    for options in channel.queues.values():
        assert options["durable"]
        assert options["arguments"]["x-queue-type"] == "quorum"
        assert not {"x-message-ttl", "x-expires", "x-max-length"} & set(options["arguments"])


def test_classic_queues_take_no_quorum_arguments() -> None:
    """A classic queue dead-letters too, and is refused no argument."""
    topology = Topology(queue_type="classic")
    assert topology.arguments(topology.dead) == {}
    assert topology.arguments(topology.send) == {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "postmeter.dead",
    }


def test_kinds_have_their_queue_and_actor() -> None:
    """A composition travels with the single sends."""
    topology = Topology()
    assert [topology.queue_for(kind) for kind in ("send", "compose", "batch")] == [
        "postmeter.send",
        "postmeter.send",
        "postmeter.batch",
    ]
    assert [actor_for(kind) for kind in ("send", "compose", "batch")] == ["send", "send", "batch"]


def test_from_the_environment() -> None:
    """Producers and workers read the same two variables."""
    environ = {"POSTMETER_QUEUE_PREFIX": "demo.", "POSTMETER_QUEUE_TYPE": "classic"}
    assert Topology.from_environment(environ) == Topology("demo.", "classic")
    assert Topology.from_environment({}) == Topology()
    with pytest.raises(ValueError, match="queue type 'lazy': use quorum or classic"):
        Topology.from_environment({"POSTMETER_QUEUE_TYPE": "lazy"})
