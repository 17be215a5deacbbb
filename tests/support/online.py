"""The test login, run on a settings tree of one company with one user."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from tests.support.secrets_watch import secret
from tests.support.settings_tree import SettingsTree
from worker.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = secret("jane")
LOGIN = f'username = "jane"\npassword = "{PASSWORD}"\n'
COLUMNS = 80


class Online:
    """Writes the company ``acme`` with its user ``jane``, and tries her settings.

    Attributes:
        address: of the server.
    """

    def __init__(self, root: Path) -> None:
        self.address = "127.0.0.1"
        self.tree = SettingsTree(root / "settings")
        self.environ = {
            "POSTMETER_SETTINGS": str(root / "settings"),
            "POSTMETER_STATE": str(root / "state"),
        }

    def write(
        self,
        port: int,
        smtp: str = 'transport_security = "none"',
        *,
        user: str = "",
        more: str = "",
    ) -> None:
        """Write the company.

        Args:
            smtp: further lines of ``[smtp]``.
            user: further lines of jane's ``[email]``.
            more: further tables of ``company.toml``.
        """
        self.tree.company(
            text=f'[smtp]\nserver_address = "{self.address}"\nport = {port}\n{smtp}\n{more}',
            user=f'[email]\naddress = "jane@acme.example"\n{user}',
        )

    def run(self, *words: str, exits: int = 0) -> str:
        """Try it as a person does; what is printed, without a secret and in eighty columns."""
        command = ["settings", "check", "--online", "--company", "acme", "--user", "jane", *words]
        done = CliRunner().invoke(main, command, env=self.environ)
        assert done.exit_code == exits, (done.output, done.exception)
        assert PASSWORD not in done.output
        if "--json" not in words:
            assert max(map(len, done.stdout.splitlines()), default=0) <= COLUMNS
        return done.output

    def json(self, *words: str, exits: int = 0) -> dict[str, Any]:
        """Try it as a script does."""
        found: dict[str, Any] = json.loads(self.run(*words, "--json", exits=exits))
        return found

    def lines(self, *words: str, exits: int = 0) -> dict[str, list[str]]:
        """What was said in each step; those of one name together, and ``found`` and ``reason``."""
        told = self.json(*words, exits=exits)
        steps: dict[str, list[str]] = {"found": told["found"], "reason": [told["reason"]]}
        for step in told["steps"]:
            steps.setdefault(step["step"], []).extend(step["lines"])
        return steps
