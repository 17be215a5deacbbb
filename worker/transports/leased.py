"""A connection's lease: had from when a server is called until the connection has ended.

Never while something else is waited for, such as an access token: the rest of the fleet could use the
place meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from worker.transports.connection import Leases


class Lessee:
    """Takes and gives back the leases of one pool.

    Args:
        leases: the count across the fleet; None: nobody counts.
    """

    def __init__(self, leases: Leases | None) -> None:
        self._leases = leases
        self._background: set[asyncio.Task[None]] = set()

    async def take(self, account: str, limit: int | None) -> str | None:
        """Wait for a lease; its token, None where nobody counts.

        Raises:
            Held: there is none for too long.
            BeginRefused, LedgerUnavailable: as ``ConnectionLeases.acquire`` does.
        """
        if self._leases is None or limit is None:
            return None
        return await self._leases.acquire(account, limit)

    def give_back(self, token: str | None) -> asyncio.Task[None] | None:
        """Give a lease back in the background; what does it, None where there is none."""
        if token is None or self._leases is None:
            return None
        task = asyncio.get_running_loop().create_task(self._leases.release(token))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def settled(self) -> None:
        """Wait until everything is given back."""
        while self._background:
            await asyncio.wait(self._background)


class Lease:
    """A lease for one connection: ``async with`` takes it, and gives it back where the block fails.

    Attributes:
        token: of the lease, while it is had; whoever ends the connection gives it back.
    """

    def __init__(self, lessee: Lessee, account: str, limit: int | None) -> None:
        self._lessee = lessee
        self._account = account
        self._limit = limit
        self.token: str | None = None

    async def __aenter__(self) -> None:
        self.token = await self._lessee.take(self._account, self._limit)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if error is None:
            return
        token, self.token = self.token, None
        given_back = self._lessee.give_back(token)
        if given_back is not None:  # who connects once more wants it back at once
            await asyncio.wait([given_back])
