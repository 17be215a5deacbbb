"""Several real processes on one real ledger: what the receiving side counts."""

from __future__ import annotations

import itertools
import math
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.ledger import new_job
from tests.support.pace_process import Orders
from tests.support.referee import Referee
from worker.errors import BeginRefused
from worker.ledger import care, deliveries, lanes, workers
from worker.ledger.ledger import Ledger
from worker.ledger.rows import Claim, State, Terms
from worker.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from worker.ledger.clock import Now

WINDOW_SECONDS = 3.0
LIMIT = 30


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """The test's own view of the ledger."""
    opened = Ledger(ledger_url)
    yield opened
    opened.close()


@pytest.fixture
def referee() -> Iterator[Referee]:
    """The receiving side."""
    with Referee() as started:
        yield started


def fill(ledger: Ledger, count: int) -> None:
    """Let so many jobs wait."""

    def operation(connection: Connection, now: Now) -> None:
        for n in range(count):
            deliveries.accept(connection, now, new_job(f"j{n:05}", batch_index=n))

    ledger.call(operation)


def orders(url: str, referee: Referee, name: str, *limits: int, **changes: object) -> Orders:
    """What a process is told."""
    told = {
        "url": url,
        "referee": referee.address,
        "limits": list(limits or (LIMIT,)),
        "window_seconds": WINDOW_SECONDS,
        "name": name,
    }
    return Orders(**{**told, **changes})  # type: ignore[arg-type]  # a test's shorthand


def check_books(ledger: Ledger) -> dict[State, int]:
    """Look the whole ledger over; how many jobs of each state."""
    found = ledger.read(care.check)
    assert found.problems == ()
    return found.jobs


def test_no_window_holds_more_than_the_limit(
    ledger_url: str, ledger: Ledger, referee: Referee
) -> None:
    """Four processes, replies that take from nothing to a fifth of a second."""
    fill(ledger, LIMIT * 5)
    processes = [
        referee.start(orders(ledger_url, referee, f"w{n}", until_empty=True)) for n in range(4)
    ]
    referee.wait_for(LIMIT * 5, 90.0)
    for process in processes:
        assert process.wait(30.0) == 0
    assert referee.worst(WINDOW_SECONDS) <= LIMIT
    assert referee.doubled() == []
    assert check_books(ledger) == {State.SENT: LIMIT * 5}


def test_killed_processes_open_no_gap(ledger_url: str, ledger: Ledger, referee: Referee) -> None:
    """SIGKILL at any moment: what was on its way is unknown, and the bound holds."""
    fill(ledger, 2_000)
    names = itertools.count()
    processes = [referee.start(orders(ledger_url, referee, f"w{next(names)}")) for _ in range(3)]
    referee.wait_for(LIMIT // 2, 60.0)
    for victim in range(4):
        time.sleep(1.3)
        processes[victim % 3].kill()
        processes[victim % 3] = referee.start(orders(ledger_url, referee, f"w{next(names)}"))
    time.sleep(WINDOW_SECONDS)
    referee.stop(processes, 30.0)
    assert referee.worst(WINDOW_SECONDS) <= LIMIT
    assert referee.doubled() == []
    assert len(referee.arrivals) > LIMIT


def test_a_stopped_process_opens_no_gap(ledger_url: str, ledger: Ledger, referee: Referee) -> None:
    """SIGSTOP for longer than a window: what it held is neither lost nor sent too early."""
    fill(ledger, 2_000)
    processes = [referee.start(orders(ledger_url, referee, f"w{n}")) for n in range(3)]
    referee.wait_for(LIMIT // 2, 60.0)
    processes[0].send_signal(signal.SIGSTOP)
    time.sleep(WINDOW_SECONDS * 1.5)
    sent_meanwhile = len(referee.arrivals)
    processes[0].send_signal(signal.SIGCONT)
    time.sleep(WINDOW_SECONDS)
    referee.stop(processes, 30.0)
    assert referee.worst(WINDOW_SECONDS) <= LIMIT
    assert referee.doubled() == []
    assert sent_meanwhile > LIMIT // 2  # the others went on


def test_a_flapping_limit_seen_at_different_times_opens_no_gap(
    ledger_url: str, ledger: Ledger, referee: Referee
) -> None:
    """Two views of the settings, each going down and up: never more than the largest."""
    fill(ledger, 2_000)
    processes = [
        referee.start(orders(ledger_url, referee, "w1", LIMIT, LIMIT // 10, flap_seconds=1.0)),
        referee.start(orders(ledger_url, referee, "w2", LIMIT // 10, LIMIT, flap_seconds=1.7)),
    ]
    referee.wait_for(LIMIT, 90.0)
    time.sleep(WINDOW_SECONDS * 2)
    referee.stop(processes, 30.0)
    assert referee.worst(WINDOW_SECONDS) <= LIMIT


def test_two_scopes_are_taken_together_or_not_at_all(
    ledger_url: str, ledger: Ledger, referee: Referee
) -> None:
    """Processes that share one scope of two: no deadlock, no slot left behind, the bound of both."""
    fill(ledger, LIMIT * 3)
    scopes = [["all", "company:acme"], ["all", "company:zeta"], ["all"]]
    processes = [
        referee.start(orders(ledger_url, referee, f"w{n}", scopes=mine, until_empty=True))
        for n, mine in enumerate(scopes)
    ]
    referee.wait_for(LIMIT * 3, 90.0)
    for process in processes:
        assert process.wait(30.0) == 0
    assert referee.worst(WINDOW_SECONDS) <= LIMIT
    assert check_books(ledger) == {State.SENT: LIMIT * 3}


def test_mail_leaves_evenly_after_idleness(
    ledger_url: str, ledger: Ledger, referee: Referee
) -> None:
    """Every slot is free, and yet the first tenth of a window takes no more than its share."""
    fill(ledger, LIMIT * 2)
    window = 20.0
    processes = [
        referee.start(orders(ledger_url, referee, f"w{n}", LIMIT * 2, window_seconds=window))
        for n in range(4)
    ]
    referee.wait_for(LIMIT, 90.0)
    referee.stop(processes, 30.0)
    assert referee.in_the_first(1.0) <= math.ceil(2.2 * LIMIT * 2 / window) + 1


def test_of_many_that_begin_one_token_exactly_one_may(ledger_url: str, ledger: Ledger) -> None:
    """Eight connections at once, one claim: one begin commits, seven change nothing."""
    fill(ledger, 1)
    ledger.call(lambda c, now: workers.register(c, now, "w1", host="h", pid=1, version="1"))
    claim = ledger.call(
        partial(
            lanes.take,
            lane=lanes.Lane("acme", "jane", "batch"),
            limits=[Limit("company:acme", 1)],
            worker="w1",
            token="t1",
            ahead_seconds=0.0,
        )
    )
    assert isinstance(claim, Claim)
    terms = Terms("w1", "smtp", 0.0, "resend", 600.0)
    others = [Ledger(ledger_url) for _ in range(8)]

    def begin(one: Ledger) -> bool:
        try:
            one.call(partial(deliveries.begin_claimed, claim=claim, terms=terms))
        except BeginRefused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(begin, others))
    for one in others:
        one.close()
    assert sum(begun) == 1
