"""What must not be used on both sides of a fork (connections, locks, threads) starts anew."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class ForkAware(Protocol):
    """Something that holds connections or locks."""

    def forget(self) -> object:
        """Start anew in a forked child, and return what was inherited: it is never closed there.

        Closing would say goodbye in the parent's name, or drop the parent's file locks.
        """


_OWNERS: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_INHERITED: list[object] = []


def forget_on_fork(owner: ForkAware) -> None:
    """Have ``owner.forget()`` called in every forked child, as long as the owner lives."""
    _OWNERS.add(owner)


def _after_fork() -> None:
    _INHERITED.extend(owner.forget() for owner in list(_OWNERS))


os.register_at_fork(after_in_child=_after_fork)
