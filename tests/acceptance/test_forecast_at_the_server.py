"""What the command foretells, beside when the receiving server then takes the mail."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from producers import Email, Producer
from producers.identity import batch_job_id
from tests.support.command import make_environ, run, running_worker
from tests.support.smtp_sink import SmtpSink, read_record
from worker.ledger.ledger import Ledger
from worker.ledger.queries import batch_counts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(360)]

MAILS = {"beta": 400, "acme": 700}
"""Under one ceiling of 600 a minute: the last of beta leaves after 80 s, acme's after 110 s."""
PATIENCE_SECONDS = 240.0
WITHIN = 0.05
"""Of the time until then: at least three seconds of these waits."""


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Two worker processes and two companies that share a ceiling."""
    with SmtpSink(tmp_path / "record.txt") as sink:
        found = make_environ(
            tmp_path,
            f'[smtp]\nserver_address = "127.0.0.1"\ntransport_security = "none"\nport = {sink.port}\n'
            'default_user = "jane"\n[limits]\nall_batch_emails_per_min = 600\n',
        )
        for company in MAILS:
            users = tmp_path / "settings" / "companies" / company / "users"
            users.mkdir(parents=True)
            (users.parent / "company.toml").write_text("replicate_from_system = true\n")
            (users / "jane.toml").write_text(f'[email]\naddress = "jane@{company}.example"\n')
        with running_worker(found, 2):
            yield found


def publish(root: Path, company: str) -> None:
    """Publish a company's batch, to ``p<n>@<company>.example``."""
    emails = [Email(f"p{n}@{company}.example", "Hello", text="Hi") for n in range(MAILS[company])]
    with Producer(f"embedded:{root / 'state' / 'inbox.db'}") as producer:
        producer.batch(emails, company=company, batch_id="b")


def told(environ: dict[str, str], *words: str) -> dict[str, Any]:
    """What the command says in JSON."""
    found: dict[str, Any] = json.loads(run(environ, *words, "--json").stdout)
    return found


def taken_in(ledger: Ledger, company: str) -> bool:
    """Whether the ledger has the whole batch."""
    counts = ledger.read(lambda c, _: batch_counts(c, "b")).get(company, {})
    return sum(counts.values()) == MAILS[company]


def wait_until(true: Any) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_the_last_of_two_batches_leaves_when_it_was_said(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Within a twentieth of the time until then: batches, and a job of one."""
    for company in MAILS:
        publish(tmp_path, company)
    ledger = Ledger(f"sqlite:///{tmp_path / 'state' / 'ledger.db'}")
    wait_until(lambda: all(taken_in(ledger, company) for company in MAILS))
    ledger.close()
    asked_at = time.time()
    said = {}
    for company, count in MAILS.items():
        last = told(environ, "batch", "status", "b", "--company", company)["last_email"]
        said[f"p{count - 1}@{company}.example"] = last
    job = told(environ, "status", batch_job_id("acme", "b", MAILS["acme"] - 10))["forecast"]
    said[f"p{MAILS['acme'] - 10}@acme.example"] = job
    wait_until(lambda: len(read_record(tmp_path / "record.txt")) == sum(MAILS.values()))
    to_wall = time.time() - time.monotonic()
    left = {each.recipient: each.at + to_wall for each in read_record(tmp_path / "record.txt")}
    for recipient, forecast in said.items():
        took = left[recipient] - asked_at
        moment = datetime.fromisoformat(forecast["leaves_at"]).timestamp()
        print(recipient, round(took, 1), round(moment - asked_at, 1))
        assert (forecast["limit_scope"], forecast["cause"]) == ("all", "limit")
        assert took >= 60.0, "too short a wait to tell a twentieth of it"
        assert moment == pytest.approx(left[recipient], abs=WITHIN * took)
