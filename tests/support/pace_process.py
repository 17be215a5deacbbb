"""One process that sends as a worker does, stripped to its pace: take, begin, the mail, settle.

``python -m tests.support.pace_process '{"url": …}'``: a test starts several on one ledger. The mail
is a datagram; the referee that gets it says when it was accepted, so no clock of this process
counts. It ends at SIGTERM, or when nothing waits and ``until_empty`` is set.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from worker.errors import BeginRefused, LedgerUnavailable
from worker.ledger import deliveries, endings, lanes, workers
from worker.ledger.ledger import Ledger
from worker.ledger.rows import Claim, Settlement, State, Terms
from worker.outcome import Outcome
from worker.pace import Limit

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.ledger.clock import Now
    from worker.ledger.rows import Nothing

ACCEPTED = Settlement(State.SENT, Outcome.SENT, reply="250 2.0.0 queued", accepted=True)
AHEAD_SECONDS = 0.3
THREADS = 4


_never = threading.Event()


def pause(seconds: float) -> None:
    """Sleep; by a wait that is right under libfaketime too, which ``time.sleep`` is not."""
    _never.wait(seconds)


@dataclass(frozen=True, slots=True)
class Orders:
    """What a process is told.

    Attributes:
        referee: where its mails go.
        limits: the limit it sees, each for ``flap_seconds`` in turn.
    """

    url: str
    referee: tuple[str, int]
    limits: list[int]
    window_seconds: float
    name: str
    flap_seconds: float = 2.0
    lane: tuple[str, str, str] = ("acme", "jane", "batch")
    until_empty: bool = False
    scopes: list[str] = field(default_factory=lambda: ["company:acme"])


class Sender:
    """The process: a heartbeat and some threads that send."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._ledger = Ledger(orders.url)
        self._worker = f"{orders.name}-{uuid.uuid4().hex[:8]}"
        self._stop = threading.Event()
        self._ledger.call(partial(_register, worker=self._worker))
        self._ledger.owner = self._worker

    def run(self) -> None:
        """Send until told to stop."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        threads = [threading.Thread(target=self._send_on, daemon=True) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            try:
                self._ledger.call(partial(_beat, worker=self._worker))
            except LedgerUnavailable:
                pass
            except workers.Reaped:
                return
            self._stop.wait(0.5)
            if self._stop.is_set():
                break
        for thread in threads:
            thread.join()
        self._ledger.call(lambda c, now: workers.bury(c, now, self._worker))
        self._ledger.close()

    def _limits(self) -> list[Limit]:
        seen = self._orders.limits
        now = seen[int(time.monotonic() / self._orders.flap_seconds) % len(seen)]
        window = self._orders.window_seconds
        return sorted(Limit(scope, now, window) for scope in self._orders.scopes)

    def _send_on(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as post:
            post.settimeout(30.0)
            while not self._stop.is_set():
                token = uuid.uuid4().hex
                try:
                    taken = self._take(token)
                except LedgerUnavailable:
                    self._ledger.disown(token)
                    continue
                if isinstance(taken, Claim):
                    self._deliver(taken, post)
                elif not taken.scope and self._orders.until_empty:
                    return
                else:
                    self._stop.wait(0.02)

    def _take(self, token: str) -> Claim | Nothing:
        return self._ledger.call(
            partial(
                lanes.take,
                lane=lanes.Lane(*self._orders.lane),
                limits=self._limits(),
                worker=self._worker,
                token=token,
                ahead_seconds=AHEAD_SECONDS,
            )
        )

    def _deliver(self, claim: Claim, post: socket.socket) -> None:
        while (wait := claim.not_before_steady - self._ledger.now().steady) > 0:
            pause(wait)
        terms = Terms(self._worker, "smtp", self._ledger.now().wall, "resend", 600.0)
        try:
            self._ledger.call(partial(deliveries.begin_claimed, claim=claim, terms=terms))
        except BeginRefused:
            self._put_back(claim)
            return
        except LedgerUnavailable:
            self._ledger.disown(claim.token)
            return
        pause(random.choice((0.0, 0.01, 0.2)))
        post.sendto(claim.job_id.encode(), self._orders.referee)
        post.recv(64)
        settle = partial(
            endings.settle,
            job_id=claim.job_id,
            token=claim.token,
            attempt=claim.attempts + 1,
            settlement=ACCEPTED,
            begun=True,
        )
        while True:
            try:
                self._ledger.call(settle)
            except LedgerUnavailable:
                pause(0.2)
            else:
                return

    def _put_back(self, claim: Claim) -> None:
        while not self._stop.is_set():
            try:
                self._ledger.call(
                    partial(endings.release, claim=claim, due_at=0.0, reason="too early")
                )
            except LedgerUnavailable:
                pause(0.2)
            else:
                return


def _register(connection: Connection, now: Now, *, worker: str) -> None:
    workers.register(connection, now, worker, host="host", pid=0, version="1")


def _beat(connection: Connection, now: Now, *, worker: str) -> None:
    workers.beat(connection, now, worker)


def main() -> None:
    """Read the orders and follow them."""
    told = json.loads(sys.argv[1])
    told["referee"] = tuple(told["referee"])
    told["lane"] = tuple(told["lane"])
    Sender(Orders(**told)).run()


if __name__ == "__main__":
    main()
