"""Deliver mails in tests: a mail, a begin that counts, and one event loop of each kind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

from worker.transports.base import Mail

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from config.effective import EffectiveSettings
    from worker.outcome import Transmission
    from worker.transports.base import Transport

_Result = TypeVar("_Result")
CONTENT = (
    b"From: jane@example.nz\r\nSubject: hello\r\nMessage-ID: <1@example.nz>\r\n\r\nKia ora\r\n"
)


def make_mail(*recipients: str, **changes: Any) -> Mail:
    """Return a small mail from jane to bob, or to the recipients given, changed as asked."""
    fields: dict[str, Any] = {
        "job_id": "1",
        "sender": "jane@example.nz",
        "recipients": recipients or ("bob@example.nz",),
        "content": CONTENT,
    }
    return Mail(**(fields | changes))


class Begun:
    """A ``begin`` that counts its calls, and raises or waits where told to."""

    def __init__(self, error: BaseException | None = None, seconds: float = 0.0) -> None:
        self.count = 0
        self.error = error
        self.seconds = seconds

    async def __call__(self) -> None:
        """Count; then wait or raise."""
        self.count += 1
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error


def run(loop_kind: str, main: Coroutine[Any, Any, _Result]) -> _Result:
    """Run ``main`` on a new loop of this kind: ``asyncio`` or ``uvloop``."""
    factory = uvloop.new_event_loop if loop_kind == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


async def deliver(
    transport: Transport,
    settings: EffectiveSettings,
    *,
    mail: Mail | None = None,
    begin: Begun | None = None,
) -> Transmission:
    """Deliver one mail."""
    return await transport.deliver(mail or make_mail(), settings, begin or Begun())
