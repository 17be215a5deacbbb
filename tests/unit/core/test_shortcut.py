"""The short way: a part of what a queue hands out is always left to be recorded and acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.settings import make_settings
from worker.shortcut import PREFETCH, Shortcut

if TYPE_CHECKING:
    from config.effective import EffectiveSettings


def entered(shortcut: Shortcut, settings: EffectiveSettings) -> int:
    """How many of very many get on the short way."""
    return sum(shortcut.try_enter(settings) for _ in range(2 * sum(PREFETCH.values())))


def test_no_server_keeps_more_than_half_and_all_leave_a_quarter() -> None:
    """Of 64 messages one server keeps 32 and two keep 48; a third server's are recorded."""
    shortcut = Shortcut()
    assert entered(shortcut, make_settings(port=25)) == 32
    assert entered(shortcut, make_settings(port=26)) == 16
    assert entered(shortcut, make_settings(port=27)) == 0


def test_each_queue_has_its_own() -> None:
    """Compositions come with the single sends; batches have a queue of their own."""
    shortcut = Shortcut({"send": 8, "batch": 4})
    assert entered(shortcut, make_settings(kind="send")) == 4
    assert entered(shortcut, make_settings(kind="compose")) == 0
    assert entered(shortcut, make_settings(kind="batch")) == 2


def test_who_has_ended_makes_room_and_leaves_nothing_behind() -> None:
    """A place given back is there for the same server, and no server is remembered for good."""
    shortcut = Shortcut({"send": 4, "batch": 4})
    settings = make_settings()
    for _ in range(3):
        assert entered(shortcut, settings) == 2
        shortcut.leave(settings)
        shortcut.leave(settings)
    assert not shortcut._to
