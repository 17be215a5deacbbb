"""Asking again what may be asked again: everything before a mail is sent, and every look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from worker.errors import Held
from worker.transports.graph_failures import Unsure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

PAUSES_SECONDS: Final = (0.5, 1.0, 2.0)
"""Between tries; who fails after the last one has a trouble that lasts."""
SHORT_SECONDS: Final = 5.0
"""What Graph asks to wait is waited for here if it is no longer; else the target is held."""
_BUSY: Final = frozenset({429, 503})


async def patiently(
    ask: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[None]]
) -> T:
    """Ask, and after a failure in the middle ask again, with growing pauses.

    The same after "too many requests" and "busy", with the pause that Graph asks for
    (graph/throttling): one such answer says little of the next.

    Raises:
        Unsure: the last try failed so too.
        Held: it is no passing trouble.
    """
    for pause_seconds in PAUSES_SECONDS:
        try:
            return await ask()
        except Unsure:
            await sleep(pause_seconds)
        except Held as held:
            await sleep(max(pause_seconds, passing_seconds(held)))
    return await ask()


def passing_seconds(held: Held) -> float:
    """Return how long to wait for a trouble that passes, in seconds.

    Raises:
        Held: it does not, or not soon.
    """
    asked = held.retry_after_seconds or 0.0
    if held.reply is None or held.reply.code not in _BUSY or asked > SHORT_SECONDS:
        raise held
    return asked
