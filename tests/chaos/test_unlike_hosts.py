"""Whole workers on hosts that do not agree, one PostgreSQL ledger between them.

Their clocks are a minute apart, or each has a network of its own; the receiving server is the judge.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from tests.support import namespaces
from tests.support.faketime import shifted
from tests.support.fleet import Company, Fleet, measure
from tests.support.fleet_group import Host
from tests.support.waiting import GENEROUS_SECONDS, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgresql import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.postgresql, pytest.mark.timeout(300)]

LIMIT = 40
ACME = Company("acme", LIMIT)
WINDOW_SECONDS = 5.0
MAILS = 400
"""Ten windows' worth."""


_SENDERS = text("SELECT DISTINCT worker FROM attempt")


def fleet_of(root: Path, ledger_url: str, *hosts: Host) -> Fleet:
    """One process on each host."""
    return Fleet(
        root,
        (ACME,),
        processes=len(hosts),
        views=len(hosts),
        hosts=hosts,
        window_seconds=WINDOW_SECONDS,
        delay_seconds=0.4,
        more_environ={"POSTMETER_LEDGER_URL": ledger_url},
    )


def wait_for_workers(fleet: Fleet) -> None:
    """Wait until the ledger knows one worker of each host."""
    wait_until(lambda: len(fleet.worker_pids()) == fleet.processes, "every worker")


def judge(fleet: Fleet) -> None:
    """Let all send, and ask the server: the bound holds, nothing is lost, nothing comes twice."""
    wait_for_workers(fleet)
    fleet.publish_batch(ACME.name, MAILS)
    assert fleet.wait_for(MAILS, 2 * GENEROUS_SECONDS), "mails are missing"
    wait_until(lambda: fleet.open_jobs() == 0, "the end of every job")
    seen = measure(fleet, ACME, settle_seconds=0.0)
    assert seen.worst <= LIMIT
    assert (seen.accepted, seen.different) == (MAILS, MAILS)
    assert fleet.states() == {"sent": MAILS}
    senders = fleet.ledger.read(lambda c, _: c.execute(_SENDERS).all())
    assert len(senders) == fleet.processes, "a host has sent nothing"


def seconds_between_dates(fleet: Fleet) -> float:
    """How far the workers' own dates of their start lie apart; by our clock it is a moment."""
    lines = [json.loads(line) for line in fleet.log.read_text().splitlines() if line[:1] == "{"]
    dates = [
        datetime.fromisoformat(line["timestamp"])
        for line in lines
        if line["event"] == "worker started"
    ]
    return (max(dates) - min(dates)).total_seconds()


def test_clocks_half_a_minute_off_keep_the_bound(tmp_path: Path, postgresql_url: str) -> None:
    """One host 30 s ahead, one 30 s behind, one right: only the database's clock counts."""
    hosts = (Host(shifted("+30s")), Host(shifted("-30s")), Host())
    with fleet_of(tmp_path, postgresql_url, *hosts) as fleet:
        judge(fleet)
        assert seconds_between_dates(fleet) > 45.0, "the clocks agree"


def abroad(
    stack: ExitStack, number: int, fleet: Fleet, postgresql: PostgresServer, ledger_url: str
) -> Host:
    """A host that reaches the ledger and the receiving server through a link of its own."""
    before, here = stack.enter_context(namespaces.namespace(number))
    ledger_port = stack.enter_context(namespaces.forwarded(here, postgresql.port))
    smtp_port = stack.enter_context(namespaces.forwarded(here, fleet.sink.port))
    return Host(
        {
            "POSTMETER_LEDGER_URL": ledger_url.replace(
                f"127.0.0.1:{postgresql.port}", f"{here}:{ledger_port}"
            ),
            "POSTMETER_SYSTEM__SMTP__SERVER_ADDRESS": here,
            "POSTMETER_SYSTEM__SMTP__PORT": str(smtp_port),
        },
        run_by=tuple(before),
    )


def test_networks_of_their_own_keep_the_bound(
    tmp_path: Path, postgresql: PostgresServer, postgresql_url: str
) -> None:
    """Two namespaces, each with its own way to the ledger and to the receiving server."""
    if not namespaces.available():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(namespaces.MISSING)
    with ExitStack() as stack:
        fleet = stack.enter_context(fleet_of(tmp_path, postgresql_url, Host(), Host()))
        # Only now has the server a port: the workers start anew where they belong.
        wait_for_workers(fleet)
        assert fleet.stop() == 0
        fleet.hosts = tuple(
            abroad(stack, number, fleet, postgresql, postgresql_url) for number in (3, 4)
        )
        fleet.start()
        judge(fleet)
