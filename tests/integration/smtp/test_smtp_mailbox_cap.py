"""mailbox_connections across a fleet, counted by the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import Company, Fleet
from tests.support.postfix import MAX_CONNECTIONS
from tests.support.smtp_matrix import USERS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.mailserver import MailServer

SYSTEM = """\
[smtp]
server_address = "{address}"
port = {port}
transport_security = "none"
authorisation = "required"
allow_cleartext_password = true
default_user = "robot"
"""
ROBOT = """\
[email]
address = "robot@acme.example"
username = "jane"
password_file = "robot.secret"
mailbox_connections = {connections}
"""
MAILS = 12


@dataclass(slots=True, kw_only=True)
class OneMailbox(Fleet):
    """Workers that all log in to one mailbox of a real server."""

    server: MailServer

    def write_settings(
        self, limits: dict[str, int | None] | None = None, view: int | None = None
    ) -> None:
        """Write the tree: one company, one user, so many connections."""
        tree = self._tree(0)
        users = tree / "companies/acme/users"
        address, port = self.server.address, self.server.ports["capped"]
        self._put(tree / "system.toml", SYSTEM.format(address=address, port=port))
        self._put(users / "robot.secret", USERS["jane"])
        (users / "robot.secret").chmod(0o600)
        self._put(users / "robot.toml", ROBOT.format(connections=MAX_CONNECTIONS))
        self._put(tree / "companies/acme/company.toml", "replicate_from_system = true\n")


@pytest.mark.postfix
def test_a_mailbox_has_three_connections_whatever_workers_there_are(
    mailserver: MailServer, tmp_path: Path
) -> None:
    """Three processes with a backlog: three connections at the server, and never one too many."""
    companies = (Company("acme", None),)
    with OneMailbox(root=tmp_path, companies=companies, processes=3, server=mailserver) as fleet:
        fleet.publish_batch("acme", MAILS)
        assert fleet.wait_for_state("sent", MAILS, 120), fleet.log.read_text()[-4000:]
    assert mailserver.most_at_once("capped") == MAX_CONNECTIONS
    assert "Connection concurrency limit exceeded" not in mailserver.log
    users = [user for session in mailserver.sessions("capped") for user in session.users]
    assert users == [("PLAIN", "jane")] * MAILS
