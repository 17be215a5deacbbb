"""The ledger's two clocks: one that people read, one that never steps.

A forward step of the clock that slots are kept in would free them early. SQLite is used by the
processes of one host, so its clock is the host's ``CLOCK_BOOTTIME``: shared by all of them, never
stepping, started anew only at a reboot, which the boot id tells. PostgreSQL is used by several
hosts, so its clock is the database's own (``postgresql.DatabaseClock``), whatever theirs say.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from worker.errors import LedgerUnusable

if TYPE_CHECKING:
    from sqlalchemy import Connection

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
"""Where Linux tells one boot from the next (random(4))."""


class Now(NamedTuple):
    """One instant on both clocks.

    Attributes:
        wall: Unix time, in seconds.
        steady: seconds on the clock that never steps.
    """

    wall: float
    steady: float


class Clock(Protocol):
    """Where the ledger gets its time from.

    Attributes:
        restarts: whether a new run of the clock starts from zero, so that old stamps mean nothing.
        step_seconds: by how much a reading was further ahead than time has passed; 0 while none
            was. Whoever has acted on it sets it back.
    """

    restarts: bool
    step_seconds: float

    def now(self) -> Now:
        """Read both clocks without asking the database: for plans, never for a stamp."""

    def read(self, connection: Connection) -> Now:
        """Read both clocks inside a transaction: for stamps."""

    def run_id(self, connection: Connection) -> str:
        """Tell one run of the clock, or one history of the database, from the next."""


@dataclass
class HostClock:
    """The clocks of this host, the same in all its processes; the steady one never steps."""

    boot_id: str
    restarts = True
    step_seconds = 0.0

    @classmethod
    def of_this_host(cls) -> HostClock:
        """Find the host's boot id.

        Raises:
            LedgerUnusable: the system has no boot id, so a reboot could not be told.
        """
        try:
            return cls(boot_id=BOOT_ID_FILE.read_text(encoding="ascii").strip())
        except OSError as error:
            raise LedgerUnusable(
                f"an SQLite ledger needs Linux: {BOOT_ID_FILE} cannot be read ({error.strerror})"
            ) from error

    def now(self) -> Now:
        """Read both clocks."""
        return Now(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))

    def read(self, _connection: Connection) -> Now:
        """Read both clocks: they are this host's."""
        return self.now()

    def run_id(self, _connection: Connection) -> str:
        """The host's boot id."""
        return self.boot_id
