"""Bringing a ledger to the version of this worker, or saying why it can't be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from worker.errors import LedgerUnusable
from worker.ledger.postgresql import be_patient

if TYPE_CHECKING:
    from sqlalchemy import Connection

ADVISORY_LOCK = 0x706F73746D657465
"""The name of the lock on PostgreSQL: "postmete" in ASCII."""
UPGRADE_SECONDS = 600
MIGRATIONS = Path(__file__).parent / "migrations"


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def newest_version() -> str:
    """The version of the tables that this worker needs."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def version_of(connection: Connection) -> str | None:
    """The version of the tables that are there; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection) -> tuple[str | None, str]:
    """Bring the tables to the newest version inside the caller's transaction; (from, to).

    Raises:
        LedgerUnusable: the tables are of a newer version than this one.
    """
    _wait_for_others(connection)
    before = version_of(connection)
    if before is not None and before not in _known_versions():
        raise _newer(before)
    command.upgrade(_config(connection), "head")
    return before, newest_version()


def _wait_for_others(connection: Connection) -> None:
    """Let one process make tables while the others that start with it wait, and find them made."""
    if connection.dialect.name == "postgresql":
        be_patient(connection, UPGRADE_SECONDS)
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})


def make_or_check(connection: Connection) -> None:
    """Make the tables of an empty database; otherwise check that they fit this worker.

    Raises:
        LedgerUnusable: the tables are of an older or a newer version, or of another program.
    """
    _wait_for_others(connection)
    there, wanted = version_of(connection), newest_version()
    if there == wanted:
        return
    if there is None:
        tables = [
            name for name in inspect(connection).get_table_names() if name != "alembic_version"
        ]
        if tables:
            raise LedgerUnusable(
                f"POSTMETER_LEDGER_URL is a database of another program (it has {tables[0]!r});"
                " give Postmeter one of its own"
            )
        upgrade(connection)
    elif there in _known_versions():
        raise LedgerUnusable(
            f"the ledger's tables are of version {there}, this worker needs {wanted};"
            " stop the workers, back it up and run: postmeter ledger upgrade"
        )
    else:
        raise _newer(there)


def _known_versions() -> set[str]:
    return {s.revision for s in ScriptDirectory.from_config(_config()).walk_revisions()}


def _newer(there: str) -> LedgerUnusable:
    return LedgerUnusable(
        f"the ledger's tables are of version {there}, newer than this worker ({newest_version()});"
        " install the newer Postmeter"
    )
