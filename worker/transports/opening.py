"""The ways to deliver of one process, wired, by the names that settings give them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING

from worker.drafts import LedgerDrafts
from worker.telemetry.instruments import observe_phase
from worker.telemetry.logs import get_logger
from worker.transports.eml import EmlTransport
from worker.transports.places import Places
from worker.transports.smtp import SmtpTransport
from worker.verifying import VerifyingTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.effective import EffectiveSettings
    from worker.leases import ConnectionLeases
    from worker.ledger.ledger import Ledger
    from worker.outcome import Transmission
    from worker.transports.base import Begin, Mail, Tokens, Transport
    from worker.transports.graph_client import GraphClient
    from worker.transports.graph_request import Exchange

_FAILED = 400


class Transports:
    """Every way there is.

    Args:
        tokens: for OAuth2 and Graph.
        leases: connections and requests at once, counted across the fleet.
        may_end: see ``SmtpTransport``.
    """

    def __init__(
        self,
        ledger: Ledger,
        tokens: Tokens,
        leases: ConnectionLeases,
        may_end: Callable[[], bool],
    ) -> None:
        self.smtp = SmtpTransport(
            tokens=tokens,
            leases=leases,
            may_end=may_end,
            observe=observe_phase("smtp"),
        )
        self._graph = cache(partial(_open_client, tokens, leases))
        smtp = VerifyingTransport(self.smtp, partial(_was_sent, self._graph))
        self.by_name: Mapping[str, Transport] = {
            "smtp": smtp,
            "accredo-mailer": EmlTransport(),
            "microsoft-365": LateTransport(lambda: _open_graph(self._graph(), ledger, smtp)),
        }

    def lead_seconds(self, settings: EffectiveSettings) -> float:
        """How long the way of these settings is expected to need before a mail begins."""
        return self.by_name[settings.transport].lead_seconds(settings)

    async def close(self) -> None:
        """End every connection politely; safe to call twice."""
        for transport in self.by_name.values():
            await transport.close()
        if self._graph.cache_info().currsize:  # who looks in Sent Items may be all that used it
            await self._graph().close()


@dataclass(slots=True)
class LateTransport:
    """A transport whose library is loaded with its first mail: most workers never need it."""

    open: Callable[[], Transport]
    lead: float = 0.5
    _opened: Transport | None = field(default=None, init=False)

    async def deliver(self, mail: Mail, settings: EffectiveSettings, begin: Begin) -> Transmission:
        """Deliver one mail; see ``Transport.deliver``."""
        if self._opened is None:
            self._opened = self.open()
        return await self._opened.deliver(mail, settings, begin)

    def lead_seconds(self, settings: EffectiveSettings) -> float:
        """How long ``deliver`` is expected to need before it calls ``begin``."""
        return self.lead if self._opened is None else self._opened.lead_seconds(settings)

    async def close(self) -> None:
        """Close what was opened."""
        if self._opened is not None:
            await self._opened.close()


def _open_graph(client: GraphClient, ledger: Ledger, smtp: Transport) -> Transport:
    from worker.transports.graph import GraphTransport

    return GraphTransport(
        client,
        LedgerDrafts(ledger),
        smtp=smtp,
        observe=observe_phase("microsoft-365"),
    )


async def _was_sent(
    client: Callable[[], GraphClient], settings: EffectiveSettings, job_id: str, message_id: str
) -> bool:
    from worker.transports.graph_mailbox import GraphMailbox
    from worker.transports.graph_patience import patiently

    asked = replace(settings, transport="microsoft-365")  # else SMTP's server would be blamed
    box = GraphMailbox(client(), asked, job_id)
    return await patiently(lambda: box.find_sent(message_id), asyncio.sleep)


def _open_client(tokens: Tokens, leases: ConnectionLeases) -> GraphClient:
    from worker.transports.graph_client import GraphClient

    return GraphClient(tokens, Places(leases), tell=_tell)


def _tell(exchange: Exchange) -> None:
    """Write down by which ids Microsoft's support finds a request."""
    failed = exchange.status == 0 or exchange.status >= _FAILED
    log = get_logger("postmeter.graph")
    write = log.warning if failed else log.debug
    write(
        "graph request",
        operation=exchange.operation.value,
        job_id=exchange.job_id,
        account=exchange.account,
        status=exchange.status,
        codes=list(exchange.codes),
        client_request_id=exchange.client_request_id,
        request_id=exchange.request_id,
        diagnostic=exchange.diagnostic,
        seconds=round(exchange.seconds, 3),
    )
