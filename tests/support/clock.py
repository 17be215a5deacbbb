"""A clock that moves only when a test says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.ledger.clock import Now

if TYPE_CHECKING:
    from sqlalchemy import Connection


class FakeClock:
    """Both of the ledger's clocks, in a test's hands.

    The steady clock does not start at zero, so that a mix-up of the two shows.
    """

    def __init__(
        self, *, wall: float = 1_800_000_000.0, steady: float = 5_000.0, boot_id: str = "boot-1"
    ) -> None:
        self.wall = wall
        self.steady = steady
        self.boot_id = boot_id
        self.restarts = True
        self.step_seconds = 0.0

    def now(self) -> Now:
        """Read both clocks."""
        return Now(self.wall, self.steady)

    def read(self, _connection: Connection) -> Now:
        """Read both clocks: whatever the database, time is the test's."""
        return self.now()

    def run_id(self, _connection: Connection) -> str:
        """The boot that a test has set."""
        return self.boot_id

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.wall += seconds
        self.steady += seconds

    def advance_to(self, steady: float) -> None:
        """Let time pass until exactly that instant of the steady clock, never backward."""
        self.wall += max(0.0, steady - self.steady)
        self.steady = max(steady, self.steady)

    def reboot(self, *, down_seconds: float = 30.0) -> None:
        """Start the steady clock anew under another boot id, as a host does."""
        self.wall += down_seconds
        self.steady = down_seconds
        self.boot_id = f"{self.boot_id}+"
