"""Delivery over SMTP: a kept connection, a transaction, and what became of both."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from worker.transports.connect import Connector
from worker.transports.failures import Party
from worker.transports.pool import Pool
from worker.transports.transaction import Timeouts, Transaction, check
from worker.transports.wire import ConnectionBroken

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings
    from worker.outcome import Transmission
    from worker.transports.base import Begin, Mail, Tokens
    from worker.transports.connection import Bounds, Connection, Leases

_WARM_SECONDS = 0.05
_COLD_SECONDS = 1.0
_WEIGHT = 0.2


class SmtpTransport:
    """Delivers mails over SMTP; one instance a process, on one event loop.

    Args:
        bounds: how many connections, how long they live.
        timeouts: how long a server may take for each step.
        ehlo_name: the name to greet servers with; absent: found out.
        leases: the fleet-wide cap on an account's connections.
        tokens: where accounts with ``authentication_model = "oauth2"`` get their tokens.
        may_end: asked before a mail's last bytes: whether its slot is surely still its own.
        observe: told how many seconds each phase took: ``connect`` (DNS to the end of AUTH),
            ``preface`` (MAIL to 354), ``data`` (first byte of the mail to its reply).
    """

    def __init__(
        self,
        *,
        bounds: Bounds | None = None,
        timeouts: Timeouts | None = None,
        ehlo_name: str | None = None,
        leases: Leases | None = None,
        tokens: Tokens | None = None,
        may_end: Callable[[], bool] | None = None,
        observe: Callable[[str, float], None] | None = None,
    ) -> None:
        connector = Connector(ehlo_name, tokens=tokens, observe=observe)
        self._pool = Pool(connector, bounds=bounds, leases=leases)
        self._timeouts = timeouts or Timeouts()
        self._observe = observe
        self._may_end = may_end
        self._warm: dict[str, float] = {}
        self._cold: dict[str, float] = {}

    async def deliver(self, mail: Mail, settings: EffectiveSettings, begin: Begin) -> Transmission:
        """Deliver one mail; see ``Transport.deliver``.

        A kept connection that ended before the server said a word about this mail was dead: the
        mail is tried once more, on another.
        """
        started = perf_counter()
        party = Party.of(settings)
        patience = min(self._timeouts.content_seconds, settings.reply_timeout_seconds)
        timeouts = replace(self._timeouts, content_seconds=patience)

        async def begin_now() -> None:
            self._learn(party.server, connection, perf_counter() - started)
            await begin()

        connection = await self._pool.acquire(settings)
        try:
            return await self._transact(connection, party, mail, begin_now, timeouts)
        except _Stale:
            self._pool.drop_idle(settings)
            connection = await self._pool.acquire(settings)
            return await self._transact(connection, party, mail, begin_now, timeouts, last=True)

    def lead_seconds(self, settings: EffectiveSettings) -> float:
        """How long ``deliver`` is expected to need before it calls ``begin``."""
        if self._pool.has_idle(settings):
            return self._warm.get(settings.server, _WARM_SECONDS)
        return self._cold.get(settings.server, _COLD_SECONDS)

    def stats(self) -> dict[tuple[str, str], int]:
        """Return how many connections each server has, by state (``idle``, ``busy``)."""
        return self._pool.stats()

    async def close(self) -> None:
        """Say QUIT on every idle connection; safe to call twice."""
        await self._pool.close()

    async def _transact(
        self,
        connection: Connection,
        party: Party,
        mail: Mail,
        begin: Begin,
        timeouts: Timeouts,
        *,
        last: bool = False,
    ) -> Transmission:
        wire = connection.wire
        replies_before = wire.replies_seen
        reused = connection.uses > 0
        connection.uses += 1
        transaction = Transaction(
            wire=wire,
            extensions=connection.extensions,
            timeouts=timeouts,
            party=party,
            mail=mail,
            reset=connection.left_open,
            observe=self._observe,
            may_end=self._may_end,
        )
        try:
            check(mail, connection.extensions)
            return await transaction.run(begin)
        except ConnectionBroken as broken:
            wire.abort()
            if reused and not last and wire.replies_seen == replies_before:
                raise _Stale from broken
            raise party.server_held(broken.reason, mail_sent=True) from broken
        finally:
            connection.left_open = transaction.left_open
            self._pool.release(connection)

    def _learn(self, server: str, connection: Connection, seconds: float) -> None:
        known = self._warm if connection.uses > 1 else self._cold
        start = known.get(server, seconds)
        known[server] = start + _WEIGHT * (seconds - start)


class _Stale(Exception):
    """A kept connection had ended; the server has seen nothing of the mail."""
