"""Compose with real workers: the command publishes, a worker drafts, the command writes the file."""

from __future__ import annotations

import json
from email import message_from_bytes
from email.policy import SMTP
from typing import TYPE_CHECKING

import pytest

from tests.support.command import make_environ, run, running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JANE = """\
[email]
address = "jane@example.nz"
display_name = "Jane Smith"
signature = "Jane, Accounts"
bcc = ["archive@example.nz"]
"""
BILL = bytes(range(256)) * 100


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A worker of one process whose settings name no server at all."""
    found = make_environ(tmp_path, 'smtp.default_user = "jane"\n')
    (tmp_path / "settings" / "users" / "jane.toml").write_text(JANE)
    (tmp_path / "bill.pdf").write_bytes(BILL)
    with running_worker(found, 1):
        yield found


def test_a_draft_is_made_told_of_and_written(environ: dict[str, str], tmp_path: Path) -> None:
    """From the command line to a file with the user's defaults, every byte of the attachment in it."""
    bill, kim = str(tmp_path / "bill.pdf"), "Kim <kim@example.org>"
    email = ("--to", kim, "--subject", "Your bill", "--text", "Hi Kim", "--attach", bill)
    words = ("compose", *email, "--wait", "50")
    job_id, outcome, way = run(environ, *words).stdout.splitlines()
    assert outcome == "drafted"
    assert f"`postmeter status {job_id} --eml FILE` writes it" in way

    path = tmp_path / "draft.eml"
    assert "drafted" in run(environ, "status", job_id, "--eml", str(path)).stdout
    message = message_from_bytes(path.read_bytes(), policy=SMTP)
    assert (message["X-Unsent"], message["Bcc"]) == ("1", "archive@example.nz")
    assert (message["From"], message["To"]) == (
        "Jane Smith <jane@example.nz>",
        "Kim <kim@example.org>",
    )
    assert (message["Subject"], message["Date"], message["Message-ID"]) == ("Your bill", None, None)
    parts = {part.get_content_type(): part for part in message.walk()}
    assert parts["text/plain"].get_payload(decode=True) == b"Hi Kim\r\n\r\nJane, Accounts\r\n"
    assert "text/html" in parts
    assert parts["application/pdf"].get_payload(decode=True) == BILL
    assert parts["application/pdf"].get_filename() == "bill.pdf"
    run(environ, "status", job_id, "--eml", str(path), exits=2)

    told = json.loads(run(environ, "status", job_id, "--json").stdout)
    assert (told["state"], told["transport"]) == ("drafted", "accredo-mailer")
    assert told["draft"]["size_bytes"] == path.stat().st_size
    again = json.loads(run(environ, *words, "--json").stdout)
    assert (again["state"], again["draft"]["kind"]) == ("drafted", "eml")
    checked = json.loads(run(environ, "ledger", "check", "--json").stdout)
    assert (checked["jobs"], checked["problems"]) == ({"drafted": 2}, [])
