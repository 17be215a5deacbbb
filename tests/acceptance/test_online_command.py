"""``postmeter settings check --online`` as an operator types it, in a process of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.command import make_environ, run
from tests.support.smtpd import SmtpServer

if TYPE_CHECKING:
    from pathlib import Path

SYSTEM = """\
[smtp]
server_address = "127.0.0.1"
port = {port}
transport_security = "none"
default_user = "jane"
"""
TRY = ("settings", "check", "--online")


def test_a_mail_is_tried_from_a_shell(tmp_path: Path) -> None:
    """Exit 0 with the mail at the server, 1 where it refused, 2 where the words were wrong."""
    with SmtpServer() as server:
        environ = make_environ(tmp_path, SYSTEM.format(port=server.port))
        done = run(environ, *TRY, "--to", "kim@customers.example")
        assert done.stderr == ""
        assert done.stdout.splitlines()[-1].endswith("the mail was accepted")
        assert max(map(len, done.stdout.splitlines())) <= 80
        server.on("mail", "550 5.7.1 not you")
        told = json.loads(
            run(environ, *TRY, "--to", "kim@customers.example", "--json", exits=1).stdout
        )
        assert (told["ok"], told["failed"], told["account"]) == (False, "mail", "_system/jane")
        assert len(server.mails) == 1
    done = run(environ, "settings", "check", "--to", "kim@customers.example", exits=2)
    assert "go with --online" in done.stderr
    assert "has no user" in run(environ, *TRY, "--user", "bob", exits=2).stderr
    assert not (tmp_path / "state").exists()
