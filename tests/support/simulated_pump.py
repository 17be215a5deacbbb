"""The real pump of one simulated process: a look at a time, over the simulation's own ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tests.support.limits import limited
from worker.capacity import Capacity
from worker.faults import Faults
from worker.holding import Holding
from worker.ledger.lanes import Lane
from worker.pace import AHEAD_SECONDS, CEILING
from worker.pump import Pump, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.effective import EffectiveSettings
    from tests.support.ledger import Store
    from worker.ledger.clock import Now
    from worker.ledger.engine import Operation
    from worker.work import Work


class StoredLedger:
    """A store as the pump sees a ledger; counts what the pump asks for.

    Attributes:
        calls: how often it was written to, and ``reads`` how often it was read.
    """

    holds_put = 0

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls = 0
        self.reads = 0

    def now(self) -> Now:
        """Read both clocks."""
        return self.store.clock.now()

    def call(self, operation: Operation[Any]) -> Any:
        """Do one operation."""
        self.calls += 1
        return self.store.do(operation)

    def read(self, operation: Operation[Any]) -> Any:
        """Run a query."""
        self.reads += 1
        return self.store.do(operation)


def settings_under(lane: Lane, limits: Mapping[str, int], **changes: Any) -> EffectiveSettings:
    """The settings of a lane that comes under these limits, by their scopes."""
    named = {"all_batch_emails_per_min": limits.get(CEILING)}
    for scope, number in limits.items():
        if scope.startswith(("company:", "system")):
            named["batch_emails_per_min"] = number
        elif scope.startswith("mailbox:"):
            named["mailbox_emails_per_min"] = number
    whose = {"context": lane.company, "company": lane.company, "user": lane.user, "kind": lane.kind}
    return limited(**whose, **named, **changes)


class _NoLog:
    """A simulation has no faults of one line: each is the test's."""

    def error(self, event: str, **fields: Any) -> None:
        """Raise what was met."""
        raise AssertionError(event) from fields["exc_info"]


class SimulatedPump:
    """A pump that is looked at whenever its process has its turn.

    Args:
        settings_of: the settings in force for a lane, as this process sees them now.
    """

    def __init__(
        self,
        store: Store,
        worker: str,
        settings_of: Callable[[Lane], EffectiveSettings],
        capacity: Capacity | None = None,
    ) -> None:
        self.ledger = StoredLedger(store)
        self.resolved = 0
        self._settings_of = settings_of
        self._given: dict[Lane, EffectiveSettings] = {}
        self._in_force = object()
        self.pump = Pump(
            Source(
                ledger=cast("Any", self.ledger),
                worker=worker,
                resolve=self._resolve,
                lead_seconds=lambda _: AHEAD_SECONDS,
                holding=Holding(),
                capacity=capacity or Capacity(),
                new_token=store.new_token,
                explain=lambda *_: None,
                on_unavailable=lambda _: None,
                faults=Faults(_NoLog()),
                settings_in_force=lambda: self._in_force,
                monotonic=lambda: store.clock.steady,
            )
        )

    def _resolve(self, company: str | None, user: str | None, kind: str) -> EffectiveSettings:
        self.resolved += 1
        lane = Lane(company or "_system", user or "", kind)
        if lane not in self._given:
            self._given[lane] = self._settings_of(lane)
        return self._given[lane]

    def settings_changed(self) -> None:
        """Tell that ``settings_of`` says another thing from now on."""
        self._given.clear()
        self._in_force = object()

    def look(self) -> tuple[Work | None, float]:
        """The work it has found, or how long it would wait."""
        return self.pump._look()

    def done(self, work: Work) -> None:
        """Tell that a delivery has ended."""
        self.pump.done({"work": work})

    def in_hand(self) -> set[str]:
        """The tokens of what the pump has taken and not handed out yet."""
        return {work.claim.token for work in self.pump._in_hand}
