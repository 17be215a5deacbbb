"""Runs the rows of ``smtp_matrix`` against a mail server, several at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.deliveries import deliver
from tests.support.settings import make_settings
from tests.support.waiting import wait_until
from worker.errors import AttemptError
from worker.transports.smtp import SmtpTransport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.mailserver import LoggedSession, MailServer
    from tests.support.smtp_matrix import Row
    from worker.outcome import Transmission

AT_A_TIME = 8
_NEVER_MS = 60_000


@dataclass(frozen=True, slots=True)
class End:
    """How a row ended: for us, and in the server's log (the sessions that got as far as EHLO)."""

    result: Transmission | AttemptError
    sessions: list[LoggedSession]


async def run_all(
    server: MailServer, rows: Sequence[Row], run_name: str
) -> dict[str, Transmission | AttemptError]:
    """Send one mail by each row, over a transport of its own that greets with the row's name."""
    turns = asyncio.Semaphore(AT_A_TIME)

    async def one(row: Row) -> Transmission | AttemptError:
        ca_files = {"own": server.ca_file, "private": server.private_ca_file}
        changes = {"connection_timeout_ms": _NEVER_MS, **row.changes}
        settings = make_settings(
            server_address=server.address,
            port=server.ports[row.listener],
            ca_file=ca_files.get(row.ca),
            **changes,
        )
        transport = SmtpTransport(ehlo_name=f"{row.name}.{run_name}.test")
        async with turns:
            try:
                return await deliver(transport, settings)
            except AttemptError as error:
                return error
            finally:
                await transport.close()

    results = await asyncio.gather(*map(one, rows))
    return {f"{row.name}.{run_name}": end for row, end in zip(rows, results, strict=True)}


def with_logs(
    server: MailServer, results: dict[str, Transmission | AttemptError]
) -> dict[str, End]:
    """Add what the server has logged of each row, when all that it must have logged is there."""
    must = {f"{name}.test" for name, end in results.items() if not isinstance(end, AttemptError)}

    def complete() -> bool:
        sessions = server.all_sessions()
        return must <= {each.name for each in sessions} and all(each.over for each in sessions)

    wait_until(complete, "the end of every session in the log")
    logged: dict[str, list[LoggedSession]] = {}
    for session in server.all_sessions():
        logged.setdefault(session.name, []).append(session)
    return {name: End(end, logged.get(f"{name}.test", [])) for name, end in results.items()}
