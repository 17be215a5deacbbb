"""An installation in a folder of its own, and the command run on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.support.ledger import new_job
from tests.support.settings_tree import JANE, SettingsTree
from worker.cli.installation import Installation
from worker.cli.main import main
from worker.ledger import deliveries, endings, lanes, workers
from worker.ledger.lanes import Lane
from worker.ledger.ledger import Ledger
from worker.ledger.rows import Claim, Terms

if TYPE_CHECKING:
    from pathlib import Path

    from worker.ledger.engine import Operation
    from worker.ledger.rows import Settlement

ACME = """
[smtp]
server_address = "smtp.example.nz"
transport_security = "tls"
batch_emails_per_min = 30
default_user = "jane"
"""


class Place:
    """A settings tree with the company acme (30 a minute), a state folder, and the command."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = SettingsTree(root / "settings")
        self.tree.write("companies/acme/company.toml", ACME)
        self.tree.write("companies/acme/users/jane.toml", JANE)
        self.environ = {
            "POSTMETER_SETTINGS": str(root / "settings"),
            "POSTMETER_STATE": str(root / "state"),
        }

    @property
    def ledger_url(self) -> str:
        """Where the command expects the ledger."""
        return f"sqlite:///{self.root / 'state' / 'ledger.db'}"

    def run(self, *words: str, exits: int = 0, text: str | None = None) -> Result:
        """Run the command, which must end with this code."""
        result = CliRunner().invoke(main, words, obj=Installation(self.environ), input=text)
        assert result.exit_code == exits, result.output
        return result

    def json(self, *words: str, exits: int = 0) -> Any:
        """Run the command with ``--json`` and read what it prints."""
        return json.loads(self.run(*words, "--json", exits=exits).stdout)

    def do(self, operation: Operation[Any]) -> Any:
        """Do something in the ledger as a worker would; it is made if it is not there."""
        ledger = Ledger(self.ledger_url)
        try:
            return ledger.call(operation)
        finally:
            ledger.close()

    def accept(self, *job_ids: str, **changes: Any) -> None:
        """Write jobs into the ledger."""
        self.do(lambda c, now: [deliveries.accept(c, now, new_job(j, **changes)) for j in job_ids])

    def start_worker(self) -> None:
        """Begin a worker's lease."""
        self.do(lambda c, now: workers.register(c, now, "w1", host="mail1", pid=7, version="1"))

    def attempt(self, job_id: str, settlement: Settlement | None, *, kind: str = "batch") -> None:
        """Let the one waiting job of acme's jane be tried; None leaves it in DATA."""
        lane = Lane("acme", "jane", kind)

        def operation(connection: Any, now: Any) -> None:
            claim = lanes.take(
                connection, now, lane, [], worker="w1", token=job_id, ahead_seconds=0.0
            )
            assert isinstance(claim, Claim)
            assert claim.job_id == job_id
            deliveries.begin_claimed(
                connection, now, claim, terms=Terms("w1", "smtp", now.wall, "hold", 600.0)
            )
            if settlement is not None:
                endings.settle(connection, now, job_id, job_id, 1, settlement, begun=True)

        self.do(operation)

    def state(self, job_id: str) -> str:
        """Where a job is, as the command says."""
        return str(self.json("status", job_id)["state"])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An installation on which nothing has run yet."""
    return Place(tmp_path)


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours are the terminal's; text is what is tested."""
    monkeypatch.setattr(click, "style", lambda text, **_: text)
