"""By which name servers are greeted: found once, and never waited for as long as DNS may take."""

from __future__ import annotations

import asyncio
import threading

from worker.transports.connect import Connector


def test_a_resolver_that_hangs_is_not_waited_for() -> None:
    """The lookup is given up after its time, once; the connection's address is used instead."""
    answer = threading.Event()
    asked = []

    def hang() -> str:
        asked.append(1)
        answer.wait(10)
        return "late.example.nz"

    async def story() -> None:
        connector = Connector(lookup=hang, lookup_seconds=0.01)
        await connector._learn_name()
        await connector._learn_name()
        assert connector._ehlo_name is None
        answer.set()

    asyncio.run(story())
    assert asked == [1]


def test_a_full_name_is_used_and_a_bare_one_is_not() -> None:
    """RFC 5321 4.1.4 wants a name that others can resolve, or an address."""

    async def name_after(found: str) -> str | None:
        connector = Connector(lookup=lambda: found)
        await connector._learn_name()
        return connector._ehlo_name

    assert asyncio.run(name_after("mail.example.nz")) == "mail.example.nz"
    for bare in ("vm", "localhost.localdomain", "printer.local", "1.0.0.127.in-addr.arpa"):
        assert asyncio.run(name_after(bare)) is None
