"""A copy of the ledger, made while it is written, put back after more has left: nothing goes twice."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command import run
from tests.support.fleet import Company
from tests.support.office import open_office
from tests.support.waiting import wait_until
from worker.ledger.rows import State

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.office import Office

MAILS = 120
PACED: dict[str, Any] = {"companies": (Company("acme", 60),), "window_seconds": 3.0}
"""So that the copy is made while most of the mail has not left."""


def put_back(office: Office, copy: Path) -> None:
    """Put the copy in the ledger's place, as docs/backup.md says."""
    state = office.fleet.root / "state"
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (state / name).unlink(missing_ok=True)
    shutil.copy(copy, state / "ledger.db")


def test_a_copy_put_back_sends_nothing_again(tmp_path: Path) -> None:
    """What left after the copy is unknown in it; marked as sent it stays so, and new mail flows."""
    copy = tmp_path / "copy.db"
    with open_office(tmp_path / "office", processes=2, **PACED) as office:
        environ = office.fleet.environ
        office.fleet.publish_batch("acme", MAILS)
        assert office.fleet.wait_for(MAILS // 10, 60)
        done = json.loads(run(environ, "ledger", "backup", str(copy), "--json").stdout)
        assert done == {"file": str(copy), "size_bytes": copy.stat().st_size}
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert "is there already" in run(environ, "ledger", "backup", str(copy), exits=2).stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "office"]
        assert "at work" in run(environ, "ledger", "restored", "--yes", exits=2).stderr
        assert office.fleet.wait_for(MAILS + 1, 60)
        assert office.fleet.stop() == 0
        put_back(office, copy)
        told = json.loads(run(environ, "ledger", "restored", "--yes", "--json").stdout)
        assert told["unknown"] > 0
        run(environ, "ledger", "check")
        office.fleet.start()
        assert office.delivers_promptly()
        run(environ, "unknown", "mark-sent", "--all")
        wait_until(lambda: set(office.fleet.states()) == {State.SENT}, "every job to be sent")
        arrived = Counter(mail.message_id for mail in office.fleet.arrivals())
        assert len(arrived) == MAILS + 2  # with the one that opened the office, and the new one
        assert set(arrived.values()) == {1}


@pytest.mark.slow
def test_postgresql_is_copied_with_its_own_tools(tmp_path: Path, postgresql_url: str) -> None:
    """The command names pg_dump; what pg_restore puts back is treated in the same way."""
    more = {"POSTMETER_LEDGER_URL": postgresql_url}
    url = postgresql_url.replace("+psycopg", "")
    with open_office(tmp_path / "office", more_environ=more, **PACED) as office:
        environ = office.fleet.environ
        refused = run(environ, "ledger", "backup", str(tmp_path / "copy"), exits=2).stderr
        assert "pg_dump --format=custom --file=FILE" in refused
        office.fleet.publish_batch("acme", MAILS)
        assert office.fleet.wait_for(MAILS // 10, 60)
        dump = tmp_path / "copy.dump"
        subprocess.run(["pg_dump", "--format=custom", f"--file={dump}", url], check=True)
        assert office.fleet.wait_for(MAILS + 1, 60)
        assert office.fleet.stop() == 0
        subprocess.run(["pg_restore", "--clean", f"--dbname={url}", dump], check=True)
        told = json.loads(run(environ, "ledger", "restored", "--yes", "--json").stdout)
        assert told["unknown"] > 0
        office.fleet.start()
        assert office.delivers_promptly()
        assert len(office.fleet.arrivals()) == MAILS + 2
