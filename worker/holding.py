"""What is held, as this process last read it from the ledger, and whom that concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.errors import ConfigError
from config.values import SYSTEM
from worker.outcome import HoldTarget, TargetKind
from worker.pace import limits_of, scope_of_connections, scope_of_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from config.effective import EffectiveSettings
    from worker.ledger.holds import Hold


def targets_of(settings: EffectiveSettings) -> tuple[str, ...]:
    """Everything whose hold concerns a job under these settings; what persons pause comes first."""
    scopes = {limit.scope for limit in limits_of(settings)}
    if settings.kind == "batch":
        scopes.add(scope_of_context(settings.context))
    if settings.mailbox_connections is not None:
        scopes.add(scope_of_connections(settings.account))
    account = HoldTarget(TargetKind.ACCOUNT, settings.account)
    wide = (HoldTarget(TargetKind.ALL), HoldTarget.of_context(settings.context), account)
    return (
        *(str(each) for whole in wide for each in (whole, whole.only(settings.kind))),
        str(HoldTarget(TargetKind.SERVER, settings.server)),
        str(HoldTarget(TargetKind.CREDENTIAL, settings.credential)),
        *(str(HoldTarget(TargetKind.SCOPE, scope)) for scope in sorted(scopes)),
    )


def outdated(
    targets: Iterable[str], resolve: Callable[[str | None, str | None, str], EffectiveSettings]
) -> list[str]:
    """The held credentials that have changed since: nobody would ever try them out again."""
    found = []
    for target in targets:
        held = HoldTarget.parse(target)
        if held.kind is not TargetKind.CREDENTIAL:
            continue
        context, _, user = held.key.rpartition("#")[0].partition("/")
        try:
            settings = resolve(None if context == SYSTEM else context, user or None, "send")
        except ConfigError:
            continue  # nothing is known of it now
        if settings.credential != held.key:
            found.append(target)
    return found


class Holding:
    """The holds in force; replaced whole by the pump's reads, thread-safe."""

    def __init__(self) -> None:
        self._holds: dict[str, list[Hold]] = {}

    def replace(self, holds: Iterable[Hold], now_wall: float = 0.0) -> None:
        """Take over what was read, but for what is over at ``now_wall`` (Unix seconds)."""
        fresh: dict[str, list[Hold]] = {}
        for hold in holds:
            if not hold.is_over(now_wall):
                fresh.setdefault(hold.target, []).append(hold)
        self._holds = fresh

    def of(self, targets: Sequence[str]) -> list[Hold]:
        """The holds that concern these targets."""
        holds = self._holds
        return [hold for target in targets for hold in holds.get(target, ())] if holds else []

    def blocks(self, targets: Sequence[str]) -> bool:
        """Whether any of these targets is held."""
        return bool(self.of(targets))

    def all(self) -> list[Hold]:
        """Every hold in force."""
        return [hold for holds in self._holds.values() for hold in holds]
