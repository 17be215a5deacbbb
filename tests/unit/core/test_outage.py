"""Outage: one suspension while the ledger is away, and work that goes on by itself."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from structlog.testing import CapturingLogger

from worker.errors import LedgerUnavailable
from worker.outage import TRY_AGAIN_SECONDS, Outage

if TYPE_CHECKING:
    from collections.abc import Callable

AWAY = LedgerUnavailable("database is locked")


@dataclass
class Episode:
    """A worker that is suspended and resumed, over a ledger that answers as told."""

    answers: list[Exception | None]
    story: list[str] = field(default_factory=list)
    log: CapturingLogger = field(default_factory=CapturingLogger)

    def outage(self) -> Outage:
        """An outage on the running loop."""
        return Outage(
            loop=asyncio.get_running_loop(),
            suspend=lambda reason: self.story.append(f"suspended: {reason}"),
            resume=lambda: self.story.append("resumed"),
            attempt=self._attempt,
            log=self.log,
            sleep=self._sleep,
        )

    async def _attempt(self) -> None:
        answer = self.answers.pop(0)
        self.story.append("tried")
        if answer is not None:
            raise answer

    async def _sleep(self, seconds: float) -> None:
        self.story.append(f"slept {seconds}")
        await asyncio.sleep(0)

    def play(self, begin: Callable[[Outage], object]) -> Outage:
        """Begin, and let the loop run until it is over."""

        async def run() -> Outage:
            outage = self.outage()
            begin(outage)
            for _ in range(50):
                await asyncio.sleep(0)
            return outage

        return asyncio.run(run())

    @property
    def told(self) -> list[str]:
        """The levels of the log's lines."""
        return [call.method_name for call in self.log.calls]


PAUSE = f"slept {TRY_AGAIN_SECONDS}"


def begin_often(outage: Outage) -> None:
    """Several callers notice the same."""
    for _ in range(5):
        outage.begin(AWAY)


def test_it_suspends_once_and_resumes_when_the_ledger_is_back() -> None:
    """However often it is noticed; tried again after each pause, resumed after the first success."""
    episode = Episode([AWAY, None])
    outage = episode.play(begin_often)
    suspended = f"suspended: {AWAY}"
    assert episode.story == [suspended, PAUSE, "tried", PAUSE, "tried", "resumed"]
    assert outage.reason == ""
    assert episode.told == ["error", "info"]


def test_the_reason_is_there_while_it_lasts() -> None:
    """Health and metrics read it: from the first notice until the ledger answers."""

    async def run() -> tuple[str, str]:
        outage = Episode([AWAY] * 100).outage()
        outage.begin(AWAY)
        await asyncio.sleep(0)
        during = outage.reason
        assert outage._task is not None
        outage._task.cancel()
        return during, str(AWAY)

    during, reason = asyncio.run(run())
    assert during == reason


def test_another_fault_of_the_attempt_does_not_suspend_for_good() -> None:
    """The wait goes on whatever the attempt raises, and says so."""
    episode = Episode([RuntimeError("bug"), None])
    episode.play(lambda o: o.begin(AWAY))
    assert episode.story[-1] == "resumed"
    assert "exception" in episode.told


def test_it_may_begin_again_after_its_end() -> None:
    """A second outage is suspended and resumed like the first."""
    episode = Episode([None, None])

    async def run() -> None:
        outage = episode.outage()
        for _ in range(2):
            outage.begin(AWAY)
            for _ in range(10):
                await asyncio.sleep(0)

    asyncio.run(run())
    assert episode.story.count("resumed") == 2


def test_it_may_be_noticed_on_any_thread() -> None:
    """The pump's thread notices it; what is suspended is suspended on the loop."""
    episode = Episode([None])

    def elsewhere(outage: Outage) -> None:
        thread = threading.Thread(target=outage.begin, args=(AWAY,))
        thread.start()
        thread.join()
        assert episode.story == []

    episode.play(elsewhere)
    assert episode.story == [f"suspended: {AWAY}", PAUSE, "tried", "resumed"]
