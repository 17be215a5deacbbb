"""How soon a person's word acts at the receiving server: pause, resume, a limit down and up.

Four processes deliver what RabbitMQ handed over; each word is given several times, and the slowest
is judged. Mail waits all the time, so what leaves shows what all processes together do: one that
has not heard goes on sending.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.prove.judging import WINDOW_SECONDS
from tests.prove.rows import open_ledger
from tests.support.command import run
from tests.support.fleet import Company, Fleet
from tests.support.rabbitmq import RabbitServer, unique_prefix
from worker.demo.figures import worst_window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LIMIT = 600
LOW = 60
TIMES = 5
PROCESSES = 4
JOBS = 4_000
"""More than can leave in all the time that this takes."""
ALLOWED_SECONDS = 2.0
FLOW_SECONDS = 2.0
"""How long mail flows before each word, and a little longer each time."""
STILL_SECONDS = 5.0
"""How long it is watched after a pause, and after a raise."""
LOW_SECONDS = 8.0
STEP_SECONDS = 0.13
"""So that words do not come in step with what workers do every second."""
START_SECONDS = 60.0
RUN = 10
"""So many mails in a row show a pace."""
GAP, LOW_GAP = WINDOW_SECONDS / LIMIT, WINDOW_SECONDS / LOW
_TARGET = "company:acme"


@dataclass(frozen=True, slots=True)
class Control:
    """How soon each word acted, in seconds, every time; ``failures`` are sentences.

    Attributes:
        pause_seconds: from the return of ``postmeter pause`` to the last acceptance after it.
        resume_seconds: from the return of ``postmeter resume`` to the next acceptance.
        lower_seconds: from the change of the file to the last mail at the old pace.
        raise_seconds: from the change of the file to the first mail at the new pace.
        sent_over_restart: accepted while all workers were restarted during a pause.
    """

    ledger: str
    pause_seconds: list[float]
    resume_seconds: list[float]
    lower_seconds: list[float]
    raise_seconds: list[float]
    sent_over_restart: int
    worst: int
    failures: tuple[str, ...]


@dataclass(slots=True)
class Told:
    """What was measured so far."""

    paused: list[float] = field(default_factory=list)
    resumed: list[float] = field(default_factory=list)
    lowered: list[float] = field(default_factory=list)
    raised: list[float] = field(default_factory=list)
    over_restart: int = 0
    silent: list[str] = field(default_factory=list)
    """Words before which no mail flowed, so that they show nothing."""


def until_still(times: Sequence[float], said: float) -> float:
    """Seconds until the last mail after a word; 0 where none came."""
    return max((at - said for at in times if at >= said), default=0.0)


def until_slower(times: Sequence[float], changed: float, gap: float) -> float:
    """Seconds until the last mail that came too soon for a gap; 0 where none did.

    After a pause two mails may leave together (the gap makes up for a second); the third may not.
    """
    soon = (
        third - changed
        for first, third in zip(times, times[2:], strict=False)
        if third >= changed and third - first < gap / 2
    )
    return max(soon, default=0.0)


def until_faster(times: Sequence[float], changed: float, gap: float) -> float | None:
    """Seconds until mail came at the pace of a gap; None where it never did.

    It is the first of ten mails that take at most twice their time; where that one came long before
    the others, the tenth counts, less the time of ten: right within a gap.
    """
    after = [at for at in times if at >= changed]
    span = (RUN - 1) * gap
    for first, tenth in zip(after, after[RUN - 1 :], strict=False):
        if tenth - first <= 2 * span:
            return max(first, tenth - span) - changed
    return None


def judge_control(ledger: str, told: Told, worst: int) -> Control:
    """Judge the slowest of each; pure."""
    words = (
        ("paused, mail came", told.paused, ALLOWED_SECONDS),
        ("resumed, mail came only", told.resumed, ALLOWED_SECONDS + GAP),
        (f"lowered to {LOW}, mail came at the old pace", told.lowered, ALLOWED_SECONDS),
        (f"raised to {LIMIT}, mail came at the new pace only", told.raised, ALLOWED_SECONDS),
    )
    failures = [f"no mail flowed before: {word}" for word in told.silent]
    for what, seconds, allowed in words:
        if not seconds:
            failures.append(f"{what}: never measured")
        elif max(seconds) > allowed:
            failures.append(f"{what} after {max(seconds):.2f} s, {allowed:.1f} s are allowed")
    if told.over_restart:
        failures.append(f"{told.over_restart} mails left while paused, over a restart")
    if worst > LIMIT:
        failures.append(f"{worst} mails in 60 s, the limit is {LIMIT}")
    return Control(
        ledger=ledger,
        pause_seconds=told.paused,
        resume_seconds=told.resumed,
        lower_seconds=told.lowered,
        raise_seconds=told.raised,
        sent_over_restart=told.over_restart,
        worst=worst,
        failures=tuple(failures),
    )


def run_control(ledger: str, root: Path) -> Control:
    """Give four processes each word several times, and measure at the server how soon it acts."""
    with ExitStack() as stack:
        rabbitmq = stack.enter_context(RabbitServer())
        _, environ = open_ledger(stack, ledger)
        fleet = Fleet(
            root / f"control-{ledger}",
            (Company("acme", LIMIT),),
            processes=PROCESSES,
            broker_url=rabbitmq.url,
            prefix=unique_prefix("control"),
            more_environ=environ,
        )
        stack.enter_context(fleet)
        fleet.publish_batch("acme", JOBS)
        if not fleet.wait_for(1, START_SECONDS):
            raise TimeoutError("the first mail never arrived")
        _wait_for_workers(fleet)
        told = Told()
        for n in range(TIMES):
            _pause_and_resume(fleet, told, n, restart=n == TIMES - 1)
        for n in range(TIMES):
            _lower_and_raise(fleet, told, n)
        return judge_control(ledger, told, worst_window(_times(fleet), WINDOW_SECONDS))


def _pause_and_resume(fleet: Fleet, told: Told, n: int, *, restart: bool) -> None:
    _let_flow(fleet, told, n, "pause")
    run(fleet.environ, "pause", _TARGET, "--for", "30m", "--reason", "the proof")
    said = time.monotonic()
    time.sleep(STILL_SECONDS)
    told.paused.append(until_still(_times(fleet), said))
    if restart:
        since = time.monotonic()
        fleet.stop()
        fleet.start()
        _wait_for_workers(fleet)
        time.sleep(STILL_SECONDS)
        told.over_restart = sum(at >= since for at in _times(fleet))
    before = time.monotonic()
    run(fleet.environ, "resume", _TARGET)
    said = time.monotonic()
    # The mail may be faster than the command's end.
    told.resumed.append(max(0.0, _first_after(fleet, before) - said))


def _lower_and_raise(fleet: Fleet, told: Told, n: int) -> None:
    _let_flow(fleet, told, n, "lower")
    changed = time.monotonic()
    fleet.write_settings({"acme": LOW})
    time.sleep(LOW_SECONDS + n * STEP_SECONDS)
    told.lowered.append(until_slower(_times(fleet), changed, LOW_GAP))
    changed = time.monotonic()
    fleet.write_settings({"acme": LIMIT})
    time.sleep(STILL_SECONDS)
    faster = until_faster(_times(fleet), changed, GAP)
    told.raised.append(STILL_SECONDS if faster is None else faster)


def _let_flow(fleet: Fleet, told: Told, n: int, word: str) -> None:
    """Let mail leave for a while; where it does not, what follows shows nothing."""
    since = time.monotonic()
    time.sleep(FLOW_SECONDS + n * STEP_SECONDS)
    if sum(at >= since for at in _times(fleet)) < RUN:
        told.silent.append(word)


def _first_after(fleet: Fleet, since: float) -> float:
    """When the next mail is accepted; at the end of the watch where none is."""
    until = time.monotonic() + STILL_SECONDS
    while time.monotonic() < until:
        times = [at for at in _times(fleet) if at >= since]
        if times:
            return min(times)
        time.sleep(0.05)
    return until


def _wait_for_workers(fleet: Fleet) -> None:
    """Wait until every process of the fleet, as started last, is at work."""
    deadline = time.monotonic() + START_SECONDS
    while len(set(fleet.worker_pids()) & set(fleet.children())) < PROCESSES:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all {PROCESSES} processes came up")
        time.sleep(0.2)


def _times(fleet: Fleet) -> list[float]:
    return sorted(arrival.at for arrival in fleet.arrivals())


__all__ = ["Control", "judge_control", "run_control", "until_faster", "until_slower", "until_still"]
