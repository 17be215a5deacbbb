"""Opening the ledger when a worker starts: it waits where the ledger is away."""

from __future__ import annotations

import asyncio

from worker.errors import LedgerUnavailable
from worker.ledger import care
from worker.ledger.ledger import Ledger
from worker.telemetry.logs import get_logger

RETRY_OPEN_SECONDS = 1.0
READER_SECONDS = 5
"""A worker asks small questions only: a server that does not answer them is away."""


async def open_ledger(url: str) -> Ledger:
    """Open the ledger, waiting until it can be written.

    Raises:
        LedgerUnusable: only a person can mend it.
    """
    log = get_logger("postmeter.ledger")
    told = ""
    while True:
        try:
            return await asyncio.to_thread(_open_to_write, url)
        except LedgerUnavailable as error:
            if str(error) != told:
                told = str(error)
                log.warning("the ledger is away: nothing is taken in or sent", reason=told)
        await asyncio.sleep(RETRY_OPEN_SECONDS)


def _open_to_write(url: str) -> Ledger:
    """Open the ledger: one that is read-only opens too, so try to write."""
    ledger = Ledger(url, reader_seconds=READER_SECONDS)
    try:
        ledger.call(care.touch)
    except LedgerUnavailable:
        ledger.close()
        raise
    return ledger
