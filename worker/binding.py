"""Which limit binds: of those that a job comes under at once, the one it waits for.

Pure: what the ledger says of each scope is read by ``worker/ledger/uses.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from worker.pace import MINUTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.pace import Limit


class Use(NamedTuple):
    """How far a limit is used up at one moment.

    Attributes:
        held: slots that rest or are in a worker's hands: the window's mail, and what is on its way.
        wait_seconds: how long until the scope lets the mail that is asked for begin; 0 if at once.
    """

    held: int = 0
    wait_seconds: float = 0.0


UNUSED = Use()
"""A scope that the ledger does not know yet: nothing was ever taken of it."""


@dataclass(frozen=True, slots=True)
class Binding:
    """The limit that decides, and how far it is used up.

    Attributes:
        limit: which; it knows its layer, file and key.
        use: what the ledger says of its scope.
    """

    limit: Limit
    use: Use = UNUSED

    @property
    def waits(self) -> bool:
        """Whether mail waits for it now; else it is only the tightest in the long run."""
        return self.use.wait_seconds > 0

    @property
    def left(self) -> int:
        """How many slots nobody uses; 0 too where a lowered limit is overdrawn."""
        return max(0, self.limit.limit - self.use.held)

    def __str__(self) -> str:
        return f"{self.limit} ({self.limit.source})"


def tightest(limits: Iterable[Limit]) -> Limit | None:
    """The limit that lets the fewest emails go in the long run, a day told against a minute.

    Of two that come to the same, the shorter window: it is felt first.
    """
    return min(limits, key=_tightness, default=None)


def binding(limits: Iterable[Limit], uses: Mapping[str, Use]) -> Binding | None:
    """The limit that the mail waits for longest; where none makes it wait, the tightest.

    Args:
        limits: those the job comes under.
        uses: by scope, how far each is used up; a scope that is not there is unused.
    """
    bindings = [Binding(limit, uses.get(limit.scope, UNUSED)) for limit in limits]
    return min(
        bindings,
        key=lambda each: (-each.use.wait_seconds, *_tightness(each.limit)),
        default=None,
    )


def _tightness(limit: Limit) -> tuple[float, int, str]:
    return limit.emails_per_minute, MINUTES[limit.per], limit.scope
