"""An inbox that cannot be written when a session ends: its messages go back with the next one."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from producers.inbox import Inbox
from worker.broker.embedded import InboxSession

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

QUEUE = "postmeter.send"


def full(*_: Any) -> int:
    """Refuse, as a full disk does."""
    raise sqlite3.OperationalError("database or disk is full")


def test_what_a_session_could_not_give_back_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing fails on a full disk; the consumer's next session gives the message back, marked."""
    inbox = Inbox(tmp_path / "inbox.db")
    inbox.put(QUEUE, [b"a"])
    first = InboxSession(inbox, QUEUE, prefetch=5, consumer_id="c")
    assert first.next(1.0) is not None
    with monkeypatch.context() as patched:
        patched.setattr(inbox, "release_all", full)
        first.close()
    assert inbox.depth(QUEUE, taken=True) == 1
    second = InboxSession(inbox, QUEUE, prefetch=5, consumer_id="c")
    again = second.next(1.0)
    assert again is not None
    assert (again.body, again.redelivered) == (b"a", True)
    second.close()
    inbox.close()
