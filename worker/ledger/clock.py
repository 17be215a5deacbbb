"""The ledger's two clocks: one that people read, one that never steps.

A forward step of the clock that slots are kept in would free them early, so slots and heartbeats
use ``CLOCK_BOOTTIME``: it is shared by all processes of a host and never steps; it starts again
only at a reboot, which the boot id tells. Dates that people chose (``send_at``, ``expires_at``)
are kept in Unix time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from worker.errors import LedgerUnusable

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
    """Where the ledger gets its time from."""

    @property
    def boot_id(self) -> str:
        """Tell one run of the steady clock from the next."""

    def now(self) -> Now:
        """Read both clocks."""


@dataclass(frozen=True)
class HostClock:
    """The clocks of this host, the same in all its processes."""

    boot_id: str

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
