"""What a worker shows of itself holds no secret, and no whole address where a person reads it."""

from __future__ import annotations

import base64
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from producers import Email
from tests.support.office import open_office
from tests.support.rabbitmq import unique_prefix
from tests.support.scripted import held, postmeter, until, write_company
from tests.support.secrets_watch import secret
from tests.support.smtpd import SmtpServer
from worker.ledger.rows import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.office import Office
    from tests.support.rabbitmq import RabbitServer

IN_FILE, IN_TREE, IN_ENVIRONMENT, IN_URL = (
    secret(f"quince-{place}") for place in ("file", "tree", "environment", "url")
)
PASSWORDS = {"filed": IN_FILE, "plain": IN_TREE, "given": IN_ENVIRONMENT}
LOGIN = """\
transport_security = "none"
allow_cleartext_password = true
authorisation = "required"
"""
RABBIT_USER = "seen"
RECIPIENT = "margaret.hamilton@customers.example"
MASKED = "m…n@customers.example"
COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("holds",),
    ("holds", "--json"),
    ("lanes",),
    ("dead", "list"),
    ("unknown", "list"),
    ("settings", "check"),
    *(
        ("settings", "explain", "--company", "login", "--user", user, "--kind", "send")
        for user in PASSWORDS
    ),
    ("settings", "explain", "--company", "refused", "--user", "filed", "--json"),
)


@pytest.fixture(scope="module")
def server() -> Iterator[SmtpServer]:
    """A server on which those users may log in."""
    with SmtpServer(users=PASSWORDS, auth_in_clear=True) as running:
        running.on("rcpt", f"550 5.1.1 <{RECIPIENT}>: no such user", when="hamilton@")
        yield running


@pytest.fixture(scope="module")
def strict() -> Iterator[SmtpServer]:
    """A server that refuses everybody's password."""
    with SmtpServer(users={"filed": "another"}, auth_in_clear=True) as running:
        yield running


@pytest.fixture(scope="module")
def desk(
    rabbitmq: RabbitServer,
    server: SmtpServer,
    strict: SmtpServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Office]:
    """A worker with a password of each origin, one of them in its broker's address."""
    rabbitmq.ctl("add_user", RABBIT_USER, IN_URL)
    rabbitmq.ctl("set_permissions", RABBIT_USER, ".*", ".*", ".*")
    root = tmp_path_factory.mktemp("seen")
    write_company(
        root / "settings",
        "login",
        server.port,
        smtp=LOGIN,
        users={
            "filed": "",
            "plain": f'username = "plain"\npassword = "{IN_TREE}"\n',
            "given": 'username = "given"\n',
        },
        passwords={"filed": IN_FILE},
    )
    write_company(
        root / "settings",
        "refused",
        strict.port,
        smtp=LOGIN,
        users={"filed": ""},
        passwords={"filed": IN_FILE},
    )
    environ = {
        "POSTMETER_BROKER_URL": rabbitmq.url.replace("guest:guest", f"{RABBIT_USER}:{IN_URL}"),
        "POSTMETER_USER__LOGIN__GIVEN__PASSWORD": IN_ENVIRONMENT,
    }
    with open_office(root, rabbitmq, prefix=unique_prefix("seen"), more_environ=environ) as running:
        yield running
    rabbitmq.ctl("delete_user", RABBIT_USER)


@pytest.mark.rabbitmq
def test_no_secret_is_seen_and_addresses_are_masked(
    desk: Office, server: SmtpServer, rabbitmq: RabbitServer
) -> None:
    """Log, metrics, ledger, events and every command's output hold none of the passwords."""
    events = f"{desk.queues.events}.seen"
    with rabbitmq.channel() as channel:
        channel.queue_declare(events, durable=True)
        channel.queue_bind(events, desk.queues.events, "#")
    email = Email(RECIPIENT, "Apollo", text="Hello Margaret")
    jobs = [desk.producer.send(email, company="login", user=user).job_id for user in PASSWORDS]
    for job_id in jobs:
        desk.wait_for(job_id, State.DEAD)
    assert {session.user for session in server.sessions} == set(PASSWORDS)
    waiting = desk.producer.send(email, company="refused", user="filed").job_id
    until(lambda: any(target.startswith("credential:refused/") for target in held(desk)), "a hold")
    seen = {
        "log": desk.fleet.log.read_text(),
        "metrics": metrics(desk),
        **{" ".join(words): postmeter(desk, *words) for words in COMMANDS},
        **{f"status of {job}": postmeter(desk, "status", job) for job in (*jobs, waiting)},
    }
    for name, shown in seen.items():
        assert RECIPIENT not in shown, name
    assert MASKED in seen["log"]
    assert MASKED in seen[f"status of {waiting}"]
    until(lambda: rabbitmq.queue_depth(events) >= len(jobs), "the events")
    hidden = {f"event {n}": body for n, body in enumerate(rabbitmq.messages(events))}
    hidden |= {
        path.name: path.read_bytes()
        for path in (desk.fleet.root / "state").iterdir()
        if path.is_file()
    }
    assert {"ledger.db", "ledger.db-wal"} <= hidden.keys()
    hidden |= {name: shown.encode() for name, shown in seen.items()}
    for name, content in hidden.items():
        assert [each for each in secrets() if each in content] == [], name
    rabbitmq.delete_queues(events)


def secrets() -> list[bytes]:
    """The passwords, as they are and as a login or an address writes them."""
    plain = [*PASSWORDS.values(), IN_URL]
    told = [f"\0{user}\0{password}" for user, password in PASSWORDS.items()]
    encoded = [base64.b64encode(each.encode()) for each in (*plain, *told)]
    return [*(each.encode() for each in plain), *encoded, *(quote(p).encode() for p in plain)]


def metrics(desk: Office) -> str:
    """What Prometheus would read."""
    url = f"http://127.0.0.1:{desk.fleet.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=10.0) as answer:
        return str(answer.read().decode())
