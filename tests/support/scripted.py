"""Companies of a running worker whose servers follow a script, and what is asked of it then.

Each company of a test has a server of its own (``tests.support.smtpd``), so that one worker serves
many tests; a company that is written while the worker runs is served within seconds.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner
from sqlalchemy import text

from tests.support.waiting import GENEROUS_SECONDS
from worker.cli.installation import Installation
from worker.cli.main import main
from worker.ledger import holds
from worker.ledger.lanes import note_waiting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection

    from tests.support.office import Office
    from tests.support.smtpd import Accepted, SmtpServer
    from worker.ledger.clock import Now
    from worker.ledger.holds import Hold

REPLY_TIMEOUT_SECONDS = 2
LOOK_SECONDS = 0.01
_COMPANY = """\
[smtp]
server_address = "{address}"
port = {port}
default_user = "robot"
{smtp}
[delivery]
reply_timeout = "{reply_timeout}s"
allowed_from = ["@{name}.example"]
{delivery}
"""
_MAKE_DUE = text(
    "UPDATE delivery SET due_at = :now WHERE job_id = :job_id AND state = 'waiting'"
    " RETURNING company, user_id, kind"
)


def write_company(
    settings: Path,
    name: str,
    port: int,
    *,
    address: str = "127.0.0.1",
    smtp: str = 'transport_security = "none"',
    delivery: str = "",
    users: dict[str, str] | None = None,
    passwords: dict[str, str] | None = None,
    reply_timeout_seconds: int = REPLY_TIMEOUT_SECONDS,
) -> None:
    """Write a company into a settings tree, whole before anyone can read its first file.

    Args:
        settings: the tree's folder.
        port: of the company's server.
        address: of the company's server.
        smtp: further lines of ``[smtp]``.
        delivery: further lines of ``[delivery]``.
        users: further lines of ``[email]`` by user; absent: ``robot`` without any.
        passwords: of users, who then log in with them under their own names.
        reply_timeout_seconds: how long workers wait for the reply to a mail.
    """
    companies = settings / "companies"
    making = settings / f".{name}"
    (making / "users").mkdir(parents=True)
    filled = _COMPANY.format(
        name=name,
        address=address,
        port=port,
        smtp=smtp,
        delivery=delivery,
        reply_timeout=reply_timeout_seconds,
    )
    (making / "company.toml").write_text(filled)
    for user, more in (users or {"robot": ""}).items():
        (making / "users" / f"{user}.toml").write_text(
            f'[email]\naddress = "{user}@{name}.example"\n{more}'
        )
    for user, password in (passwords or {}).items():
        write_password(making / "users", user, password)
        with (making / "users" / f"{user}.toml").open("a") as file:
            file.write(f'username = "{user}"\npassword_file = "{user}.secret"\n')
    companies.mkdir(parents=True, exist_ok=True)
    making.rename(companies / name)


def write_password(users: Path, user: str, password: str) -> None:
    """Write a user's password file, replacing one that is there at once."""
    fresh = users / f".{user}"
    fresh.touch(0o600)
    fresh.write_text(password)
    fresh.rename(users / f"{user}.secret")


def until(done: Callable[[], bool], what: str, timeout_seconds: float = GENEROUS_SECONDS) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: it never was; the message names it.
    """
    deadline = time.monotonic() + timeout_seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {timeout_seconds:g} s: {what}"
        time.sleep(LOOK_SECONDS)


def held(office: Office) -> dict[str, Hold]:
    """The holds in the ledger, by target."""
    return {hold.target: hold for hold in office.fleet.ledger.read(lambda c, _: holds.all_holds(c))}


def make_due(office: Office, job_id: str) -> None:
    """Let a deferred job's back-off be over."""

    def operation(connection: Connection, now: Now) -> None:
        row = connection.execute(_MAKE_DUE, {"now": now.wall, "job_id": job_id}).one()
        note_waiting(connection, row.company, row.user_id, row.kind, now.wall)

    office.fleet.ledger.call(operation)


def told(office: Office, job_id: str) -> dict[str, Any]:
    """What ``postmeter status JOB --json`` says of a job."""
    found: dict[str, Any] = json.loads(postmeter(office, "status", job_id, "--json"))
    return found


def postmeter(office: Office, *words: str) -> str:
    """What the command prints, run in this process; it must succeed."""
    environ = office.fleet.environ
    done = CliRunner().invoke(main, words, env=environ, obj=Installation(environ))
    assert done.exit_code == 0, done.output
    return done.stdout


def mails_of(server: SmtpServer, message_id: str) -> list[Accepted]:
    """The copies of one email that a server has accepted."""
    wanted = message_id.encode()
    return [mail for mail in server.mails if wanted in mail.content]


def commands(server: SmtpServer, verb: str) -> list[str]:
    """Every command of that name that a server has read."""
    return [
        line[3:]
        for session in server.sessions
        for line in list(session.transcript)
        if line.startswith(f"C: {verb}")
    ]
