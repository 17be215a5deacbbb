"""An app's client secret has expired: one hold for all its mailboxes, and one request for a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from producers import Email
from tests.support.authority import Authority
from tests.support.fleet import Company
from tests.support.graph_fleet import COMPANY, GraphFleet
from tests.support.secrets_watch import secret
from tests.support.waiting import wait_until
from worker.ledger import holds
from worker.ledger.queries import find_job

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.graphd import Graph

MAILBOXES = 12
PATIENCE_SECONDS = 60.0
EXPIRED, RENEWED = secret("expired"), secret("renewed")


@dataclass(slots=True)
class SecretFleet(GraphFleet):
    """A fleet whose app has its secret in a file beside the settings."""

    def write_settings(
        self, limits: dict[str, int | None] | None = None, view: int | None = None
    ) -> None:
        """Write the tree, with the secret that has expired."""
        GraphFleet.write_settings(self, limits, view)
        assert self.authority is not None
        system = self._tree(0) / "system.toml"
        inline = f'client_secret = "{self.authority.client_secret}"'
        self._put(system, system.read_text().replace(inline, 'client_secret_file = "m365.secret"'))
        self.write_secret(EXPIRED)

    def write_secret(self, value: str) -> None:
        """Put another secret in place of the one that is there, at once."""
        fresh = self._tree(0) / ".m365.secret"
        fresh.touch(0o600)
        fresh.write_text(value)
        fresh.rename(fresh.with_name("m365.secret"))

    def held(self) -> dict[str, int]:
        """What is held, and how often it has failed."""
        found = self.ledger.read(lambda c, _: holds.all_holds(c))
        return {hold.target: hold.failures for hold in found}

    def attempts(self, job_id: str) -> int:
        """How many attempts a job has had."""
        row = self.ledger.read(lambda c, _: find_job(c, job_id))
        assert row is not None
        return row.attempts


def test_one_expired_secret_is_one_hold_and_one_request(graph: Graph, tmp_path: Path) -> None:
    """Twelve mailboxes wait together, uncounted; with the file renewed all send, without a restart."""
    with (
        Authority(tmp_path / "authority", client_secret=RENEWED) as authority,
        SecretFleet(
            tmp_path / "fleet",
            companies=(Company(COMPANY, None),),
            processes=1,
            graph_url=graph.url,
            graph_ca_file=graph.ca_file,
            authority=authority,
            users=MAILBOXES,
        ) as fleet,
        fleet.producer() as producer,
    ):
        jobs = [
            producer.send(Email("k@mail.example", "Hi", text="Hi"), company=COMPANY, user=user)
            for user in fleet.user_names
        ]
        wait_until(lambda: fleet.held() and fleet.states() == {"waiting": MAILBOXES}, "a hold")
        ((target, failures),) = fleet.held().items()
        assert target.startswith(f"credential:_app/{authority.client_id}#")
        # Each probe of the hold is one request, and one may be under way.
        assert failures <= len(authority.seen) <= failures + 1
        assert graph.requests == []
        pids = fleet.worker_pids()
        fleet.write_secret(RENEWED)
        assert fleet.wait_for_state("sent", MAILBOXES, PATIENCE_SECONDS), fleet.states()
        assert fleet.worker_pids() == pids
        wait_until(lambda: fleet.held() == {}, "the end of the hold")
        assert [fleet.attempts(job.job_id) for job in jobs] == [1] * MAILBOXES
        assert len(graph.deliveries) == MAILBOXES
