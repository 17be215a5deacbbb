"""A ledger that cannot be written: nothing leaves unrecorded, and all goes on by itself."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.full_disk import KINDS, open_disk
from tests.support.office import open_office
from worker.ledger.rows import State

if TYPE_CHECKING:
    from pathlib import Path

    from producers import Receipt
    from tests.support.office import Office

AWAY = "the ledger is away: nothing is taken in or sent"
BACK = "the ledger is back: work goes on"
LOCKED_SECONDS = 15.0
# What root may do all the same; without it, a file's permissions bind root too.
AS_ANYBODY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


def sentence(words: str) -> str:
    """What is said of a ledger that SQLite cannot use for this reason."""
    return (
        f"the ledger cannot be used now: {words}; "
        "look at its disk, its permissions and POSTMETER_LEDGER_URL"
    )


def waits_in_the_inbox(office: Office, reason: str) -> list[Receipt]:
    """Publish while the ledger is away: nothing leaves, and log and ``/readyz`` say why."""
    before = len(office.fleet.arrivals())
    receipts = [office.publish_good() for _ in range(20)]
    office.wait_for_readiness((503, reason))
    assert {line["reason"] for line in office.wait_for_log(AWAY)} == {reason}
    assert len(office.fleet.arrivals()) == before
    return receipts


def goes_on(office: Office, receipts: list[Receipt]) -> None:
    """The ledger is back: a good job is prompt, and what had waited is sent, each once."""
    assert office.delivers_promptly()
    for receipt in receipts:
        office.wait_for(receipt.job_id, State.SENT)
    office.wait_until_all_ready()
    arrived = [mail.message_id for mail in office.fleet.arrivals()]
    assert len(arrived) == len(set(arrived))
    assert {receipt.message_id for receipt in receipts} <= set(arrived)


def test_a_ledger_locked_by_another_process_is_waited_for(tmp_path: Path) -> None:
    """Locked for 15 s: nothing is sent, no worker takes another for dead, then all goes on."""
    with open_office(tmp_path / "office", processes=2) as office:
        pids = office.fleet.worker_pids()
        ledger = tmp_path / "office" / "state" / "ledger.db"
        with closing(sqlite3.connect(ledger, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            until = time.monotonic() + LOCKED_SECONDS
            receipts = waits_in_the_inbox(office, sentence("database is locked"))
            before = len(office.fleet.arrivals())
            time.sleep(max(0.0, until - time.monotonic()))
            assert len(office.fleet.arrivals()) == before
            other.execute("ROLLBACK")
        goes_on(office, receipts)
        assert office.fleet.worker_pids() == pids


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_stops_intake_until_there_is_room(tmp_path: Path, kind: str) -> None:
    """No row can be written, so nothing is sent; with room again everything goes by itself."""
    with open_disk(kind, tmp_path / "disk") as disk:
        url = f"sqlite:///{disk.folder / 'ledger.db'}"
        with open_office(
            tmp_path / "office", processes=2, more_environ={"POSTMETER_LEDGER_URL": url}
        ) as office:
            pids = office.fleet.worker_pids()
            disk.fill(office.fleet)
            receipts = waits_in_the_inbox(office, sentence(disk.reason))
            disk.free(office.fleet)
            goes_on(office, receipts)
            assert office.log_lines(BACK)
            assert office.fleet.worker_pids() == pids


def test_a_read_only_ledger_is_waited_for(tmp_path: Path) -> None:
    """A worker that may not write its ledger takes nothing in until its permissions are mended."""
    with open_office(
        tmp_path / "office", processes=2, run_by=AS_ANYBODY if os.geteuid() == 0 else ()
    ) as office:
        office.fleet.stop()
        state = tmp_path / "office" / "state"
        (state / "ledger.db").chmod(0o444)
        office.fleet.start()
        reason = sentence("attempt to write a readonly database")
        receipts = waits_in_the_inbox(office, reason)
        for file in state.glob("ledger.db*"):  # what SQLite made beside it has its permissions
            file.chmod(0o600)
        office.wait_until_all_ready()
        goes_on(office, receipts)
