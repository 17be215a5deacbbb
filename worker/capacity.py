"""What may be in flight at once in this process: by kind, by server, by account.

Batches get less than single sends, and no server or account gets all of it: a server gets no more
of a kind than is left free. So the first that hangs keeps half, the next a quarter, and there is
room for others until many hang at once.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.effective import EffectiveSettings


class Bound(StrEnum):
    """What a bound is kept for, the widest first."""

    KIND = "kind"
    SERVER = "server"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class Caps:
    """The bounds: how many deliveries of a kind, to a server, of an account."""

    kinds: Mapping[str, int] = field(default_factory=lambda: {"send": 128, "batch": 96})
    server: int = 64
    account: int = 64


class Capacity:
    """Counts what is in flight; thread-safe, never blocks."""

    def __init__(self, caps: Caps | None = None) -> None:
        self._caps = caps or Caps()
        self._lock = threading.Lock()
        self._in_flight: Counter[tuple[Bound, str]] = Counter()

    def _bounds(self, settings: EffectiveSettings) -> dict[tuple[Bound, str], int]:
        # A batch leaves a quarter of each server and account to single sends.
        share = 0.75 if settings.kind == "batch" else 1.0
        kind = (Bound.KIND, settings.kind)
        most = self._caps.kinds.get(settings.kind, self._caps.account)
        return {
            kind: most,
            (Bound.SERVER, f"{settings.kind} {settings.server}"): most - self._in_flight[kind],
            (Bound.SERVER, settings.server): int(self._caps.server * share),
            (Bound.ACCOUNT, settings.account): int(self._caps.account * share),
        }

    def try_enter(self, settings: EffectiveSettings) -> bool:
        """Take a place for one delivery under these settings; False where none is free."""
        with self._lock:
            bounds = self._bounds(settings)
            if any(self._in_flight[key] >= bound for key, bound in bounds.items()):
                return False
            self._in_flight.update(bounds.keys())
            return True

    def full(self, settings: EffectiveSettings) -> list[Bound]:
        """The bounds that leave no place to a delivery under these settings, the widest first."""
        with self._lock:
            bounds = self._bounds(settings)
            full = [key[0] for key, bound in bounds.items() if self._in_flight[key] >= bound]
        return list(dict.fromkeys(full))

    def leave(self, settings: EffectiveSettings) -> None:
        """Give the place back."""
        with self._lock:
            for key in self._bounds(settings):
                self._in_flight[key] -= 1
                if not self._in_flight[key]:
                    del self._in_flight[key]

    @property
    def in_flight(self) -> int:
        """How many deliveries are in flight now."""
        with self._lock:
            return sum(n for (what, _), n in self._in_flight.items() if what is Bound.KIND)
