"""What this command works on: the settings, the ledger and the way in that the environment names.

Each is opened when it is first asked for, so that a command needs no more than it uses.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.cli.failures import Exit, Failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from config.process import ProcessSettings
    from config.settings import Settings
    from config.watcher import SettingsWatcher
    from producers.client import Producer
    from producers.topology import Topology
    from worker.ledger.ledger import Ledger

_SQLITE: Final = "sqlite:///"


class Installation:
    """One installation of Postmeter.

    Args:
        environ: the variables that say where everything is.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ

    @classmethod
    def of_this_process(cls) -> Installation:
        """The one that the variables of this process name."""
        from config.process import environment

        return cls(environment())

    @cached_property
    def process(self) -> ProcessSettings:
        """Where things are.

        Raises:
            ProcessInvalid: a variable is wrong or unknown.
        """
        from config.process import load

        return load(self.environ)

    @cached_property
    def topology(self) -> Topology:
        """The names of the queues."""
        from producers.topology import Topology

        return Topology(self.process.queue_prefix, self.process.queue_type)

    @property
    def ledger_url(self) -> str:
        """Where the ledger is."""
        from config.process import ledger_url

        return ledger_url(self.process)

    @property
    def broker_url(self) -> str:
        """Where jobs go in; an embedded inbox with its path."""
        url = self.process.broker_url.get_secret_value()
        return f"{url}{self._state / 'inbox.db'}" if url == "embedded:" else url

    @property
    def _state(self) -> Path:
        """The state folder; looking at an installation does not make it."""
        folder = self.process.state
        assert folder is not None, "load sets it"
        return folder.absolute()

    @property
    def login_key_file(self) -> Path:
        """The key that logins are encrypted with."""
        from config.process import login_key_file

        return login_key_file(self.process)

    @property
    def ledger_file(self) -> Path | None:
        """The file of an SQLite ledger."""
        url = self.ledger_url
        return Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None

    @property
    def has_ledger(self) -> bool:
        """Whether there is a ledger; only an SQLite file can be missing."""
        return self.ledger_file is None or self.ledger_file.exists()

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """Open the ledger that workers use.

        A command never makes one: a ledger made by root could not be written by the worker.

        Raises:
            Failed: there is none yet.
            LedgerUnavailable: it cannot be opened now.
            LedgerUnusable: it is of another version.
        """
        if not self.has_ledger:
            raise Failed(
                f"there is no ledger at {self.ledger_file}: no worker has run yet, or"
                " POSTMETER_STATE or POSTMETER_LEDGER_URL names another place than the worker's",
                Exit.UNREACHABLE,
            )
        from worker.ledger.ledger import Ledger

        ledger = Ledger(self.ledger_url)
        try:
            yield ledger
        finally:
            ledger.close()

    def settings(self) -> Settings | None:
        """The settings in force, or None where this machine has none.

        Raises:
            ProcessInvalid: a variable is wrong or unknown.
        """
        watcher = self.watcher()
        return None if watcher is None else watcher.current

    def watcher(self) -> SettingsWatcher | None:
        """The settings as they are followed, or None where this machine has none.

        Raises:
            ProcessInvalid: a variable is wrong or unknown.
        """
        from config.errors import NoSettings
        from config.process import settings_root
        from config.watcher import SettingsWatcher

        try:
            root = settings_root(self.process)
            return SettingsWatcher(root, self.environ, secrets=self.process.secrets)
        except NoSettings:
            return None

    @contextmanager
    def producer(self, company: str | None = None, user: str | None = None) -> Iterator[Producer]:
        """A producer of this installation's way in.

        Raises:
            ProcessInvalid: a variable is wrong or unknown.
        """
        from producers.client import Producer

        with Producer(
            self.broker_url, company=company, user=user, topology=self.topology
        ) as producer:
            yield producer
