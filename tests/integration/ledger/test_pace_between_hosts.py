"""Hosts that do not agree: clocks half a minute apart, and networks of their own."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support import namespaces
from tests.support.faketime import shifted
from tests.support.ledger import new_job
from tests.support.pace_process import Orders
from tests.support.referee import Referee
from worker.ledger import care, deliveries
from worker.ledger.ledger import Ledger
from worker.ledger.rows import State

if TYPE_CHECKING:
    from tests.support.postgresql import PostgresServer

WINDOW_SECONDS = 3.0
LIMIT = 30
MAILS = 120

pytestmark = pytest.mark.postgresql


def fill(ledger: Ledger) -> None:
    """Let jobs wait."""
    for n in range(MAILS):
        ledger.call(partial(deliveries.accept, job=new_job(f"j{n:05}", batch_index=n)))


def orders(url: str, referee: tuple[str, int], name: str) -> Orders:
    """What a process is told."""
    return Orders(url, referee, [LIMIT], WINDOW_SECONDS, name, until_empty=True)


def judge(ledger: Ledger, referee: Referee) -> None:
    """What must hold once everything has come."""
    assert referee.worst(WINDOW_SECONDS) <= LIMIT
    assert referee.doubled() == []
    assert ledger.read(care.check).jobs == {State.SENT: MAILS}


def test_clocks_half_a_minute_apart_keep_the_bound(postgresql_url: str) -> None:
    """One host 30 s ahead, one 30 s behind, one right: only the database's clock counts."""
    ledger = Ledger(postgresql_url)
    fill(ledger)
    with Referee() as referee:
        processes = [
            referee.start(
                orders(postgresql_url, referee.address, f"w{n}"),
                environment=skew,
            )
            for n, skew in enumerate((shifted("+30s"), shifted("-30s"), {}))
        ]
        referee.wait_for(MAILS, 120.0)
        for process in processes:
            assert process.wait(30.0) == 0
        judge(ledger, referee)
    ledger.close()


def test_hosts_with_networks_of_their_own_keep_the_bound(
    postgresql: PostgresServer, postgresql_url: str
) -> None:
    """Two namespaces, each with its own way to the ledger and to the server."""
    if not namespaces.available():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(namespaces.MISSING)
    ledger = Ledger(postgresql_url)
    fill(ledger)
    with ExitStack() as stack:
        referee = stack.enter_context(Referee("0.0.0.0"))  # noqa: S104 - reached from two namespaces
        processes = []
        for number in (1, 2):
            before, here = stack.enter_context(namespaces.namespace(number))
            port = stack.enter_context(namespaces.forwarded(here, postgresql.port))
            url = postgresql_url.replace(f"127.0.0.1:{postgresql.port}", f"{here}:{port}")
            told = orders(url, (here, referee.address[1]), f"w{number}")
            processes.append(referee.start(told, before=before))
        referee.wait_for(MAILS, 120.0)
        for process in processes:
            assert process.wait(30.0) == 0
        judge(ledger, referee)
    ledger.close()
