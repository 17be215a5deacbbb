"""Sources of tokens that count what is asked of them, and fail or wait as a test says."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from tests.support.registrations import app
from tests.support.tokens import oauth_settings
from tests.support.waiting import GENEROUS_SECONDS
from worker.auth.failures import held
from worker.auth.grants import Fetched
from worker.auth.tokens import MsalTokens
from worker.errors import Held

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from config.effective import EffectiveSettings
    from worker.auth.asking import Asking
    from worker.auth.sources import Sources

JANE, JOHN = (oauth_settings(app(), user) for user in ("jane", "john"))
HOUR = 3600.0


@dataclass
class FakeSources:
    """Counts requests; holds them back while ``gate`` is closed; fails with what is in ``failures``.

    Where ``same`` is set, every request brings the first token.
    """

    lifetime_seconds: float = HOUR
    renew_after_seconds: float | None = None
    is_new: bool = True
    same: bool = False
    now: float = 1000.0
    asked: list[tuple[str, str]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    loads: int = 0
    at_once: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    ends: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def fetch(self, asking: Asking, other_than: str) -> Fetched:
        """Answer one request."""
        self.asked.append((asking.owner, other_than))
        number = 1 if self.same else len(self.asked)
        self.at_once[asking.owner] += 1
        self.most_at_once = max(self.most_at_once, *self.at_once.values())
        assert self.gate.wait(GENEROUS_SECONDS)
        self.at_once[asking.owner] -= 1
        if self.failures:
            raise self.failures.pop(0)
        return Fetched(
            f"token-{number}", self.lifetime_seconds, self.renew_after_seconds, self.is_new
        )

    def held(self, error: Exception, asking: Asking) -> Held:
        """As the real ones do."""
        return held(error, asking)

    @asynccontextmanager
    async def tokens(self, patience_seconds: float = GENEROUS_SECONDS) -> AsyncIterator[MsalTokens]:
        """The tokens of one process over these sources."""

        def load() -> Sources:
            self.loads += 1
            return cast("Sources", self)

        made = MsalTokens(
            load,
            note_token=lambda owner, resource, _: self.ends.append((owner, resource)),
            note_failure=lambda owner, resource: self.failed.append((owner, resource)),
            clock=lambda: self.now,
            patience_seconds=patience_seconds,
        )
        try:
            yield made
        finally:
            self.gate.set()
            await made.close()


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until something has happened in another thread."""
    async with asyncio.timeout(GENEROUS_SECONDS):
        while not condition():  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.001)


async def fails(tokens: MsalTokens, settings: EffectiveSettings = JANE) -> Held:
    """Ask for a token that is not to be had."""
    with pytest.raises(Held) as caught:
        await tokens.token(settings, "smtp")
    return caught.value
