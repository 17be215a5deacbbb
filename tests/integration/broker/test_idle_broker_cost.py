"""What a worker asks of RabbitMQ depends on the mails that leave, not on those that wait.

Every AMQP frame of every connection of the worker passes a relay that counts the methods in it.
Heartbeats are left out: they come by the clock, each connection's alone. The ledger's side of the
same promise is ``integration/test_idle_cost.py``.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import pika.spec
import pytest

from tests.integration.broker.relay import Relay
from tests.support.fleet import Company
from tests.support.office import open_office
from tests.support.rabbitmq import unique_prefix
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.support.fleet import Fleet
    from tests.support.rabbitmq import RabbitServer

LIMIT = 30
MAILS = 6
"""How many mails one measurement lasts: twelve seconds at this limit."""
OF_ONE_MAIL = 2
"""Its event, and RabbitMQ's confirm of that."""
ALLOWED = 2 * OF_ONE_MAIL
"""An event follows its mail within a second, so at each end one may belong to a neighbour."""
FEW = 100
PATIENCE_SECONDS = 120.0

_GREETING = b"AMQP\x00\x00\x09\x01"
_HEAD_BYTES = 7
"""AMQP 0-9-1, 2.3.5: a frame is type (1), channel (2), size (4), so many bytes, and an end (1)."""
_METHOD = 1


class Frames:
    """One direction of one connection, cut into frames."""

    def __init__(self) -> None:
        self._rest = b""
        self.from_worker = False

    def methods(self, data: bytes) -> list[str]:
        """The names of the methods that these bytes complete, such as ``Basic.Publish``."""
        self._rest += data
        if self._rest.startswith(_GREETING):
            self.from_worker = True
            self._rest = self._rest.removeprefix(_GREETING)
        names = []
        while len(self._rest) >= _HEAD_BYTES:
            end = _HEAD_BYTES + int.from_bytes(self._rest[3:_HEAD_BYTES]) + 1
            if len(self._rest) < end:
                break
            if self._rest[0] == _METHOD:
                number = int.from_bytes(self._rest[_HEAD_BYTES : _HEAD_BYTES + 4])
                names.append(pika.spec.methods[number].NAME)
            self._rest = self._rest[end:]
        return names


class CountingRelay(Relay):
    """A relay that counts the methods of AMQP that pass, by who sent them and by name."""

    def __init__(self, server: RabbitServer) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._counting = threading.Lock()
        super().__init__(server)

    def counts(self) -> Counter[tuple[str, str]]:
        """What has passed until now."""
        with self._counting:
            return self._counts.copy()

    def _count(self, frames: Frames, data: bytes) -> None:
        names = frames.methods(data)
        sender = "worker" if frames.from_worker else "RabbitMQ"
        with self._counting:
            self._counts.update((sender, name) for name in names)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:  # type: ignore[override]  # it is called on an object, as here
        counted = cast("socket.socket", _Counted(source, self))
        super()._pump(counted, target)


class _Counted:
    """The part of a socket that the relay reads from; what is read is counted."""

    def __init__(self, source: socket.socket, relay: CountingRelay) -> None:
        self._source = source
        self._relay = relay
        self._frames = Frames()

    def recv(self, most: int) -> bytes:
        """Read, and count."""
        data = self._source.recv(most)
        self._relay._count(self._frames, data)
        return data

    def shutdown(self, how: int) -> Any:
        """End the connection."""
        return self._source.shutdown(how)


def wait_for_mails(fleet: Fleet, count: int) -> None:
    """Wait until so many more mails have left."""
    wanted = fleet.sink.count + count
    wait_until(lambda: fleet.sink.count >= wanted, f"{count} mails", PATIENCE_SECONDS)


def let_wait(fleet: Fleet, relay: CountingRelay, count: int) -> None:
    """Publish so many, and wait until the worker has taken in all and acknowledged all."""
    before = sum(fleet.states().values())
    delivered = relay.counts()["RabbitMQ", "Basic.Deliver"] + count
    fleet.publish_batch("acme", count, first=before)
    wait_until(  # the ledger, which is busy, is not asked until then
        lambda: relay.counts()["RabbitMQ", "Basic.Deliver"] >= delivered,
        "delivery to the worker",
        4 * PATIENCE_SECONDS,
    )
    wait_until(lambda: sum(fleet.states().values()) == before + count, "intake")
    acknowledged = -1
    while acknowledged != (now := relay.counts()["worker", "Basic.Ack"]):
        acknowledged = now
        wait_for_mails(fleet, 1)


def cost_of_mails(fleet: Fleet, relay: CountingRelay, waiting: int) -> Counter[tuple[str, str]]:
    """What passes while ``MAILS`` leave beside so many that wait."""
    before = relay.counts()
    wait_for_mails(fleet, MAILS)
    passed = relay.counts() - before
    assert fleet.states()["waiting"] >= waiting / 2
    return passed


@pytest.mark.timeout(900)
@pytest.mark.parametrize("many", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_backlog_costs_no_operation_of_the_broker(
    rabbitmq: RabbitServer, tmp_path: Path, many: int
) -> None:
    """At 30 a minute six mails cost as many operations beside 100 that wait as beside many."""
    with (
        CountingRelay(rabbitmq) as relay,
        open_office(
            tmp_path,
            rabbitmq,
            prefix=unique_prefix("cost"),
            companies=(Company("acme", LIMIT),),
            # One process: two may both publish an event, which is no cost of the backlog.
            processes=1,
            more_environ={"POSTMETER_BROKER_URL": relay.url},
        ) as office,
    ):
        fleet = office.fleet
        let_wait(fleet, relay, FEW)
        few = cost_of_mails(fleet, relay, FEW)
        let_wait(fleet, relay, many - FEW)
        with_many = cost_of_mails(fleet, relay, many)
    assert few["worker", "Basic.Publish"] >= MAILS - 2, "the relay counts nothing"
    assert few.total() <= MAILS * OF_ONE_MAIL + ALLOWED
    assert with_many.total() <= few.total() + ALLOWED, with_many
