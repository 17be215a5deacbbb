"""A worker that has seen one of everything, so that every metric has samples, and every alert a cause.

::

    with (
        open_lively(tmp_path / "lively") as lively,
        PrometheusServer(tmp_path / "prometheus", lively.metrics_port) as prometheus,
    ):
        prometheus.wait_for("up", 1)
        lively.happen()         # publishes what is needed, and waits until it has all happened

``open_lively`` starts a worker with a company for each thing that can become of mail:

==============  =============================================================================
``acme``        single sends that are delivered at once, a batch without a limit, a draft
``paced``       a batch under limits by the minute, by the day and of its mailbox; some wait
``slow``        a batch of hours at one a minute
``capped``      a batch whose day's cap is used up
``mixed``       a refusal (dead), a refusal for now (retry), a lost reply (unknown), a partial one
``dated``       mail for tomorrow, and one that was cancelled
``paused``      mail under a person's pause
``locked``      a password that the server refuses: 535
``hurried``     a server that says it is sent too much: 451 4.7.1
``dark``        a server that nobody answers at
``hanging``     a batch to a server that takes mails and never replies to them; some waits its turn
``cloud``       mail through Microsoft 365, whose certificate ends in days; then no more tokens
``ending``      no mail yet, and a client secret that ends in days
``broken``      settings that were right and have an error now
``absent``      mail of a company that the settings do not have
``acme``        and one job of a version to come
==============  =============================================================================
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from producers import Email
from tests.support.authority import Authority, Fault
from tests.support.certificates import certificates
from tests.support.fleet import Company
from tests.support.graphd import Graph
from tests.support.metrics_page import Page, read_page
from tests.support.office import as_bytes, good_envelope, open_office
from tests.support.rabbitmq import free_port
from tests.support.scripted import postmeter, write_company
from tests.support.secrets_watch import secret
from tests.support.smtpd import Drop, Silence, SmtpServer
from tests.support.waiting import wait_until
from worker.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.office import Office

TOKEN_SECONDS = 8.0
"""How long a token of ``cloud`` is good."""
CERTIFICATE_DAYS, SECRET_DAYS = 5.0, 10
HANGING_JOBS = 56
"""More of a batch than one process has in flight with one server (``worker.capacity.Caps``)."""
LOGIN = """\
transport_security = "none"
allow_cleartext_password = true
authorisation = "required"
"""
IN_CLEAR = 'transport_security = "none"\n'
PACED = "batch_emails_per_min = 30\n[limits]\nbatch_emails_per_day = 900\n"
CAPPED = "[limits]\nbatch_emails_per_day = 2\n"
CLOUD = """\
[web]
allow_microsoft_365 = true
[mail_options]
send_mailer = "microsoft-365"
"""


@dataclass(slots=True)
class Lively:
    """The worker, and the servers that it has met."""

    office: Office
    authority: Authority
    hanging: SmtpServer
    mixed: SmtpServer
    hurried: SmtpServer
    locked: SmtpServer
    dark_port: int
    certificate_file: Path
    settings: Path = field(init=False)

    def __post_init__(self) -> None:
        self.settings = self.office.fleet.root / "settings"

    @property
    def metrics_port(self) -> int:
        """Where Prometheus may scrape it."""
        return self.office.fleet.metrics_port

    def page(self) -> Page:
        """Its metrics now."""
        return read_page(self.metrics_port)

    def send(self, company: str, count: int = 1, *, to: str = "kim", **more: object) -> list[str]:
        """Publish single sends; the jobs' ids."""
        return [
            self.office.producer.send(
                Email(f"{to}{n}@customers.example", "Hello", text="Hi", **more),  # type: ignore[arg-type]  # fields of Email
                company=company,
            ).job_id
            for n in range(count)
        ]

    def batch(self, company: str, count: int) -> None:
        """Publish a batch."""
        self.office.producer.batch(
            [Email(f"kim{n}@customers.example", "Invoice", text="Hi") for n in range(count)],
            company=company,
        )

    def stop_tokens(self) -> None:
        """Let the authority give no more tokens to ``cloud``, which has mail to send."""
        self.authority.failing = Fault(status=503)

    def happen(self) -> None:
        """Publish everything, and wait until all of it has happened."""
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        draft = Email("kim@customers.example", "A draft", text="Hi")
        self.office.producer.compose(draft, company="acme", user="robot")
        self.send("cloud")
        self.send("acme", 5)
        self.batch("acme", 5)
        self.batch("paced", 40)
        self.batch("slow", 200)
        self.batch("capped", 5)
        self.send("mixed", 3, to="gone")
        self.send("mixed", 2, to="busy")
        self.send("mixed", to="lost")
        self.send("mixed", 2)
        self.send("locked", 2)
        self.send("hurried", 2)
        self.send("dark", 2)
        self.batch("hanging", HANGING_JOBS)
        self.send("absent")
        self.send("paused", 2)
        cancelled, _ = self.send("dated", 2, send_at=tomorrow)
        newer = good_envelope(self.office.queues.send)
        newer["kwargs"]["job"]["schema_version"] = 2
        self.office.put(as_bytes(newer))
        self._break_settings()
        wait_until(lambda: self.page().value(metrics.WAITING, company="dated"), "dated mail waits")
        postmeter(self.office, "cancel", cancelled)
        wait_until(lambda: not self.missing(), "everything", 60.0)

    def _break_settings(self) -> None:
        path = self.settings / "companies" / "broken" / "company.toml"
        path.write_text(path.read_text().replace("port = ", "port = 70000 # "))

    def missing(self) -> list[str]:
        """What has not happened yet."""
        page = self.page()
        wanted = {
            **{f"a sample of {m.name}": page.count(m) > 0 for m in metrics.ALL},
            **{
                f"jobs that wait: {reason}": page.value(metrics.WAITING, reason=reason.value) > 0
                for reason in metrics.WaitReason
            },
            **{
                f"attempts: {each}": page.value(metrics.ATTEMPTS, **{"class": each.value}) > 0
                for each in metrics.AttemptClass
            },
            **{
                f"outcomes: {outcome}": page.value(metrics.EMAILS, outcome=outcome) > 0
                for outcome in (
                    "sent",
                    "drafted",
                    "deferred",
                    "held",
                    "dead",
                    "unknown",
                    "cancelled",
                )
            },
            "two transports": page.value(metrics.DELIVERY, transport="microsoft-365") > 0,
            "a broken tree": page.value(metrics.SETTINGS_ERRORS, context="broken") > 0,
        }
        return [what for what, has_happened in wanted.items() if not has_happened]


@contextmanager
def open_lively(
    root: Path, *, certificate_days: float = CERTIFICATE_DAYS, secret_days: int = SECRET_DAYS
) -> Iterator[Lively]:
    """Start the worker and its servers, and end it all; nothing has happened before ``happen``.

    Args:
        certificate_days: for how long the certificate of ``cloud`` is good.
        secret_days: for how long the client secret of ``ending``, by the day that is written.
    """
    settings = root / "settings"
    with ExitStack() as stack:
        authority = stack.enter_context(Authority(root / "authority"))
        graph = stack.enter_context(Graph(certificates(root / "tls")))
        mixed, hurried, hanging = (stack.enter_context(SmtpServer()) for _ in range(3))
        locked = stack.enter_context(
            SmtpServer(users={"robot": secret("right")}, auth_in_clear=True)
        )
        mixed.on("rcpt", "550 5.1.1 no such user", when="gone")
        mixed.on("rcpt", "450 4.2.1 mailbox busy", when="busy")
        mixed.on("dot", Drop(), when="lost0@")
        hurried.on("mail", "451 4.7.1 Not now, too much mail")
        hanging.on("dot", Silence())
        write_company(settings, "mixed", mixed.port, delivery='on_unknown = "hold"')
        write_company(settings, "hurried", hurried.port)
        dark_port = free_port()
        write_company(settings, "dark", dark_port)
        write_company(settings, "hanging", hanging.port, reply_timeout_seconds=600)
        write_company(
            settings, "locked", locked.port, smtp=LOGIN, passwords={"robot": secret("wrong")}
        )
        write_company(
            settings,
            "paced",
            mixed.port,
            smtp=IN_CLEAR + PACED,
            users={"robot": "mailbox_emails_per_min = 25\n"},
        )
        write_company(settings, "slow", mixed.port, smtp=IN_CLEAR + "batch_emails_per_min = 1\n")
        write_company(settings, "capped", mixed.port, smtp=f"{IN_CLEAR}{CAPPED}")
        for name in ("dated", "paused", "broken"):
            write_company(settings, name, mixed.port)
        _write_cloud(settings, root, authority, graph, certificate_days)
        write_ending(settings, secret_days)
        office = stack.enter_context(
            open_office(root, companies=(Company("acme", None),), grace_seconds=0.5)
        )
        postmeter(office, "pause", "company:paused", "--reason", "a look at it")
        yield Lively(
            office, authority, hanging, mixed, hurried, locked, dark_port, root / "app.pem"
        )
        hanging.drop_all()


def _write_cloud(
    settings: Path, root: Path, authority: Authority, graph: Graph, certificate_days: float
) -> None:
    both = root / "authorities.pem"
    both.write_bytes(authority.ca_file.read_bytes() + graph.ca_file.read_bytes())
    authority.new_certificate(root / "app.pem", days=certificate_days)
    authority.lifetime_seconds = TOKEN_SECONDS
    registration = authority.toml(
        "certificate",
        graph_url=graph.url,
        ca_file=str(both),
        certificate_file=str(root / "app.pem"),
    )
    folder = settings / "companies" / "cloud"
    (folder / "users").mkdir(parents=True)
    (folder / "users" / "robot.toml").write_text('[email]\naddress = "robot@cloud.example"\n')
    (folder / "company.toml").write_text(f'{CLOUD}[smtp]\ndefault_user = "robot"\n{registration}')


def write_ending(settings: Path, days: int) -> None:
    """Write the company ``ending``, whose client secret ends in so many days."""
    day = datetime.now(UTC).date() + timedelta(days=days)
    file = settings / "companies" / "ending" / "company.toml"
    file.parent.mkdir(exist_ok=True)
    file.touch(0o600)
    file.write_text(
        f'[microsoft_365]\ntenant_id = "contoso.test"\nclient_id = "ending"\n'
        f'client_secret = "{secret("ending")}"\nclient_secret_expires = {day}\n'
    )
