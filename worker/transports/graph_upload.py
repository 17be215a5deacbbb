"""Attachments that do not fit into the draft's own request: posted one by one, or in pieces.

Sources: learn.microsoft.com/graph/outlook-large-attachments. Nothing is sent by it, so every step
may be repeated; after a piece that was cut off Graph tells how far it has come.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.transports.graph_failures import Missing, TooSmall, Unsure
from worker.transports.graph_patience import patiently

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.transports.graph_mailbox import GraphMailbox
    from worker.transports.graph_message import Message, Part
    from worker.transports.graph_replies import Answer

CHUNK_BYTES: Final = 3_932_160
"""Twelve times 320 KiB: below the 4 MB of a request, and a multiple that OneDrive's rule asks for."""
SMALL_BYTES: Final = 3_000_000
"""Below it an attachment is posted whole: with base64 it stays under 4 MB."""
_DONE: Final = 201
_MOST_TRIES: Final = 5


async def attach_all(
    box: GraphMailbox, remote_id: str, message: Message, sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Add to a draft the attachments that did not fit into its own request.

    Raises:
        Unsure: Graph could not be brought to take one; the draft is of no use.
        Missing: the draft has vanished.
    """
    names = list(message.within)
    for part in message.apart:
        names.append(part.name)
        adding = _Adding(box, remote_id, part, names.count(part.name), sleep)
        await adding.run()


@dataclass(frozen=True, slots=True)
class _Adding:
    """One attachment on its way; afterwards the draft has ``count`` of its name."""

    box: GraphMailbox
    remote_id: str
    part: Part
    count: int
    sleep: Callable[[float], Awaitable[None]]

    async def run(self) -> None:
        if self.part.size >= SMALL_BYTES:
            try:
                url = await patiently(
                    lambda: self.box.open_upload(self.remote_id, self.part), self.sleep
                )
            except TooSmall:
                pass
            else:
                await self._upload(url)
                return
        await patiently(self._post, self.sleep)

    async def _post(self) -> None:
        try:
            await self.box.attach(self.remote_id, self.part)
        except Unsure:
            if not await self._is_there():
                raise

    async def _upload(self, url: str) -> None:
        first, tries = 0, 0
        while first < self.part.size:
            chunk = await asyncio.to_thread(_read, self.part, first)
            try:
                answer = await self.box.upload(url, first, self.part.size, chunk)
                if answer.status == _DONE:
                    return
            except Unsure:
                tries += 1
                if tries >= _MOST_TRIES:
                    raise
                await self.sleep(0.5 * tries)
                try:
                    answer = await patiently(lambda: self.box.uploaded(url), self.sleep)
                except Missing:  # an upload is forgotten when its last byte has come
                    if await self._is_there():
                        return
                    raise
            expected = _next_expected(answer)
            if expected is None:
                raise Unsure("Microsoft Graph does not say how far the upload has come")
            tries = tries if expected <= first else 0
            first = expected

    async def _is_there(self) -> bool:
        names = await patiently(lambda: self.box.attached(self.remote_id), self.sleep)
        return names.count(self.part.name) >= self.count


def _read(part: Part, first: int) -> bytes:
    if isinstance(part.content, bytes):
        return part.content[first : first + CHUNK_BYTES]
    with part.content.open("rb") as file:
        file.seek(first)
        return file.read(CHUNK_BYTES)


def _next_expected(answer: Answer) -> int | None:
    """Where the next piece begins: ``{"nextExpectedRanges": ["2097152-3483321"]}``."""
    ranges = (answer.value or {}).get("nextExpectedRanges")
    if not isinstance(ranges, list) or not ranges:
        return None
    begin = str(ranges[0]).partition("-")[0]
    return int(begin) if begin.isdecimal() else None
