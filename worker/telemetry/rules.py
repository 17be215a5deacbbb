"""What one snapshot of the settings means for counting: which limits there are, and for whom."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, get_args

from config.errors import ConfigError
from config.values import SYSTEM, Kind
from worker.auth.ends import credential_ends
from worker.pace import CEILING, WINDOW_SECONDS, limits_of, scope_of_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.effective import EffectiveSettings
    from config.settings import Settings
    from worker.pace import Limit

UNKNOWN_COMPANY = "_unknown"
"""Stands for every company that the settings do not have: producers may name any."""


class Rules:
    """The limits of one snapshot.

    Args:
        window_seconds: how long a slot rests; a minute but in tests.

    Attributes:
        limits: every limit, by its scope.
    """

    def __init__(self, settings: Settings, window_seconds: float = WINDOW_SECONDS) -> None:
        self._settings = settings
        self._window_seconds = window_seconds
        self._contexts = frozenset(settings.contexts())
        self.limits: dict[str, Limit] = {limit.scope: limit for limit in self._all_limits()}

    @cached_property
    def minute_scopes(self) -> list[str]:
        """The scopes that have a limit by the minute."""
        return [scope for scope, limit in self.limits.items() if limit.per == "minute"]

    @cached_property
    def credential_ends(self) -> dict[str, float]:
        """When the credential of each app registration ends (Unix seconds), where it can be told."""
        return credential_ends(self._settings.registrations())

    @cached_property
    def lanes(self) -> frozenset[tuple[str, str, str]]:
        """By which transport each company's mail of a kind leaves: (kind, transport, company).

        As the first user has it whose settings are right.
        """
        found = set()
        for context in self._settings.contexts():
            users = ("", *self._settings.users(context))
            for kind in get_args(Kind):
                one = next(
                    filter(None, (self.resolve(context, user, kind) for user in users)), None
                )
                if one is not None:
                    found.add((kind, one.transport, context))
        return frozenset(found)

    def label(self, company: str) -> str:
        """The company as a label may show it."""
        return company if company in self._contexts else UNKNOWN_COMPANY

    def resolve(self, company: str, user: str, kind: str) -> EffectiveSettings | None:
        """The settings of a lane, or None where its jobs wait for settings."""
        try:
            found = self._settings.resolve(
                None if company == SYSTEM else company,
                user or None,
                kind,  # type: ignore[arg-type]  # the ledger's kinds are the settings' kinds
            )
        except ConfigError:
            return None
        return None if found.held_reason else found

    def limits_of(self, company: str, user: str, kind: str) -> list[Limit]:
        """The limits that a lane's jobs come under."""
        settings = self.resolve(company, user, kind)
        return [] if settings is None else limits_of(settings, self._window_seconds)

    def scopes(self, company: str, user: str, kind: str) -> list[str]:
        """Every scope whose window counts an email of this lane."""
        found = {x.scope for x in self.limits_of(company, user, kind) if x.per == "minute"}
        if kind == "batch":
            found |= {scope_of_context(company), CEILING}
        return sorted(found)

    def _all_limits(self) -> Iterator[Limit]:
        for context in self._settings.contexts():
            for user in self._settings.users(context):
                yield from self.limits_of(context, user, "batch")
