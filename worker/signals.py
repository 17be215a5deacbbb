"""Waits for a signal, through pauses of the whole process.

A process that is stopped and continued while it waits (SIGSTOP, a frozen container, a debugger) finds
its time over, and Python's ``signal.sigtimedwait`` (3.11 to 3.13) then returns not None but whatever
lay in memory: a signal that nobody sent, which is easily taken for the order to stop.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def wait_for(wanted: Collection[signal.Signals], seconds: float) -> signal.Signals | None:
    """Wait until one of these blocked signals comes, and take it; None when the time is over."""
    received = signal.sigtimedwait(wanted, seconds)
    if received is None or received.si_signo not in wanted:
        return None
    return signal.Signals(received.si_signo)
