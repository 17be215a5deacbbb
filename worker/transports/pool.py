"""Kept SMTP connections: one pool a process, bounded by server and by account.

The connection used last is used first, so that what is not needed grows old and is closed. None is
reused without a check: its age, whether the server closed it or said something, and after some
idle seconds a NOOP.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, deque
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from worker.errors import BeginRefused, Held
from worker.outcome import TargetKind
from worker.transports.connection import Bounds, Connection, Key, Leases
from worker.transports.failures import Party
from worker.transports.leased import Lease, Lessee
from worker.transports.vanguard import Vanguard

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings
    from worker.transports.connect import Connector

_SWEEP_SECONDS = 1.0
_FULL_CODES = frozenset({421, 432, 450, 452})
_CAP_SECONDS = 20.0
_STOPPING = "the worker is stopping"


class Pool:
    """Hands out connections and takes them back.

    Args:
        connector: makes connections.
        bounds: how many, how long.
        leases: asked around the life of each connection of an account with
            ``mailbox_connections``.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        bounds: Bounds | None = None,
        leases: Leases | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._connector = connector
        self._bounds = bounds or Bounds()
        self._lessee = Lessee(leases)
        self._clock = clock
        self._idle: dict[Key, list[Connection]] = {}
        self._of_server: Counter[str] = Counter()
        self._of_account: Counter[tuple[str, str]] = Counter()
        self._opening: Counter[tuple[str, str]] = Counter()
        self._caps: dict[tuple[str, str], tuple[int, float]] = {}
        self._vanguard = Vanguard(clock)
        self._waiting: dict[str, deque[tuple[str, asyncio.Future[None]]]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing = False

    def has_idle(self, settings: EffectiveSettings) -> bool:
        """Whether a connection for these settings waits for work."""
        return bool(self._idle.get(Key.of(settings)))

    def stats(self) -> dict[tuple[str, str], int]:
        """Return how many connections each server has, by state (``idle``, ``busy``)."""
        idle: Counter[str] = Counter()
        for key, connections in self._idle.items():
            idle[key.server] += len(connections)
        counts: dict[tuple[str, str], int] = {}
        for server, total in self._of_server.items():
            counts[server, "idle"], counts[server, "busy"] = idle[server], total - idle[server]
        return counts

    async def acquire(self, settings: EffectiveSettings) -> Connection:
        """Return a connection that is ready for a mail: a kept one, or a new one.

        Where a bound is reached it waits, as long as ``connection_timeout_ms``; until the first
        connection stands, all others wait for it, and fail with it. A server or fleet that refuses
        one more while this process has some teaches the pool a lower bound for 20 s.

        Raises:
            Held: no connection can be had.
            BeginRefused: the pool is closed; nobody is to blame, so nothing is held.
        """
        if self._closing:
            raise BeginRefused(_STOPPING)
        key = Key.of(settings)
        connection = await self._kept(key)
        if connection is not None:
            return connection
        try:
            async with asyncio.timeout(settings.connection_timeout_ms / 1000) as waiting:
                while True:
                    self._vanguard.heed(key)
                    out = self._vanguard.is_out(key)
                    if out or self._has_room(key, settings):
                        # Connecting has a time limit of its own.
                        deadline = waiting.when()
                        waiting.reschedule(None)
                        connection = await (
                            self._turn(key) if out else self._connect(key, settings)
                        )
                        waiting.reschedule(deadline)
                    else:
                        self._make_room(key)
                        await self._turn(key)
                    connection = connection or await self._kept(key)
                    if connection is not None:
                        return connection
        except TimeoutError as late:
            raise Party.of(settings).account_held(
                f"all connections to {key.server} were busy for {settings.connection_timeout_ms} ms"
            ) from late

    def release(self, connection: Connection) -> None:
        """Take a connection back: kept where it can serve again, else closed."""
        if self._closing or not connection.wire.usable or self._is_old(connection):
            self._end(connection)
            return
        connection.idle_at = self._clock()
        self._idle.setdefault(connection.key, []).append(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)
        self._wake(connection.key)

    def drop_idle(self, settings: EffectiveSettings) -> None:
        """Give up the idle connections of these settings: one of them proved to be dead."""
        for connection in self._idle.pop(Key.of(settings), []):
            self._end(connection)

    async def close(self) -> None:
        """Say QUIT on every idle connection; a busy one is closed when its mail is done."""
        self._closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        idle = [connection for kept in self._idle.values() for connection in kept]
        self._idle.clear()
        for connection in idle:
            self._end(connection)
        for waiters in self._waiting.values():
            for _, turn in waiters:
                turn.set_exception(BeginRefused(_STOPPING))
            waiters.clear()
        if idle:
            await asyncio.wait([connection.wire.closed for connection in idle])
        await self._lessee.settled()

    # Kept connections

    async def _kept(self, key: Key) -> Connection | None:
        while kept := self._idle.get(key):
            connection = kept.pop()
            if not connection.wire.usable or self._is_old(connection):
                self._end(connection)
            elif (
                self._clock() - connection.idle_at < self._bounds.noop_after_seconds
                or await connection.answers()
            ):
                return connection
        return None

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._clock()
        for key, kept in list(self._idle.items()):
            for connection in list(kept):
                leased = connection.token is not None
                limit = self._bounds.leased_idle_seconds if leased else self._bounds.idle_seconds
                if now - connection.idle_at >= limit or self._is_old(connection):
                    kept.remove(connection)
                    self._end(connection)
            if not kept:
                del self._idle[key]
        if self._idle:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)

    def _is_old(self, connection: Connection) -> bool:
        return self._clock() - connection.opened_at > self._bounds.age_seconds

    # New connections

    async def _connect(self, key: Key, settings: EffectiveSettings) -> Connection | None:
        """Return a new connection; None where others refuse one more, but some are here to share.

        Raises:
            Held: it cannot be had.
        """
        account = key.server, key.account
        self._of_server[key.server] += 1
        self._of_account[account] += 1
        self._opening[account] += 1
        first = self._vanguard.go(key)
        lease = Lease(self._lessee, key.account, settings.mailbox_connections)
        try:
            connected = await self._connector.connect(settings, lease)
        except Held as held:
            self._gone(key)
            others = self._of_account[account]
            full = held.reply is not None and held.reply.code in _FULL_CODES
            if others and (full or held.target.kind is TargetKind.SCOPE):
                # Those that are still connecting may be refused as well: no part of the bound.
                standing = others - (self._opening[account] - 1)
                self._caps[account] = max(standing, 1), self._clock() + _CAP_SECONDS
                return None
            self._vanguard.failed(key, held)
            raise
        except BaseException:
            self._gone(key)
            raise
        else:
            self._vanguard.stands(key)
        finally:
            _decrease(self._opening, account)
            if first:
                self._vanguard.back(key)
                self._wake_all(key)
        now = self._clock()
        connection = Connection(key, connected.wire, connected.extensions, now, now, lease.token)
        connection.wire.closed.add_done_callback(lambda _: self._lost(connection))
        return connection

    def _end(self, connection: Connection) -> None:
        if connection.wire.usable:
            connection.wire.quit()
        else:
            connection.wire.abort()

    def _lost(self, connection: Connection) -> None:
        kept = self._idle.get(connection.key, [])
        if connection in kept:
            kept.remove(connection)
        self._vanguard.lost(connection.key)
        self._lessee.give_back(connection.token)
        self._gone(connection.key)

    def _gone(self, key: Key) -> None:
        _decrease(self._of_server, key.server)
        _decrease(self._of_account, (key.server, key.account))
        self._wake(key)

    # Bounds

    def _has_room(self, key: Key, settings: EffectiveSettings) -> bool:
        account = key.server, key.account
        cap, until = self._caps.get(account, (sys.maxsize, 0.0))
        if until and self._clock() >= until:
            del self._caps[account]
            cap = sys.maxsize
        limit = min(self._bounds.per_account, settings.mailbox_connections or sys.maxsize, cap)
        return (
            self._of_server[key.server] < self._bounds.per_server
            and self._of_account[account] < limit
        )

    def _make_room(self, key: Key) -> None:
        """Give up the connection that has been idle longest: its place is wanted."""
        of_server = [k for k, kept in self._idle.items() if kept and k.server == key.server]
        full = self._of_server[key.server] >= self._bounds.per_server
        useful = [k for k in of_server if (full or k.account == key.account) and k != key]
        if useful:
            oldest = min(useful, key=lambda k: self._idle[k][0].idle_at)
            self._end(self._idle[oldest].pop(0))

    async def _turn(self, key: Key) -> None:
        """Wait until a connection of this account or a place at this server may be free."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault(key.server, deque())
        entry = (key.account, turn)
        waiters.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake(key)
            elif entry in waiters:
                waiters.remove(entry)
            raise

    def _wake(self, key: Key) -> None:
        """Let one waiter try: of the same account if there is one, else the first."""
        waiters = self._waiting.get(key.server)
        if not waiters:
            return
        entry = next((entry for entry in waiters if entry[0] == key.account), waiters[0])
        waiters.remove(entry)
        if not entry[1].done():
            entry[1].set_result(None)

    def _wake_all(self, key: Key) -> None:
        """Let everybody try who waits for this account's first connection."""
        for account, turn in list(self._waiting.get(key.server, ())):
            if account == key.account:
                self._waiting[key.server].remove((account, turn))
                if not turn.done():
                    turn.set_result(None)


_Name = TypeVar("_Name")


def _decrease(counter: Counter[_Name], name: _Name) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]
