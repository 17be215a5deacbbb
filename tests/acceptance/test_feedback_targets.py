"""Feedback of servers, end to end: who is held by which answer, for how long, and tried out by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from producers import Email
from tests.support.office import open_office
from tests.support.rabbitmq import free_port
from tests.support.scripted import commands, held, mails_of, postmeter, until, write_company
from tests.support.secrets_watch import secret
from tests.support.smtpd import Delay, SmtpServer
from worker.ledger.rows import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers import Receipt
    from tests.support.office import Office

PATIENCE_SECONDS = 60.0
PASSWORD = secret("jane")
LOGIN = """\
transport_security = "none"
allow_cleartext_password = true
authorisation = "required"
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A worker of two processes; each test brings a company and a server of its own."""
    with open_office(tmp_path_factory.mktemp("feedback"), processes=2) as running:
        yield running


def publish(desk: Office, company: str, count: int, user: str = "robot") -> list[Receipt]:
    """Publish so many single sends."""
    return [
        desk.producer.send(
            Email(f"k{n}@customers.example", "Hello", text="Hi"), company=company, user=user
        )
        for n in range(count)
    ]


CASES = [
    ("greeted", "connect", "421 4.7.0 Goodbye", "server"),
    ("rate", "mail", "450 4.7.1 Error: too much mail from 127.0.0.1", "account"),
    (
        "exrate",
        "mail",
        "421 4.4.2 Message submission rate for this client has exceeded the configured limit",
        "account",
    ),
    ("exconn", "mail", "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "account"),
    (
        "exbusy",
        "rcpt",
        "451 4.7.500 Server busy. Please try again later from [203.0.113.7]",
        "server",
    ),
    ("closing", "mail", "421 4.3.2 Service not available", "server"),
    ("plain", "mail", "421 Goodbye", "account"),
    ("policy", "mail", "451 4.7.1 Not now", "account"),
    (
        "quota",
        "dot",
        "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException",
        "account",
    ),
    ("expired", "auth", "432 4.7.12 A password transition is needed", "credential"),
    ("login", "auth", "454 4.7.0 Temporary authentication failure", "account"),
]


@pytest.mark.parametrize(
    ("company", "step", "reply", "kind"), CASES, ids=[case[0] for case in CASES]
)
def test_an_answer_holds_its_target(
    desk: Office, company: str, step: str, reply: str, kind: str
) -> None:
    """The target is held and the reason has the codes; the mail waits with no attempt used.

    Only an answer to the mail's own text has a number, for its record; ``retry_for`` it costs nothing.
    """
    with SmtpServer(users={"jane": PASSWORD}, auth_in_clear=True) as server:
        server.on(step, reply)
        write_company(
            desk.fleet.root / "settings",
            company,
            server.port,
            smtp=LOGIN,
            users={"jane": ""},
            passwords={"jane": PASSWORD},
        )
        (receipt,) = publish(desk, company, 1, "jane")
        key = {
            "server": f"server:127.0.0.1:{server.port}",
            "account": f"account:{company}/jane",
            "credential": f"credential:{company}/jane#",
        }[kind]
        until(lambda: any(t.startswith(key) for t in held(desk)), key, PATIENCE_SECONDS)
        (target,) = (t for t in held(desk) if t.startswith(key))
        row = desk.wait_for(receipt.job_id, State.WAITING, timeout_seconds=PATIENCE_SECONDS)
        assert (row.attempts, row.body is None) == (0 if step != "dot" else 1, False)
        assert reply[:3] in held(desk)[target].reason
        assert [t for t in held(desk) if company in t or str(server.port) in t] == [target]
        server.rules.clear()
        postmeter(desk, "holds", "clear", target)
        desk.wait_for(receipt.job_id, State.SENT, timeout_seconds=PATIENCE_SECONDS)
        assert len(mails_of(server, receipt.message_id)) == 1


def test_a_server_may_say_for_how_long(desk: Office) -> None:
    """A wait that is named is kept; an absurd one is not, and the reason says both."""
    with SmtpServer() as server:
        write_company(desk.fleet.root / "settings", "wish", server.port)
        target = "account:wish/robot"
        for asks, least, most, note in (
            ("5 minutes", 299.0, 300.0, ""),
            ("0 seconds", 0.0, 1.0, "it asks for 0 s, and gets 1 s"),
            ("365 days", 3599.0, 3600.0, "it asks for 31536000 s, and gets 3600 s"),
        ):
            server.on("mail", f"451 4.7.1 Rate limit, try again in {asks}", times=1)
            (receipt,) = publish(desk, "wish", 1)
            until(lambda: target in held(desk), "a hold", PATIENCE_SECONDS)
            hold = held(desk)[target]
            assert least <= hold.next_probe_at - hold.since_at <= most
            assert note in hold.reason
            assert ("it asks" in hold.reason) is bool(note)
            postmeter(desk, "holds", "clear", target)
            desk.wait_for(receipt.job_id, State.SENT, timeout_seconds=PATIENCE_SECONDS)


def test_one_probe_of_all_processes(desk: Office) -> None:
    """Two processes with fifty mails for a server that is back: one mail goes first, alone."""
    port = free_port()
    target = f"server:127.0.0.1:{port}"
    write_company(desk.fleet.root / "settings", "back", port)
    waiting = publish(desk, "back", 50)
    until(lambda: target in held(desk), "a hold", PATIENCE_SECONDS)
    for receipt in waiting:
        desk.wait_for(receipt.job_id, State.WAITING, timeout_seconds=PATIENCE_SECONDS)
    with SmtpServer(port=port) as server:
        server.on("dot", Delay(1.0), times=1)
        until(lambda: len(server.mails) >= 1, "a probe", PATIENCE_SECONDS)
        assert len(server.mails) == len(commands(server, "MAIL")) == len(server.sessions) == 1
        for receipt in waiting:
            row = desk.wait_for(receipt.job_id, State.SENT, timeout_seconds=PATIENCE_SECONDS)
            assert row.attempts == 1
        assert len(server.mails) == len(waiting)
        until(lambda: target not in held(desk), "the end of the hold", PATIENCE_SECONDS)
