"""What is held, as this process last read it from the ledger, and whom that concerns."""

from __future__ import annotations

import threading
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
    """Everything whose hold concerns a job under these settings."""
    scopes = {limit.scope for limit in limits_of(settings)}
    if settings.kind == "batch":
        scopes.add(scope_of_context(settings.context))
    if settings.mailbox_connections is not None:
        scopes.add(scope_of_connections(settings.account))
    return (
        str(HoldTarget(TargetKind.SERVER, settings.server)),
        str(HoldTarget(TargetKind.ACCOUNT, settings.account)),
        str(HoldTarget(TargetKind.CREDENTIAL, settings.credential)),
        str(HoldTarget(TargetKind.CONTEXT, settings.context)),
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
        self._lock = threading.Lock()
        self._holds: dict[str, Hold] = {}

    def replace(self, holds: Iterable[Hold]) -> None:
        """Take over what was read."""
        fresh = {hold.target: hold for hold in holds}
        with self._lock:
            self._holds = fresh

    def of(self, targets: Sequence[str]) -> list[Hold]:
        """The holds that concern these targets."""
        holds = self._holds
        return [holds[target] for target in targets if target in holds] if holds else []

    def blocks(self, targets: Sequence[str]) -> bool:
        """Whether any of these targets is held."""
        return bool(self.of(targets))

    def all(self) -> list[Hold]:
        """Every hold in force."""
        return list(self._holds.values())
