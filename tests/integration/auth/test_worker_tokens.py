"""A whole worker with an app registration: an expired secret, its rotation, and what can be seen."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from click.testing import CliRunner

from producers import Email
from tests.support.certificates import certificates
from tests.support.fleet import Company, Fleet
from tests.support.smtpd import SmtpServer
from tests.support.waiting import GENEROUS_SECONDS, wait_until
from worker.cli.installation import Installation
from worker.cli.main import main
from worker.ledger import holds
from worker.ledger.queries import find_job

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.authority import Authority

USERS = 12


@dataclass(slots=True)
class OfficeFleet(Fleet):
    """Workers of acme, whose users log in at one server with tokens of one app registration."""

    authority: Authority | None = None
    smtp_port: int = 0
    grant: str = "client-secret"

    def write_settings(
        self, limits: dict[str, int | None] | None = None, view: int | None = None
    ) -> None:
        """Write the tree with the authority's present secret."""
        del limits, view
        assert self.authority is not None
        tree = self._tree(0)
        self._put(
            tree / "system.toml",
            f'[smtp]\nauthentication_model = "oauth2"\nport = {self.smtp_port}\n'
            f'[tls]\nca_file = "{self.authority.ca_file}"\n{self.authority.toml(self.grant)}',
        )
        (tree / "system.toml").chmod(0o600)
        company = tree / "companies" / "acme"
        self._put(company / "company.toml", "replicate_from_system = true\n")
        for number in range(USERS):
            self._put(
                company / "users" / f"u{number}.toml",
                f'[email]\naddress = "u{number}@acme.test"\nusername = "u{number}@acme.test"\n',
            )


def publish(fleet: Fleet, count: int = 2 * USERS) -> list[str]:
    """So many mails, of each user in turn; the jobs' ids."""
    with fleet.producer() as producer:
        return [
            producer.send(
                Email(to="ann@mail.example", subject=f"Invoice {number}", text="Hello"),
                company="acme",
                user=f"u{number % USERS}",
            ).job_id
            for number in range(count)
        ]


def attempts(fleet: Fleet, job_id: str) -> int:
    """How many attempts a job has used."""
    job = fleet.ledger.read(lambda c, _: find_job(c, job_id))
    assert job is not None
    return job.attempts


def metrics(fleet: Fleet) -> str:
    """What the worker serves."""
    url = f"http://127.0.0.1:{fleet.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=GENEROUS_SECONDS) as reply:
        return str(reply.read().decode())


def test_an_expired_secret_and_its_rotation(authority: Authority, tmp_path: Path) -> None:
    """One hold and one request a probe for all mailboxes; a new secret lets mail go, unrestarted."""
    tls = certificates(authority.folder / "authority-tls").server_context
    with SmtpServer(tls=tls, users={"-": "-"}, mechanisms=("XOAUTH2",)) as server:
        server.on("auth", "235 2.7.0 Accepted")
        fleet = OfficeFleet(
            tmp_path / "fleet",
            (Company("acme", None),),
            1,
            authority=authority,
            smtp_port=server.port,
        )
        good, authority.client_secret = authority.client_secret, "expired-secret"
        with fleet:
            authority.client_secret = good
            jobs = publish(fleet)
            wait_until(lambda: fleet.ledger.read(lambda c, _: holds.all_holds(c)), "a hold")
            wait_until(lambda: fleet.states().get("waiting") == len(jobs), "every job waits")
            (hold,) = fleet.ledger.read(lambda c, _: holds.all_holds(c))
            assert hold.target.startswith(f"credential:_app/{authority.client_id}#")
            assert "invalid_client" in hold.reason
            asked = len(authority.grants())
            (later,) = fleet.ledger.read(lambda c, _: holds.all_holds(c))
            assert asked <= later.failures + 1  # the last probe may be under way
            assert not server.sessions
            fleet.write_settings()
            assert fleet.wait_for_state("sent", len(jobs), GENEROUS_SECONDS)
            assert fleet.ledger.read(lambda c, _: holds.all_holds(c)) == []
            assert [attempts(fleet, job_id) for job_id in jobs] == [1] * len(jobs)
            assert len(authority.issued) == 1
            named = f'owner="_app/{authority.client_id}",resource="smtp"'
            line = f"postmeter_token_expires_timestamp_seconds{{{named}}}"
            wait_until(lambda: line in metrics(fleet), line)
            shown = metrics(fleet)
        seen = fleet.log.read_bytes() + shown.encode()
        for file in (fleet.root / "state").glob("ledger.db*"):
            seen += file.read_bytes()
        for secret in (good, "expired-secret", *authority.issued):
            assert secret.encode() not in seen


def test_a_login_lets_mail_go(authority: Authority, tmp_path: Path) -> None:
    """Two accounts wait for their persons; the one that signs in sends, the worker unrestarted."""
    tls = certificates(authority.folder / "authority-tls").server_context
    with SmtpServer(tls=tls, users={"-": "-"}, mechanisms=("XOAUTH2",)) as server:
        server.on("auth", "235 2.7.0 Accepted")
        fleet = OfficeFleet(
            tmp_path / "fleet",
            (Company("acme", None),),
            1,
            authority=authority,
            smtp_port=server.port,
            grant="device-code",
        )
        with fleet:
            publish(fleet, 2)
            wait_until(
                lambda: len(fleet.ledger.read(lambda c, _: holds.all_holds(c))) == 2, "two holds"
            )
            assert not authority.seen
            authority.signs_in = "u1@acme.test"
            signed_in = CliRunner().invoke(
                main, ["login", "u1", "--company", "acme"], obj=Installation(fleet.environ)
            )
            assert signed_in.exit_code == 0, signed_in.stderr
            assert fleet.wait_for_state("sent", 1, GENEROUS_SECONDS)
            (hold,) = fleet.ledger.read(lambda c, _: holds.all_holds(c))
            assert hold.target.startswith("credential:acme/u0#")
            assert hold.reason.endswith("run `postmeter login u0 --company acme`")
        assert [mail.sender for mail in server.mails] == ["u1@acme.test"]
