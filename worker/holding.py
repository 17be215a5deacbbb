"""What is held, as this process last read it from the ledger, and whom that concerns."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, get_args

from config.errors import ConfigError
from config.registration import APP
from config.values import SYSTEM, Kind
from worker.outcome import HoldTarget, TargetKind
from worker.pace import (
    budget_of,
    is_of_recipients,
    limits_of,
    scope_of_app,
    scope_of_connections,
    scope_of_context,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from config.effective import EffectiveSettings
    from config.registration import Registration
    from worker.ledger.holds import Hold


def targets_of(settings: EffectiveSettings) -> tuple[str, ...]:
    """Everything whose hold concerns a job under these settings; what persons pause comes first."""
    scopes = {limit.scope for limit in limits_of(settings)}
    if settings.kind == "batch":
        scopes.add(scope_of_context(settings.context))
    budget = budget_of(settings, recipients=0)
    if budget is not None:
        scopes.add(budget.scope)
    account = HoldTarget(TargetKind.ACCOUNT, settings.account)
    wide = (HoldTarget(TargetKind.ALL), HoldTarget.of_context(settings.context), account)
    return (
        *(str(each) for whole in wide for each in (whole, whole.only(settings.kind))),
        *_of_the_way(settings),
        *(str(HoldTarget(TargetKind.SCOPE, scope)) for scope in sorted(scopes)),
    )


def _of_the_way(settings: EffectiveSettings) -> tuple[str, ...]:
    """What the mail has to pass; a draft that is a file passes nothing."""
    if settings.transport == "accredo-mailer":
        return ()
    app = settings.registration if settings.logs_in_by_app else None
    connections = settings.mailbox_connections
    scope = scope_of_connections(settings.account)
    return (
        str(HoldTarget(TargetKind.SERVER, settings.server)),
        str(HoldTarget(TargetKind.CREDENTIAL, settings.credential)),
        *([] if app is None else _of_the_app(app)),
        *([] if connections is None else [str(HoldTarget(TargetKind.SCOPE, scope))]),
        *(
            [str(HoldTarget(TargetKind.SCOPE, scope_of_app(app)))]
            if app is not None and settings.transport == "microsoft-365"
            else []
        ),
    )


def _of_the_app(app: Registration) -> list[str]:
    """Where tokens come from, and what for."""
    found = [HoldTarget(TargetKind.CREDENTIAL, app.key)]
    if app.authority_server:
        found.append(HoldTarget(TargetKind.SERVER, app.authority_server))
    return [str(target) for target in found]


def outdated(
    targets: Iterable[str],
    resolve: Callable[[str | None, str | None, str], EffectiveSettings],
    registrations: Callable[[], Collection[str]],
) -> list[str]:
    """The held credentials that have changed since: nobody would ever try them out again.

    And the mailboxes whose recipients of the day were used up: they may be allowed more now, and to
    ask again costs no more than a look into the ledger.

    Args:
        targets: what is held.
        resolve: the settings in force for a company, a user and a kind of job.
        registrations: the keys of the app registrations in force.
    """
    found = []
    for target in targets:
        held = HoldTarget.parse(target)
        if held.kind is TargetKind.SCOPE and is_of_recipients(held.key):
            found.append(target)
        if held.kind is not TargetKind.CREDENTIAL:
            continue
        context, _, user = held.key.rpartition("#")[0].partition("/")
        if context == APP:
            if held.key not in registrations():
                found.append(target)
            continue
        in_force = set()
        for kind in get_args(Kind):  # each may go its own way, with a credential of its own
            with suppress(ConfigError):
                company = None if context == SYSTEM else context
                in_force.add(resolve(company, user or None, kind).credential)
        if in_force and held.key not in in_force:  # else nothing is known of it now
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

    def on(self, targets: Iterable[str]) -> list[Hold]:
        """The holds on these targets."""
        holds = self._holds
        return [hold for target in targets for hold in holds.get(target, ())]

    def of(self, settings: EffectiveSettings) -> list[Hold]:
        """The holds that concern a job under these settings.

        What a server said of an account keeps no draft that is a file: it asks no server, and so
        could not try the hold out either. A person's pause of the account keeps it.
        """
        if not self._holds:
            return []  # to name a credential costs milliseconds the first time: not for nothing
        found = self.on(targets_of(settings))
        if settings.transport == "accredo-mailer":
            return [hold for hold in found if hold.is_pause]
        return found

    def all(self) -> list[Hold]:
        """Every hold in force."""
        return [hold for holds in self._holds.values() for hold in holds]
