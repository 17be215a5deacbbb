"""From the producer to a real Postfix: STARTTLS pinned to TLS 1.3, and a login that it demands."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from producers import Email
from tests.support.certificates import certificates
from tests.support.office import open_office
from tests.support.postfix import MISSING, PostfixServer
from tests.support.scripted import told, write_company
from worker.ledger.rows import State

if TYPE_CHECKING:
    from pathlib import Path

SECURE = """\
transport_security = "tls1.3"
authorisation = "required"
[tls]
ca_file = "{ca_file}"
"""


@pytest.mark.postfix
def test_an_email_reaches_a_postfix_that_wants_tls_and_a_login(tmp_path: Path) -> None:
    """The status says sent, and Postfix's log has TLS 1.3 and one login of the user."""
    if not PostfixServer.available():
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    certs = certificates(tmp_path / "certificates")
    with PostfixServer(certs, {"jane": "pass word"}) as postfix:
        write_company(
            tmp_path / "settings",
            "secure",
            postfix.ports["authenticated"],
            smtp=SECURE.format(ca_file=certs.ca_file),
            users={"jane": ""},
            passwords={"jane": "pass word"},
        )
        with open_office(tmp_path) as office:
            email = Email("kim@customers.example", "Hello", text="Hello Kim")
            receipts = [
                office.producer.send(email, company="secure", user="jane") for _ in range(2)
            ]
            for receipt in receipts:
                row = office.wait_for(receipt.job_id, State.SENT)
                assert "queued as" in row.reply
                assert told(office, receipt.job_id)["state"] == "sent"
        log = postfix.session_log("authenticated", 0)
    versions = re.findall(r"TLS connection established from .*?: (TLSv\S+)", log)
    assert set(versions) == {"TLSv1.3"}
    logins = set(re.findall(r"sasl_method=(\S+), sasl_username=(\S+)", log))
    assert logins == {("PLAIN", "jane")}
    assert log.count("auth=1") == len(versions)
