"""The embedded inbox: RabbitMQ's contract in a file."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest

from producers.errors import InboxUnusable
from producers.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUEUE = "postmeter.send"
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    """An empty inbox."""
    inbox = Inbox(tmp_path / "state" / "inbox.db")
    yield inbox
    inbox.close()


def bodies(inbox: Inbox, consumer: str, n: int = 100, queue: str = QUEUE) -> list[bytes]:
    """What a consumer takes."""
    return [taken.body for taken in inbox.take(queue, n, consumer)]


def test_first_in_first_out_and_each_to_one(inbox: Inbox) -> None:
    """Messages come in order, each to one consumer, each queue by itself."""
    inbox.put(QUEUE, [b"1", b"2", b"3"])
    inbox.put("other", [b"x"])
    assert bodies(inbox, "a", 2) == [b"1", b"2"]
    assert bodies(inbox, "b") == [b"3"]
    assert bodies(inbox, "a") == []
    assert inbox.depth(QUEUE) == 0
    assert inbox.depth(QUEUE, taken=True) == 3
    assert bodies(inbox, "a", queue="other") == [b"x"]


def test_acked_is_gone_and_the_rest_goes_back_to_its_place(inbox: Inbox) -> None:
    """What was not acked returns to the head, marked as redelivered."""
    inbox.put(QUEUE, [b"1", b"2", b"3", b"4"])
    taken = inbox.take(QUEUE, 3, "a")
    inbox.ack([taken[1].id])
    inbox.release([taken[2].id])
    assert inbox.release_all("a") == 1
    again = inbox.take(QUEUE, 10, "b")
    assert [(t.body, t.redelivered) for t in again] == [(b"1", True), (b"3", True), (b"4", False)]


def test_dead_letters_move(inbox: Inbox) -> None:
    """A rejected message lies in the queue of the dead until somebody takes it."""
    inbox.put(QUEUE, [b"1", b"2"])
    taken = inbox.take(QUEUE, 1, "a")
    inbox.dead_letter([taken[0].id], "postmeter.dead")
    assert [dead.body for dead in inbox.dead("postmeter.dead")] == [b"1"]
    assert inbox.release_all("a") == 0
    assert bodies(inbox, "b") == [b"2"]
    assert bodies(inbox, "b", queue="postmeter.dead") == [b"1"]


def test_all_or_none(inbox: Inbox) -> None:
    """A put that fails in the middle leaves nothing."""

    def failing() -> Iterator[bytes]:
        yield b"1"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        inbox.put(QUEUE, failing())
    assert inbox.depth(QUEUE) == 0
    assert inbox.put(QUEUE, [b"1"]) == 1


def test_what_a_dead_process_had_in_hand_comes_back(inbox: Inbox) -> None:
    """A consumer that was killed loses nothing, and nothing of a live one is taken from it."""
    inbox.put(QUEUE, [b"1", b"2"])
    holding = FORK.Event()

    def take_and_hang() -> None:
        inbox.take(QUEUE, 1, "child")
        holding.set()
        time.sleep(60)

    child = FORK.Process(target=take_and_hang, daemon=True)
    child.start()
    assert holding.wait(10)
    assert inbox.release_gone() == 0
    child.kill()
    child.join()
    assert inbox.release_gone() == 1
    assert [(t.body, t.redelivered) for t in inbox.take(QUEUE, 9, "a")] == [
        (b"1", True),
        (b"2", False),
    ]


def test_a_reused_process_id_is_not_alive(inbox: Inbox) -> None:
    """The start time tells a consumer's process from another with its id."""
    inbox.put(QUEUE, [b"1"])
    inbox.take(QUEUE, 1, "a")
    with sqlite3.connect(inbox.path) as connection:
        connection.execute("UPDATE consumer SET started = 'another boot:1'")
    connection.close()
    assert inbox.release_gone() == 1


def test_many_processes_share_the_work_and_double_nothing(inbox: Inbox) -> None:
    """Four processes empty a queue that is still being filled; each message has one taker."""
    results = FORK.Queue()
    filled = FORK.Event()

    def work() -> None:
        mine: list[bytes] = []
        while inbox.depth(QUEUE) or not filled.is_set():
            taken = inbox.take(QUEUE, 7, str(os.getpid()))
            mine += [t.body for t in taken]
            inbox.ack([t.id for t in taken])
        results.put(mine)

    workers = [FORK.Process(target=work, daemon=True) for _ in range(4)]
    for worker in workers:
        worker.start()
    for start in range(0, 400, 20):
        inbox.put(QUEUE, [str(n).encode() for n in range(start, start + 20)])
    filled.set()
    got = sorted(int(body) for _ in workers for body in results.get(timeout=30))
    for worker in workers:
        worker.join()
    assert got == list(range(400))


def test_a_put_wakes_a_waiting_consumer(inbox: Inbox) -> None:
    """A consumer that waits is woken at once, also when the put came before it waited."""

    def wait() -> None:
        if wake.wait(30.0):
            woken.set()

    wake = inbox.wake_up()
    try:
        assert not wake.wait(0.0)
        inbox.put(QUEUE, [b"1"])
        assert wake.wait(5.0)
        assert not wake.wait(0.0)
        woken = threading.Event()
        thread = threading.Thread(target=wait)
        thread.start()
        inbox.put(QUEUE, [b"2"])
        assert woken.wait(5.0)
        thread.join()
    finally:
        wake.close()
    assert list(inbox.path.with_name("inbox.db.wake").iterdir()) == []


def test_the_socket_of_a_dead_consumer_is_removed(inbox: Inbox) -> None:
    """A consumer that was killed leaves a socket; the next put takes it away."""

    def leave_one() -> None:
        inbox.wake_up()
        os._exit(0)

    child = FORK.Process(target=leave_one, daemon=True)
    child.start()
    child.join()
    folder = inbox.path.with_name("inbox.db.wake")
    assert len(list(folder.iterdir())) == 1
    inbox.put(QUEUE, [b"1"])
    assert list(folder.iterdir()) == []


def test_a_large_backlog_gives_the_disk_back(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a backlog has gone, the file shrinks as it is used."""
    monkeypatch.setattr("producers.inbox.REAP_SECONDS", 0.0)
    inbox.put(QUEUE, [b"x" * 4000] * 5000)
    while taken := inbox.take(QUEUE, 1000, "a"):
        inbox.ack([t.id for t in taken])
    for _ in range(6):
        inbox.take(QUEUE, 1, "a")
    inbox.close()  # the last connection writes the WAL back
    assert inbox.path.stat().st_size < 8_000_000


def test_paths_longer_than_a_socket_address(tmp_path: Path) -> None:
    """A state directory may have a path of any length."""
    inbox = Inbox(tmp_path / ("long" * 30) / "inbox.db")
    wake = inbox.wake_up()
    inbox.put(QUEUE, [b"1"])
    assert wake.wait(5.0)
    wake.close()
    inbox.close()


def test_only_its_owner_can_read_it(inbox: Inbox) -> None:
    """Mail lies in it: the file and its folder are private."""
    inbox.put(QUEUE, [b"1"])
    assert inbox.path.stat().st_mode & 0o077 == 0
    assert inbox.path.parent.stat().st_mode & 0o077 == 0


def test_a_newer_inbox_is_refused(inbox: Inbox) -> None:
    """A file of a newer version is left alone, with a sentence."""
    inbox.put(QUEUE, [b"1"])
    inbox.close()
    with sqlite3.connect(inbox.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(InboxUnusable, match="made by a newer version of Postmeter"):
        inbox.put(QUEUE, [b"2"])


def test_stays_usable_on_both_sides_of_a_fork(inbox: Inbox) -> None:
    """Parent and child each open the file for themselves."""
    inbox.put(QUEUE, [b"parent"])
    child = FORK.Process(target=lambda: inbox.put(QUEUE, [b"child"]) and None)
    child.start()
    child.join()
    assert child.exitcode == 0
    inbox.put(QUEUE, [b"parent again"])
    assert bodies(inbox, "a") == [b"parent", b"child", b"parent again"]
