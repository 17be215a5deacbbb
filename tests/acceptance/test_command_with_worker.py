"""The command beside real workers: an email followed to its end, a forecast that comes true."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from producers.identity import batch_job_id
from tests.support.command import POSTMETER, make_environ, run, running_worker
from tests.support.smtp_sink import SmtpSink, read_record
from tests.support.waiting import GENEROUS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PEOPLE = 40


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Two worker processes that send to a sink, batches at 120 a minute."""
    with SmtpSink(tmp_path / "record.txt") as sink:
        found = make_environ(
            tmp_path,
            '[smtp]\nserver_address = "127.0.0.1"\ntransport_security = "none"\n'
            f'port = {sink.port}\nbatch_emails_per_min = 120\ndefault_user = "jane"\n',
        )
        with running_worker(found, 2):
            yield found


def send(environ: dict[str, str], to: str, exits: int = 0) -> str:
    """Send one email and follow it."""
    words = ("send", "--to", to, "--subject", "Hello", "--text", "Hi", "--wait", "50")
    return run(environ, *words, exits=exits).stdout


def test_emails_are_followed_forecast_and_cancelled(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """While two workers run, every command answers, and what it says is what happens."""
    assert send(environ, "kim@example.org").splitlines()[-1] == "sent: 250 2.0.0 Ok: queued"
    people = "".join(f"P{n},p{n}@example.org\n" for n in range(PEOPLE))
    (tmp_path / "people.csv").write_text(f"name,email\n{people}")
    (tmp_path / "letter.txt").write_text("Subject: Hello {{name}}\n\nDear {{name}}\n")
    words = ("batch", "send", f"{tmp_path}/people.csv", "--template", f"{tmp_path}/letter.txt")
    assert "40 emails published" in run(environ, *words, "--batch-id", "november").stdout

    chosen = batch_job_id(None, "november", PEOPLE - 15)
    deadline = time.monotonic() + 2 * GENEROUS_SECONDS
    while (found := status(environ, chosen)) is None:
        assert time.monotonic() < deadline
    forecast = found["forecast"]
    assert (forecast["limit_scope"], forecast["limit_per_minute"]) == ("system", 120)
    leaves_at = datetime.fromisoformat(forecast["leaves_at"]).timestamp()
    assert "sent: " in send(environ, "lee@example.org")

    while (found := status(environ, chosen)) is None or found["state"] != "sent":
        assert time.monotonic() < deadline
    arrived = {each.recipient: each.at for each in read_record(tmp_path / "record.txt")}
    offset = time.time() - time.monotonic()
    assert arrived[f"p{PEOPLE - 15}@example.org"] + offset == pytest.approx(leaves_at, abs=5.0)

    cancelled = json.loads(run(environ, "batch", "cancel", "november", "--json").stdout)
    assert cancelled["cancelled"] > 0
    assert sum(cancelled["jobs"].values()) == PEOPLE
    assert json.loads(run(environ, "status", "--json").stdout)["workers"][0]["alive"]


def status(environ: dict[str, str], job_id: str) -> dict[str, Any] | None:
    """Ask for a job's status; None while the ledger does not know it."""
    done = subprocess.run(
        [POSTMETER, "status", job_id, "--json"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return None
    told: dict[str, Any] = json.loads(done.stdout)
    return told
