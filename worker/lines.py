"""The waiting lines that take part: what each needs by the settings in force, or why it has to wait.

What goes wrong with one line is its own: it rests, with a reason on its jobs, and the others go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.errors import ConfigError
from worker.errors import LedgerUnavailable
from worker.faults import in_words
from worker.pace import limits_of
from worker.portions import Portions
from worker.waits import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from config.effective import EffectiveSettings
    from worker.faults import Faults
    from worker.ledger.lanes import Lane
    from worker.turns import Turns


class Lines:
    """Every line that takes turns, with what its next job needs. For one thread.

    Args:
        turns: where the lines take turns.
        resolve: the settings in force for company, user and kind; raises ConfigError.
        explain: told of a line that can't be served, and why.
        faults: what is told of a fault, and knows which lines rest for one.
        window_seconds: how long a slot rests.
    """

    def __init__(
        self,
        turns: Turns,
        *,
        resolve: Callable[[str | None, str | None, str], EffectiveSettings],
        explain: Callable[[Lane, str, ConfigError | None], None],
        faults: Faults,
        window_seconds: float,
    ) -> None:
        self._turns = turns
        self._resolve = resolve
        self._explain = explain
        self._faults = faults
        self._window_seconds = window_seconds
        self._needs: dict[Lane, Need] = {}
        self._portions = Portions()

    def __getitem__(self, lane: Lane) -> Need:
        return self._needs[lane]

    def alone(self, lane: Lane, step: Callable[[Lane], bool]) -> bool:
        """Do one step for one line; after a fault in it the line rests, which is no success.

        Raises:
            LedgerUnavailable: the ledger is away, which concerns all lines.
        """
        try:
            return step(lane)
        except LedgerUnavailable:
            raise
        except Exception as fault:  # noqa: BLE001 - whatever it is, the other lines must not wait for it
            self.drop(lane)
            self._faults.let_rest(lane, fault)
            self._explain(lane, in_words(fault), None)
            return False

    def take_in(self, due: Iterable[Lane]) -> None:
        """Let lines take part that are new, if their jobs can be served."""
        for lane in due:
            if lane not in self._needs and not self._faults.rests(lane):
                self.alone(lane, self._ask)

    def keep(self, due: Iterable[Lane]) -> None:
        """Take out all lines but these: the others have nothing to send."""
        for lane in self._needs.keys() - set(due):
            self.drop(lane)

    def drop(self, lane: Lane) -> None:
        """Take a line out."""
        need = self._needs.pop(lane, None)
        if need is not None:
            self._portions.leave(need.limits)
        self._turns.remove(lane)

    def resolve_anew(self) -> bool:
        """See what the settings say now of each line; whether that is another thing of any."""
        before = dict(self._needs)
        for lane in before:
            self.alone(lane, self._ask)
        return any(self._needs.get(lane) is not need for lane, need in before.items())

    def most(self, need: Need) -> int:
        """How many jobs a line may take in its turn."""
        return self._portions.most(need.limits, len(self._turns))

    def _ask(self, lane: Lane) -> bool:
        """Give a line its place by the settings in force, or none; whether it has one."""
        known, settings = self._needs.get(lane), self._servable(lane)
        if settings is None:
            self.drop(lane)
            return False
        if known is None or settings is not known.settings:
            self._place(lane, settings)
        return True

    def _place(self, lane: Lane, settings: EffectiveSettings) -> None:
        limits = limits_of(settings, self._window_seconds)
        if lane in self._needs:
            self._portions.leave(self._needs[lane].limits)
        self._needs[lane] = Need(settings, limits)
        self._portions.enter(limits)
        self._turns.place(
            lane,
            settings.server,
            company_weight=settings.company_weight,
            user_weight=settings.user_weight,
        )

    def _servable(self, lane: Lane) -> EffectiveSettings | None:
        """The settings of a lane, or None where its jobs wait for a person or for settings."""
        try:
            settings = self._resolve(
                None if lane.company == "_system" else lane.company, lane.user or None, lane.kind
            )
        except ConfigError as error:
            self._explain(lane, str(error), error)
            return None
        if settings.held_reason is not None:
            self._explain(lane, settings.held_reason, None)
            return None
        return settings
