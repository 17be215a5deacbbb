"""Asking again: what passes by itself is waited for, what does not is told at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from worker.errors import Held
from worker.outcome import HoldTarget, Reply, TargetKind
from worker.transports.graph_failures import Unsure
from worker.transports.graph_patience import PAUSES_SECONDS, SHORT_SECONDS, patiently

if TYPE_CHECKING:
    from collections.abc import Sequence


def held(code: int, asked_seconds: float | None = None) -> Held:
    """A hold on the account for an answer of this code."""
    return Held(
        f"HTTP {code}",
        target=HoldTarget(TargetKind.ACCOUNT, "acme/jane"),
        reply=Reply(code, "ApplicationThrottled"),
        retry_after_seconds=asked_seconds,
    )


def ask_through(failures: Sequence[Exception]) -> tuple[str, list[float]]:
    """Ask something that fails so often before it answers; the answer and the pauses."""
    left, pauses = list(failures), []

    async def ask() -> str:
        if left:
            raise left.pop(0)
        return "answered"

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    return asyncio.run(patiently(ask, sleep)), pauses


def test_a_failure_in_the_middle_is_asked_again() -> None:
    """With pauses that grow."""
    assert ask_through([Unsure("504")] * 3) == ("answered", list(PAUSES_SECONDS))


@pytest.mark.parametrize(("asked", "pause"), [(None, 0.5), (0.1, 0.5), (3.0, 3.0)])
def test_a_busy_answer_is_waited_out(asked: float | None, pause: float) -> None:
    """For as long as Graph asks, and never less than our own pause."""
    for code in (429, 503):
        assert ask_through([held(code, asked)]) == ("answered", [pause])


@pytest.mark.parametrize("failure", [held(429, SHORT_SECONDS + 1), held(401), held(403)])
def test_what_does_not_pass_is_told_at_once(failure: Held) -> None:
    """A long wait is a hold, and so is a refusal."""
    with pytest.raises(Held) as met:
        ask_through([failure])
    assert met.value is failure


def test_a_trouble_that_lasts_is_told() -> None:
    """After the last pause the answer counts, whichever it is."""
    with pytest.raises(Held, match="HTTP 429"):
        ask_through([held(429)] * (len(PAUSES_SECONDS) + 1))
    with pytest.raises(Unsure):
        ask_through([Unsure("504")] * (len(PAUSES_SECONDS) + 1))
