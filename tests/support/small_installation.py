"""Forty minutes of a small installation, kept in a Prometheus: what pictures of the dashboards show.

::

    python -m tests.support.small_installation FOLDER

A real worker of two processes, a private RabbitMQ and scripted servers; Prometheus scrapes all of it
every 15 s, as deploy/prometheus does. What happens is ``_story``: four companies, single sends
throughout, and the faults that operators meet. Afterwards ``FOLDER/prometheus/data`` has it all.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from producers import Email, Producer
from producers.topology import Topology
from tests.support.authority import Authority
from tests.support.certificates import certificates
from tests.support.graphd import Graph
from tests.support.rabbitmq import QUEUE_TYPE, free_port
from tests.support.rabbitmq_metrics import broker_with_metrics
from tests.support.scripted import write_company, write_password
from tests.support.smtpd import Drop, SmtpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RULES: Final = Path(__file__).parents[2] / "deploy" / "prometheus" / "postmeter.rules.yaml"
SCRAPE_SECONDS: Final = 15
CERTIFICATE_DAYS: Final = 9.0
TOKEN_SECONDS: Final = 1200.0
SINGLE_EVERY_SECONDS: Final = 2.5
PASSWORD: Final = "the-right-one"
COMPANIES: Final = ("acme", "beta", "gamma", "delta")
IN_CLEAR: Final = 'transport_security = "none"\n'
LOGIN: Final = IN_CLEAR + 'allow_cleartext_password = true\nauthorisation = "required"\n'
CLOUD: Final = """\
[web]
allow_microsoft_365 = true
[mail_options]
send_mailer = "microsoft-365"
send_batch = "microsoft-365"
[smtp]
default_user = "robot"
batch_emails_per_min = 20
"""
ODD_RECIPIENTS: Final = (("gone", 0.015), ("busy", 0.03), ("lost", 0.004))
"""How many of the single sends go to an address that is refused, is busy, or loses the reply."""


class SlowServer(SmtpServer):
    """Takes mails, and replies after a time as servers on the Internet do; seldom a long one."""

    def dot_delay_seconds(self) -> float:
        """Mostly a fifth of a second."""
        return min(8.0, random.lognormvariate(-1.6, 0.7))


@dataclass(slots=True)
class Installation:
    """The installation; ``stop`` ends all of it."""

    folder: Path
    stack: ExitStack = field(default_factory=ExitStack)
    settings: Path = field(init=False)
    server: SmtpServer = field(init=False)
    guarded: SmtpServer = field(init=False)
    environ: dict[str, str] = field(init=False)
    producer: Producer = field(init=False)
    _worker: subprocess.Popen[bytes] | None = None
    _quiet: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start everything."""
        self.settings = self.folder / "settings"
        state = self.folder / "state"
        state.mkdir(parents=True)
        broker, broker_metrics = self.stack.enter_context(broker_with_metrics())
        port = free_port()
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("POSTMETER_")}
        self.environ = inherited | {
            "POSTMETER_SETTINGS": str(self.settings),
            "POSTMETER_STATE": str(state),
            "POSTMETER_BROKER_URL": broker.url,
            "POSTMETER_QUEUE_TYPE": QUEUE_TYPE,
            "POSTMETER_METRICS_PORT": str(port),
            "POSTMETER_GRACE_SECONDS": "10",
            "POSTMETER_LOG_FORMAT": "json",
        }
        self._write_settings()
        self._start_prometheus({"postmeter": port, "rabbitmq": broker_metrics})
        self.start_worker()
        topology = Topology("", QUEUE_TYPE)
        self.producer = self.stack.enter_context(Producer(broker.url, topology=topology))
        singles = threading.Thread(target=self._send_singles, args=(broker.url,))
        singles.start()
        self.stack.callback(singles.join)
        self.stack.callback(self._quiet.set)

    def _start_prometheus(self, targets: dict[str, int]) -> None:
        folder = self.folder / "prometheus"
        folder.mkdir()
        every = f"{SCRAPE_SECONDS}s"
        paths = {
            "rabbitmq": {
                "metrics_path": "/metrics/detailed",
                "params": {"family": ["queue_coarse_metrics", "queue_consumer_count"]},
            }
        }
        config = {
            "global": {"scrape_interval": every, "evaluation_interval": every},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
                    **paths.get(job, {}),
                }
                for job, port in targets.items()
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
        self._run(
            folder / "log",
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{free_port()}",
        )

    def start_worker(self) -> None:
        """Start the worker, ending the one that runs: what a deployment does."""
        if self._worker is not None:
            _end(self._worker)
        log = self.folder / "worker.log"
        command = [sys.executable, "-m", "worker", "worker", "--processes", "2"]
        self._worker = self._run(log, *command)

    def _run(self, log: Path, *command: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, env=self.environ, stdout=output, stderr=subprocess.STDOUT
            )
        self.stack.callback(_end, process)
        return process

    def _write_settings(self) -> None:
        enter = self.stack.enter_context
        self.server = enter(SlowServer())
        self.guarded = enter(SmtpServer(users={"robot": PASSWORD}, auth_in_clear=True))
        self.server.on("rcpt", "550 5.1.1 no such user", when="gone")
        self.server.on("rcpt", "450 4.2.1 mailbox busy", when="busy")
        self.server.on("dot", Drop(), when="To: lost")
        hold = 'on_unknown = "hold"'
        for name, limits in (
            ("acme", "batch_emails_per_min = 60\n"),
            ("beta", "batch_emails_per_min = 120\n[limits]\nbatch_emails_per_day = 3000\n"),
        ):
            self._write_company(name, self.server, smtp=IN_CLEAR + limits, delivery=hold)
        self._write_company("delta", self.guarded, smtp=LOGIN, passwords={"robot": PASSWORD})
        authority = enter(Authority(self.folder / "authority"))
        authority.lifetime_seconds = TOKEN_SECONDS
        graph = enter(Graph(certificates(self.folder / "tls")))
        both = self.folder / "authorities.pem"
        both.write_bytes(authority.ca_file.read_bytes() + graph.ca_file.read_bytes())
        key = self.folder / "app.pem"
        authority.new_certificate(key, days=CERTIFICATE_DAYS)
        registration = authority.toml(
            "certificate", graph_url=graph.url, ca_file=str(both), certificate_file=str(key)
        )
        users = self.settings / "companies" / "gamma" / "users"
        users.mkdir(parents=True)
        (users / "robot.toml").write_text('[email]\naddress = "robot@gamma.example"\n')
        (users.parent / "company.toml").write_text(CLOUD + registration)
        (self.settings / "system.toml").write_text("[limits]\nall_batch_emails_per_min = 170\n")

    def _write_company(self, name: str, server: SmtpServer, **more: Any) -> None:
        write_company(self.settings, name, server.port, reply_timeout_seconds=30, **more)

    def batch(self, company: str, count: int) -> None:
        """Publish a batch."""
        emails = [
            Email(f"customer{n}@mail.example", f"Invoice {n}", text="Your invoice.\n" * 20)
            for n in range(count)
        ]
        self.producer.batch(emails, company=company)

    def edit(self, company: str, old: str, new: str) -> None:
        """Change a company's settings."""
        path = self.settings / "companies" / company / "company.toml"
        fresh = path.with_suffix(".new")
        fresh.write_text(path.read_text().replace(old, new))
        fresh.replace(path)

    def password(self, password: str) -> None:
        """What delta's server takes as the password from now on."""
        self.guarded.users = {"robot": password}
        self.guarded.drop_all()

    def repair(self) -> None:
        """Write delta's new password into its settings, as a person does."""
        write_password(self.settings / "companies" / "delta" / "users", "robot", "a-new-one")

    def postmeter(self, *words: str) -> None:
        """Run the command."""
        command = [sys.executable, "-m", "worker", *words]
        subprocess.run(command, env=self.environ, check=True, stdout=subprocess.DEVNULL)

    def _send_singles(self, broker_url: str) -> None:
        with Producer(broker_url, topology=Topology("", QUEUE_TYPE)) as producer:
            for number, name in enumerate(_names()):
                if self._quiet.wait(random.expovariate(1 / SINGLE_EVERY_SECONDS)):
                    return
                company = random.choices(COMPANIES, (4, 3, 2, 2))[0]
                to = f"{name}{number}@mail.example"
                producer.send(Email(to, "Your password", text="Hello"), company=company)

    def stop(self) -> None:
        """End everything."""
        self._quiet.set()
        self.stack.close()


def _names() -> Iterator[str]:
    while True:
        dice = random.random()
        for name, share in ODD_RECIPIENTS:
            if dice < share:
                yield name
                break
            dice -= share
        else:
            yield "customer"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _story(installation: Installation) -> list[tuple[float, Callable[[], object]]]:
    """What happens when, in minutes."""
    throttled = ("mail", "451 4.7.1 Not now, too much mail")
    return [
        (0.7, lambda: installation.batch("acme", 2500)),
        (1.3, lambda: installation.batch("gamma", 500)),
        (4, lambda: installation.batch("beta", 1900)),
        (9, lambda: installation.postmeter("pause", "company:beta", "--reason", "a wrong price")),
        (12, lambda: installation.postmeter("resume", "company:beta")),
        (13, lambda: installation.password("a-new-one")),
        (20, lambda: installation.edit("acme", "per_min = 60", "per_min = 90")),
        (22, lambda: installation.edit("delta", "reply_timeout = ", "reply_timeout = 0 # ")),
        (23.5, lambda: installation.edit("delta", "reply_timeout = 0 # ", "reply_timeout = ")),
        (24, lambda: installation.batch("beta", 2600)),
        (25.5, installation.repair),
        (27.5, lambda: installation.server.on(*throttled, when="acme")),
        (29, installation.server.rules.pop),
        (32, installation.start_worker),
        (40, lambda: None),
    ]


def main() -> None:
    """Run the forty minutes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    random.seed(5)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    installation = Installation(options.folder.resolve())
    try:
        installation.start()
        began = time.monotonic()
        for minute, happens in _story(installation):
            time.sleep(max(0.0, began + 60 * minute - time.monotonic()))
            print(f"minute {minute:g}", flush=True)
            happens()
    finally:
        installation.stop()


if __name__ == "__main__":
    main()
