"""The tokens that transports use: kept while they are good, and fetched by one request at a time.

However many jobs want a token at once, one request is made and all get its answer, a failure too. A
token is renewed in the background while it is used, long before it ends; while the authority is away
the old one serves as long as it is good.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from worker.auth.asking import NAMES, Asking
from worker.errors import Held, LedgerError
from worker.outcome import HoldTarget, TargetKind
from worker.retry import granted
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings
    from worker.auth.asking import Resource
    from worker.auth.grants import Fetched
    from worker.auth.sources import Sources

Key = tuple[str, str, str]

SPARE_SECONDS: Final = 120.0
"""A token is not handed out for its last minutes: the server reads another clock."""
RENEWED_BEFORE_SECONDS: Final = 900.0
"""MSAL counts a token as expired 300 s before it is; renewal begins well before that."""
TRY_AGAIN_SECONDS: Final = 30.0
"""How long a renewal that failed rests, while the old token serves."""
REMEMBERED_SECONDS: Final = 4.0
"""How long a failure answers for those who ask next: less than until the first probe of a hold."""
JUST_FETCHED_SECONDS: Final = 60.0
"""A token that a server refuses so soon is not the problem; fetching another would not help."""
PATIENCE_SECONDS: Final = 45.0
_THREADS: Final = 64
_THREADS_OF_ONE: Final = 8
"""How many requests one authority has at once: one that hangs leaves threads for the others."""


@dataclass(slots=True, repr=False)
class Kept:
    """A token in use; times on the steady clock."""

    value: str
    fetched_at: float
    ends_at: float
    renew_at: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last request brought nothing, for those who ask within moments."""

    held: Held
    until: float


class MsalTokens:
    """Access tokens for every account of one process; see ``transports.base.Tokens``.

    Use it on one event loop; requests are made in threads of its own, so that an authority that
    does not answer keeps no other thread of the process busy.

    Args:
        load: makes the sources of tokens, in a thread, when the first one is wanted.
        note_token: told whose token for what ends when (Unix seconds).
        note_failure: told whose token for what could not be had.
        clock: steady seconds.
        patience_seconds: how long a delivery waits for a token.
    """

    def __init__(
        self,
        load: Callable[[], Sources],
        *,
        note_token: Callable[[str, Resource, float], None] = lambda *_: None,
        note_failure: Callable[[str, Resource], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._load = load
        self._loading = threading.Lock()
        self._sources: Sources | None = None
        self._note_token = note_token
        self._note_failure = note_failure
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="tokens")
        self._log = get_logger("postmeter.tokens")
        self._kept: dict[Key, Kept] = {}
        self._refused: dict[tuple[str, Key], str] = {}
        self._failures: dict[Key, Failure] = {}
        self._flights: dict[Key, asyncio.Task[Kept]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def token(self, settings: EffectiveSettings, resource: Resource) -> str:
        """Return a token that is good for some minutes more; see ``Tokens.token``."""
        asking = Asking.of(settings, resource)
        now, key = self._clock(), asking.key
        kept = self._kept.get(key)
        if kept is None or now >= kept.ends_at:
            kept = await self._fetched(asking)
        elif self._refused.get((asking.account, key)) == kept.value:
            kept = await self._another(asking)
        elif now >= kept.renew_at:
            self._flight(asking)
        return kept.value

    def refused(self, settings: EffectiveSettings, resource: Resource, token: str) -> bool:
        """Give an account no longer the token that a server has refused; see ``Tokens.refused``.

        Of several deliveries that used the same old token, each gets one more try with the new one.
        Other accounts keep the old one until there is another: the fault may be this account's.
        """
        asking = Asking.of(settings, resource)
        kept = self._kept.get(asking.key)
        if kept is None or kept.value != token:
            return True
        if self._clock() - kept.fetched_at < JUST_FETCHED_SECONDS:
            return False
        self._refused[asking.account, asking.key] = token
        return True

    async def close(self) -> None:
        """End what is under way; safe to call twice."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _fetched(self, asking: Asking) -> Kept:
        """Wait for the one request, together with everybody else who wants its answer."""
        failure = self._failures.get(asking.key)
        if failure is not None and self._clock() < failure.until:
            raise _again(failure.held)
        flight = self._flight(asking)
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await asyncio.shield(flight)
        except TimeoutError:
            raise self._too_slow(asking) from None
        except Held as held:
            raise _again(held) from None

    async def _another(self, asking: Asking) -> Kept:
        """Get one in place of a token that serves others still: what fails holds this account alone."""
        try:
            return await self._fetched(asking)
        except Held as held:
            raise Held(
                f"the access token is refused, and there is no other: {held.reason}",
                target=HoldTarget(TargetKind.CREDENTIAL, asking.credential),
                retry_after_seconds=held.retry_after_seconds,
            ) from None

    def _flight(self, asking: Asking) -> asyncio.Task[Kept]:
        key = asking.key
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.get_running_loop().create_task(self._fly(asking))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._land(key, done))
        return flight

    def _land(self, key: Key, flight: asyncio.Task[Kept]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # nobody may have waited for it

    async def _fly(self, asking: Asking) -> Kept:
        """Make the request when no other of the same owner is under way."""
        turn = self._turns.setdefault(asking.owner, asyncio.Lock())
        server = asking.registration.authority_server
        place = self._places.setdefault(server, asyncio.Semaphore(_THREADS_OF_ONE))
        async with turn, place:
            old = self._kept.get(asking.key)
            known = old.value if old else ""
            asked_at = self._clock()
            try:
                found = await asyncio.get_running_loop().run_in_executor(
                    self._pool, self._fetch, asking, known
                )
            except Held as held:
                self._fail(asking, held)
                raise
        return self._keep(asking, found, asked_at)

    def _fetch(self, asking: Asking, other_than: str) -> Fetched:
        """Make the request, in a thread."""
        with self._loading:
            self._sources = sources = self._sources or self._load()
        try:
            return sources.fetch(asking, other_than)
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001 - MSAL raises what it likes, at worst KeyError
            # What is behind the error may hold what was sent.
            raise sources.held(error, asking) from None

    def _keep(self, asking: Asking, found: Fetched, asked_at: float) -> Kept:
        life = found.lifetime_seconds
        renew = max(life / 2, life - RENEWED_BEFORE_SECONDS)
        if found.renew_after_seconds is not None:
            renew = min(renew, found.renew_after_seconds)
        renew = max(renew, TRY_AGAIN_SECONDS)  # Azure gives a machine the same token until late
        kept = Kept(
            value=found.value,
            fetched_at=asked_at if found.is_new else float("-inf"),
            ends_at=asked_at + life - min(SPARE_SECONDS, life / 4),
            renew_at=asked_at + renew,
        )
        for key in [key for key, each in self._kept.items() if each.ends_at <= asked_at]:
            del self._kept[key]
        self._kept[asking.key] = kept
        self._refused = {
            whose: refused
            for whose, refused in self._refused.items()
            if whose[1] != asking.key and whose[1] in self._kept
        }
        self._failures.pop(asking.key, None)
        self._note_token(asking.label, asking.resource, time.time() + life)
        return kept

    def _fail(self, asking: Asking, held: Held) -> None:
        self._note_failure(asking.label, asking.resource)
        now = self._clock()
        for key in [key for key, each in self._failures.items() if each.until <= now]:
            del self._failures[key]
        if not asking.by_person:  # a person may sign in at any moment
            self._failures[asking.key] = Failure(held, now + REMEMBERED_SECONDS)
        old = self._kept.get(asking.key)
        if old is not None:
            rest = max(TRY_AGAIN_SECONDS, granted(held.retry_after_seconds or 0.0).seconds)
            old.renew_at = now + rest
            self._log.warning(
                "a token could not be renewed; the old one serves as long as it is good",
                owner=asking.label,
                resource=asking.resource,
                reason=held.reason,
            )

    def _too_slow(self, asking: Asking) -> Held:
        server = asking.registration.authority_server
        target = (
            HoldTarget(TargetKind.SERVER, server)
            if server
            else HoldTarget(TargetKind.CREDENTIAL, asking.registration.key)
        )
        return Held(
            f"{server or 'the managed identity'} gave no token for {NAMES[asking.resource]} within"
            f" {self._patience_seconds:g} s",
            target=target,
        )


def _again(held: Held) -> Held:
    """The same hold for another job."""
    return Held(held.reason, target=held.target, retry_after_seconds=held.retry_after_seconds)
