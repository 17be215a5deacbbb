"""A running worker behind either way in, to publish anything at and to ask what became of it."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from producers import Email
from producers.envelope import encode
from producers.identity import uuid7
from producers.inbox import Inbox
from producers.topology import Topology
from tests.support.fleet import Company, Fleet
from tests.support.jobs import make_job
from tests.support.rabbitmq import QUEUE_TYPE
from tests.support.waiting import GENEROUS_SECONDS
from worker.ledger.queries import JobRecord, find_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from producers import Producer, Receipt
    from tests.support.rabbitmq import RabbitServer
    from worker.ledger.rows import State

PROMPT_SECONDS = 20.0
"""How soon a good job must be delivered, whatever came before it: no back-off is so short."""
_LOOK_SECONDS = 0.01


@dataclass(slots=True)
class Office:
    """One fleet with its way in; ``rabbitmq`` is None for the embedded inbox."""

    fleet: Fleet
    rabbitmq: RabbitServer | None
    producer: Producer

    @property
    def queues(self) -> Topology:
        """The names of this office's queues."""
        return Topology(self.fleet.prefix, QUEUE_TYPE)

    def put(self, body: bytes, queue: str = "") -> None:
        """Publish bytes as they are; left out, to the queue of single sends."""
        queue = queue or self.queues.send
        if self.rabbitmq is None:
            inbox = Inbox(self.fleet.root / "state" / "inbox.db")
            try:
                inbox.put(queue, [body])
            finally:
                inbox.close()
            return
        with self.rabbitmq.channel() as channel:
            channel.confirm_delivery()
            channel.basic_publish("", queue, body, mandatory=True)

    def publish_good(self) -> Receipt:
        """Publish a good single send."""
        email = Email("kim@customers.example", "Receipt", text="Thank you.")
        return self.producer.send(email, company="acme")

    def seconds_for_a_good_job(self, timeout_seconds: float = GENEROUS_SECONDS) -> float:
        """How long a good single send takes from its publishing to its acceptance."""
        began = time.monotonic()
        receipt = self.publish_good()
        while time.monotonic() - began < timeout_seconds:
            for arrival in self.fleet.arrivals():
                if arrival.message_id == receipt.message_id:
                    return arrival.at - began
            time.sleep(_LOOK_SECONDS)
        raise AssertionError(f"a good job was not delivered in {timeout_seconds:g} s")

    def delivers_promptly(self) -> bool:
        """Whether a good job is delivered without waiting for anything."""
        return self.seconds_for_a_good_job() < PROMPT_SECONDS

    def row(self, job_id: str) -> JobRecord | None:
        """What the ledger has of a job."""
        return self.fleet.ledger.read(lambda c, _: find_job(c, job_id))

    def wait_for(
        self,
        job_id: str,
        state: State,
        reason: str | None = None,
        timeout_seconds: float = GENEROUS_SECONDS,
    ) -> JobRecord:
        """Wait until a job is in a state, with this reason where one is given.

        Raises:
            AssertionError: it never was; the message says how it stands.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            row = self.row(job_id)
            if row is not None and row.state is state and reason in {None, row.reason}:
                return row
            if time.monotonic() > deadline:
                stands = "not in the ledger" if row is None else f"{row.state}: {row.reason!r}"
                raise AssertionError(f"{job_id} is {stands}, not {state}: {reason!r}")
            time.sleep(_LOOK_SECONDS)

    def readiness(self) -> tuple[int, str]:
        """What ``/readyz`` answers: its status and its line; 0 while nobody answers."""
        url = f"http://127.0.0.1:{self.fleet.metrics_port}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=10.0) as answer:
                return int(answer.status), answer.read().decode().strip()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode().strip()
        except OSError as error:
            return 0, str(error)

    def wait_for_readiness(
        self, wanted: tuple[int, str], timeout_seconds: float = GENEROUS_SECONDS
    ) -> None:
        """Wait until ``/readyz`` answers this."""
        deadline = time.monotonic() + timeout_seconds
        while (answer := self.readiness()) != wanted:
            assert time.monotonic() < deadline, f"/readyz says {answer}, not {wanted}"
            time.sleep(0.05)

    def wait_until_all_ready(self) -> None:
        """Wait until every process of the fleet is ready."""
        count = self.fleet.processes
        self.wait_for_readiness((200, f"{count} of {count} workers ready"))

    def settings_file(self, name: str, text: str) -> Path:
        """Write one file of the settings tree, which the worker follows."""
        path = self.fleet.root / "settings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def wait_for_log(
        self, event: str, timeout_seconds: float = GENEROUS_SECONDS
    ) -> list[dict[str, Any]]:
        """Wait until the workers have logged this sentence; the lines."""
        deadline = time.monotonic() + timeout_seconds
        while not (lines := self.log_lines(event)):
            assert time.monotonic() < deadline, f"nobody logged {event!r}"
            time.sleep(0.05)
        return lines

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """What the workers logged under this sentence."""
        lines = self.fleet.log.read_text().splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in told if line["event"] == event]


@contextmanager
def open_office(
    root: Path, rabbitmq: RabbitServer | None = None, *, prefix: str = "", **options: Any
) -> Iterator[Office]:
    """Start a fleet that serves ``acme``, of one process unless ``options`` say more, and end it with everything of its own.

    Args:
        prefix: of the queues; needed with ``rabbitmq``.
        options: of the fleet.
    """
    options.setdefault("companies", (Company("acme", None),))
    options.setdefault("processes", 1)
    fleet = Fleet(
        root,
        broker_url="embedded:" if rabbitmq is None else rabbitmq.url,
        prefix=prefix,
        **options,
    )
    with fleet, fleet.producer() as producer:
        office = Office(fleet, rabbitmq, producer)
        office.wait_until_all_ready()
        office.seconds_for_a_good_job()  # the first one opens the connection to the server
        yield office
    if rabbitmq is not None:
        queues = office.queues
        rabbitmq.delete_queues(*queues.queues, queues.dead)
        with rabbitmq.channel() as channel:
            channel.exchange_delete(queues.events)


def raw_id(body: bytes) -> str:
    """The id of the row that keeps a message which is no job."""
    return f"raw-{hashlib.sha256(body).hexdigest()[:32]}"


def new_id() -> str:
    """An id that no job of another test has."""
    return str(uuid7())


def good_envelope(queue: str, **fields: Any) -> dict[str, Any]:
    """The decoded envelope of a job of ``acme``, different each time, changed by ``fields``."""
    decoded: dict[str, Any] = json.loads(encode(make_job(**{"id": new_id(), **fields}), queue))
    return decoded


def as_bytes(envelope: dict[str, Any]) -> bytes:
    """An envelope as a publisher in any language writes it."""
    return json.dumps(envelope).encode()
