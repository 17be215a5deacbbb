"""What is not a mail's fault: the target is held, its mail waits uncounted, all others flow."""

from __future__ import annotations

import json
import os
import signal
import statistics
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from producers import Email
from producers.identity import batch_job_id
from tests.support.office import open_office
from tests.support.rabbitmq import free_port
from tests.support.scripted import (
    held,
    mails_of,
    postmeter,
    told,
    until,
    write_company,
    write_password,
)
from tests.support.secrets_watch import secret
from tests.support.smtpd import Delay, Silence, SmtpServer
from worker.ledger.rows import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers import Receipt
    from tests.support.office import Office

PATIENCE_SECONDS = 60.0
"""For what takes seconds on an idle machine."""
RIGHT, WRONG = secret("correct horse"), secret("battery staple")
LOGIN = """\
transport_security = "none"
allow_cleartext_password = true
authorisation = "required"
"""
IN_CLEAR = 'transport_security = "none"'


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A worker of one process; each test brings a company of its own."""
    with open_office(tmp_path_factory.mktemp("holds")) as running:
        yield running


def publish(desk: Office, company: str, count: int, user: str = "robot") -> list[Receipt]:
    """Publish so many single sends."""
    return [
        desk.producer.send(
            Email(f"kim{n}@customers.example", "Hello", text="Hello Kim"),
            company=company,
            user=user,
        )
        for n in range(count)
    ]


def test_mail_of_a_server_that_is_down_waits_uncounted(desk: Office) -> None:
    """Refused connections hold the server; when it is up, one mail tries it out, then all flow."""
    port = free_port()
    target = f"server:127.0.0.1:{port}"
    write_company(desk.fleet.root / "settings", "dark", port)
    waiting = publish(desk, "dark", 10)
    until(lambda: target in held(desk), "a hold")
    assert desk.delivers_promptly()
    for receipt in waiting:
        row = desk.wait_for(receipt.job_id, State.WAITING)
        assert (row.attempts, row.body is None) == (0, False)
    assert told(desk, waiting[0].job_id)["forecast"]["blocked"].startswith(f"held: {target}: ")
    with SmtpServer(port=port) as server:
        server.on("dot", Delay(0.5), times=1)
        for receipt in waiting:
            row = desk.wait_for(receipt.job_id, State.SENT, timeout_seconds=PATIENCE_SECONDS)
            assert row.attempts == 1
        probe, *others = server.mails
        assert len(others) == len(waiting) - 1
        assert all(mail.at > probe.at for mail in others)
        until(lambda: target not in held(desk), "the end of the hold")


def test_a_refused_login_is_not_repeated(desk: Office) -> None:
    """One 535 holds the credential, over a restart too; others flow; the right password ends it."""
    settings = desk.fleet.root / "settings"
    with SmtpServer(users={"jane": RIGHT, "bob": RIGHT}, auth_in_clear=True) as server:
        write_company(
            settings,
            "login",
            server.port,
            smtp=LOGIN,
            users={"jane": "", "bob": ""},
            passwords={"jane": WRONG, "bob": RIGHT},
        )
        waiting = publish(desk, "login", 10, "jane")
        until(lambda: any(t.startswith("credential:login/jane#") for t in held(desk)), "a hold")
        probe_in_an_hour(desk)
        (pid,) = desk.fleet.worker_pids()
        os.kill(pid, signal.SIGKILL)
        waiting += publish(desk, "login", 10, "jane")
        for receipt in publish(desk, "login", 10, "bob"):
            desk.wait_for(receipt.job_id, State.SENT, timeout_seconds=PATIENCE_SECONDS)
        for receipt in waiting:  # what the killed worker had in hand comes back when it is reaped
            row = desk.wait_for(receipt.job_id, State.WAITING, timeout_seconds=PATIENCE_SECONDS)
            assert row.attempts == 0
        assert refused_logins(server) == 1
        desk.wait_until_all_ready()
        pids = desk.fleet.worker_pids()
        write_password(settings / "companies/login/users", "jane", RIGHT)
        for receipt in waiting:
            desk.wait_for(receipt.job_id, State.SENT, timeout_seconds=PATIENCE_SECONDS)
        assert refused_logins(server) == 1
        assert desk.fleet.worker_pids() == pids
        until(lambda: not any("login/jane" in t for t in held(desk)), "the end of the hold")


def probe_in_an_hour(desk: Office) -> None:
    """Let nobody try out what is held until then."""
    later = text("UPDATE hold SET next_probe_at = :now + 3600")
    changed = desk.fleet.ledger.call(lambda c, now: c.execute(later, {"now": now.wall}).rowcount)
    assert changed == 1


def refused_logins(server: SmtpServer) -> int:
    """How often a server has refused a login."""
    lines = [line for session in server.sessions for line in list(session.transcript)]
    return sum(line.startswith("S: 535") for line in lines)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("432 4.3.2 Concurrent connections limit exceeded", "account"),
        ("421 4.4.2 Message submission rate for this client has exceeded the limit", "account"),
        ("421 4.3.2 shutting down", "server"),
    ],
)
def test_an_operator_ends_a_hold(desk: Office, reply: str, kind: str) -> None:
    """`postmeter holds` shows what a 421 or 432 to MAIL has held; `holds clear` lets it go."""
    company = f"busy{reply[:3]}{kind}"
    with SmtpServer() as server:
        server.on("mail", reply, times=1)
        write_company(desk.fleet.root / "settings", company, server.port)
        (receipt,) = publish(desk, company, 1)
        key = f"{company}/robot" if kind == "account" else f"127.0.0.1:{server.port}"
        target = f"{kind}:{key}"
        until(lambda: target in held(desk), "a hold")
        assert desk.wait_for(receipt.job_id, State.WAITING).attempts == 0
        assert target in postmeter(desk, "holds")
        (shown,) = json.loads(postmeter(desk, "holds", "--json"))["holds"]
        assert (shown["target"], shown["failures"]) == (target, 1)
        assert reply[:9] in shown["reason"]
        assert postmeter(desk, "holds", "clear", target) == f"cleared {target}\n"
        assert (
            desk.wait_for(receipt.job_id, State.SENT, timeout_seconds=PATIENCE_SECONDS).attempts
            == 1
        )
        assert held(desk) == {}
        assert len(mails_of(server, receipt.message_id)) == 1


def test_a_server_that_hangs_delays_nobody_else(desk: Office) -> None:
    """While every connection to one company's server hangs, another's sends and batches flow."""
    settings = desk.fleet.root / "settings"
    with SmtpServer() as server:
        server.on("connect", Silence())
        patience = f"{IN_CLEAR}\nconnection_timeout_ms = 2000"
        write_company(settings, "hangs", server.port, smtp=patience)
        idle = [desk.seconds_for_a_good_job() for _ in range(20)]
        stuck = [receipt.job_id for receipt in publish(desk, "hangs", 200)]
        batch = [Email(f"p{n}@mail.example", "Hello", text="Hi") for n in range(200)]
        batch_id = desk.producer.batch(batch, company="hangs").batch_id
        stuck += [batch_job_id("hangs", batch_id, n) for n in range(len(batch))]
        until(lambda: len(server.sessions) > 0, "a connection")
        before = len(desk.fleet.arrivals())
        beside = [desk.seconds_for_a_good_job() for _ in range(20)]
        desk.fleet.publish_batch("acme", 100)
        until(lambda: len(desk.fleet.arrivals()) >= before + 120, "a batch", PATIENCE_SECONDS)
        # How much less leaves is measured in test_feedback_beside: this is no stall of seconds.
        assert statistics.median(beside) < 3 * statistics.median(idle) + 0.1
        until(lambda: f"server:127.0.0.1:{server.port}" in held(desk), "a hold")
        assert {desk.wait_for(job_id, State.WAITING).attempts for job_id in stuck} == {0}
        assert desk.delivers_promptly()
