"""An inbox that cannot be written when a session ends, or whose file is taken from under it."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from producers.inbox import Inbox
from tests.support.waiting import GENEROUS_SECONDS
from worker.broker.embedded import InboxSession
from worker.errors import BrokerUnavailable

if TYPE_CHECKING:
    from pathlib import Path

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


def move_away(path: Path) -> Path:
    """Put an inbox aside with what SQLite keeps beside it; where it lies then."""
    aside = path.parent / "aside"
    aside.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        file.rename(aside / file.name)
    return aside


def take_for_long(session: InboxSession) -> None:
    """Go on taking; nothing comes."""
    deadline = time.monotonic() + GENEROUS_SECONDS
    while time.monotonic() < deadline:
        assert session.next(0.01) is None


def until_it_is_noticed(session: InboxSession) -> None:
    """Go on taking until the session is over."""
    with pytest.raises(BrokerUnavailable, match="was removed or replaced"):
        take_for_long(session)


def test_a_file_in_its_place_is_used_and_loses_nothing_to_old_acks(tmp_path: Path) -> None:
    """The session ends; an ack of what the old file held does not delete the same id of the new."""
    path = tmp_path / "inbox.db"
    inbox, producer = Inbox(path), Inbox(path)
    producer.put(QUEUE, [b"old"])
    first = InboxSession(inbox, QUEUE, prefetch=5, consumer_id="c")
    old = first.next(1.0)
    assert old is not None
    move_away(path)
    fresh = Inbox(path)
    fresh.put(QUEUE, [b"new"])
    until_it_is_noticed(first)
    first.ack(old.tag)
    first.close()
    second = InboxSession(inbox, QUEUE, prefetch=5, consumer_id="c")
    new = second.next(1.0)
    assert new is not None
    assert (new.tag, new.body, new.redelivered) == (old.tag, b"new", False)
    producer.put(QUEUE, [b"newer"])
    assert fresh.depth(QUEUE) == 1
    second.close()
    for each in (inbox, producer, fresh):
        each.close()


def test_a_file_that_is_gone_is_not_made_anew_and_comes_back(tmp_path: Path) -> None:
    """Neither who takes nor who puts makes folder or file; put back, what was in hand comes again."""
    path = tmp_path / "state" / "inbox.db"
    inbox, producer = Inbox(path), Inbox(path)
    producer.put(QUEUE, [b"a"])
    first = InboxSession(inbox, QUEUE, prefetch=5, consumer_id="c")
    assert first.next(1.0) is not None
    path.parent.rename(tmp_path / "aside")
    until_it_is_noticed(first)
    first.close()
    with pytest.raises(BrokerUnavailable, match="was removed or replaced"):
        InboxSession(inbox, QUEUE, prefetch=1, consumer_id="c")
    with pytest.raises(OSError, match="was removed or replaced"):
        producer.put(QUEUE, [b"b"])
    assert not path.parent.exists()
    (tmp_path / "aside").rename(path.parent)
    producer.put(QUEUE, [b"b"])
    second = InboxSession(inbox, QUEUE, prefetch=5, consumer_id="c")
    again = [second.next(1.0) for _ in range(2)]
    assert [(each.body, each.redelivered) for each in again if each] == [
        (b"a", True),
        (b"b", False),
    ]
    second.close()
    inbox.close()
    producer.close()


def test_a_database_moved_alone_lets_another_take_its_place(tmp_path: Path) -> None:
    """What SQLite keeps beside it is left behind, and is shared with nobody once it was noticed."""
    path = tmp_path / "inbox.db"
    inbox = Inbox(path)
    inbox.put(QUEUE, [b"old"])
    path.rename(tmp_path / "aside.db")
    with pytest.raises(OSError, match="was removed or replaced"):
        inbox.look()
    fresh = Inbox(path)
    fresh.put(QUEUE, [b"new"])
    assert [taken.body for taken in inbox.take(QUEUE, 5, "c")] == [b"new"]
    inbox.close()
    fresh.close()
