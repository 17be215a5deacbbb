"""``make soak``: 10,000 jobs in RabbitMQ at 30 a minute for an hour, and what that does to a worker.

A batch that waits for hours is what trips RabbitMQ's ``consumer_timeout`` where messages wait
unacknowledged, uses up attempts where a limit is an error, and shows every leak.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from tests.prove.judging import MARGIN, WINDOW_SECONDS, Course, use_of
from tests.prove.saved import SOAK
from tests.support.fleet import Company, Fleet
from tests.support.rabbitmq import MISSING, RabbitServer, unique_prefix
from worker.demo.figures import worst_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.ledger.clock import Now

LIMIT = 30
JOBS = 10_000
PROCESSES = 2
DELAY_SECONDS = 0.5
SAMPLE_SECONDS = 5.0
UNACKNOWLEDGED_SECONDS = SAMPLE_SECONDS
"""Two samples in a row are no proof that it is the same message; three are."""
INTAKE_SECONDS = 120.0
FLAT_MB = 5.0
_ATTEMPTS = text("SELECT count(*) FROM attempt")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: seconds since the first mail, memory of each process, unacknowledged messages."""

    at_seconds: float
    rss_mb: dict[int, float]
    unacknowledged: int


@dataclass(frozen=True, slots=True)
class Soaked:
    """What an hour came to; ``failures`` are sentences, none where it held.

    Attributes:
        intake_seconds: until all jobs had gone from RabbitMQ into the ledger.
        extra_attempts: attempts beyond one for each mail accepted.
        rss_mb: of each process, its mean in each quarter of the time.
        unacknowledged_seconds: the longest that some message was seen unacknowledged.
    """

    minutes: float
    intake_seconds: float
    accepted: int
    worst: int
    used: float
    needed: float
    consumer_timeouts: int
    extra_attempts: int
    rss_mb: dict[int, list[float]]
    unacknowledged_seconds: float
    failures: tuple[str, ...]


def main() -> int:
    """Run it; 1 if something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", action="store_true", help="one JSON document, samples and all")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as for Ctrl-C
    if not RabbitServer.available():
        print(MISSING, file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="postmeter-soak-"))
    print(f"{options.minutes:g} minutes; what is written is in {folder}", file=sys.stderr)
    soaked, samples = run_soak(folder, options.minutes)
    seen = {"samples": [asdict(sample) for sample in samples]}
    document = json.dumps({"name": SOAK, **asdict(soaked), **seen})
    results = folder / "soak.json"
    results.write_text(f"{document}\n", "utf-8")
    print(f"the page can be made with {results}", file=sys.stderr)
    if options.json:
        print(document)
    else:
        for key, value in asdict(soaked).items():
            print(f"{key:24} {value}")
    return 1 if soaked.failures else 0


def run_soak(folder: Path, minutes: float) -> tuple[Soaked, list[Sample]]:
    """Publish the jobs, watch for so many minutes, judge."""
    with (
        RabbitServer() as rabbitmq,
        Fleet(
            folder / "fleet",
            (Company("acme", LIMIT),),
            processes=PROCESSES,
            broker_url=rabbitmq.url,
            prefix=unique_prefix("soak"),
            delay_seconds=DELAY_SECONDS,
        ) as fleet,
    ):
        fleet.publish_batch("acme", JOBS)
        if not fleet.wait_for(1, 120.0):
            raise TimeoutError("the first mail never arrived")
        since = fleet.arrivals()[0].at
        course = Course(since, since + minutes * 60)
        intake_seconds = _wait_for_intake(fleet, since)
        samples = []
        while (left := course.until - time.monotonic()) > 0:
            samples.append(_look(fleet, rabbitmq, since))
            time.sleep(min(SAMPLE_SECONDS, left))
        times = [arrival.at for arrival in fleet.arrivals()]
        attempts = fleet.ledger.read(_count_attempts)
        in_data = sum(fleet.states().get(state, 0) for state in ("data", "claimed"))
        counted, possible = use_of(LIMIT, times, course)
        soaked = judge_soak(
            samples,
            minutes=minutes,
            intake_seconds=intake_seconds,
            accepted=len(times),
            worst=worst_window(times, WINDOW_SECONDS),
            used=counted / possible,
            mean_reply_seconds=fleet.sink.mean_delay_seconds,
            consumer_timeouts=_consumer_timeouts(rabbitmq),
            extra_attempts=max(0, attempts - len(times) - in_data),
        )
        return soaked, samples


def judge_soak(
    samples: Sequence[Sample],
    *,
    minutes: float,
    intake_seconds: float,
    accepted: int,
    worst: int,
    used: float,
    mean_reply_seconds: float,
    consumer_timeouts: int,
    extra_attempts: int,
) -> Soaked:
    """Judge what was seen; pure."""
    needed = WINDOW_SECONDS / (WINDOW_SECONDS + mean_reply_seconds) - MARGIN
    rss = quarters(samples)
    waited = longest_unacknowledged(samples)
    failures = []
    if worst > LIMIT:
        failures.append(f"{worst} mails in 60 s, the limit is {LIMIT}")
    if used < needed:
        failures.append(f"{used:.2%} of the limit used, {needed:.2%} is needed")
    if consumer_timeouts:
        failures.append(f"RabbitMQ closed {consumer_timeouts} channels for a late ack")
    if extra_attempts:
        failures.append(f"{extra_attempts} attempts beyond one a mail")
    if not rss:
        failures.append("no process lived as long as the soak")
    for pid, (_, second, _, last) in rss.items():
        if abs(last - second) > FLAT_MB:
            failures.append(f"process {pid} went from {second:.1f} to {last:.1f} MB")
    if waited > UNACKNOWLEDGED_SECONDS:
        failures.append(f"messages were unacknowledged for {waited:.0f} s")
    return Soaked(
        minutes=minutes,
        intake_seconds=intake_seconds,
        accepted=accepted,
        worst=worst,
        used=used,
        needed=needed,
        consumer_timeouts=consumer_timeouts,
        extra_attempts=extra_attempts,
        rss_mb=rss,
        unacknowledged_seconds=waited,
        failures=tuple(failures),
    )


def quarters(samples: Sequence[Sample]) -> dict[int, list[float]]:
    """Each process's mean memory in each quarter, of those that lived through all samples."""
    size = len(samples) // 4
    if not size:
        return {}
    pids = set.intersection(*(set(sample.rss_mb) for sample in samples))
    parts = [samples[n * size : (n + 1) * size] for n in range(4)]
    return {
        pid: [round(mean(sample.rss_mb[pid] for sample in part), 2) for part in parts]
        for pid in sorted(pids)
    }


def longest_unacknowledged(samples: Sequence[Sample]) -> float:
    """The longest time over which every sample saw unacknowledged messages, in seconds."""
    longest = 0.0
    for some, group in groupby(samples, key=lambda sample: sample.unacknowledged > 0):
        if some:
            times = [sample.at_seconds for sample in group]
            longest = max(longest, times[-1] - times[0])
    return longest


def _wait_for_intake(fleet: Fleet, since: float) -> float:
    """Wait until no job is left in RabbitMQ; how long after the first mail that was, in seconds.

    Until then there are always some messages unacknowledged, each for a moment.
    """
    while sum(fleet.states().values()) < JOBS:
        if time.monotonic() > since + INTAKE_SECONDS:
            raise TimeoutError(f"the jobs were not taken in within {INTAKE_SECONDS:g} s")
        time.sleep(0.5)
    return round(time.monotonic() - since, 1)


def _look(fleet: Fleet, rabbitmq: RabbitServer, since: float) -> Sample:
    memory = {pid: _rss_mb(pid) for pid in fleet.worker_pids()}
    queues = rabbitmq.ctl("list_queues", "--no-table-headers", "messages_unacknowledged")
    counts = [int(line) for line in queues.split() if line.isdigit()]
    return Sample(round(time.monotonic() - since, 1), memory, sum(counts))


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * _PAGE_BYTES / 1e6


def _count_attempts(connection: Connection, _now: Now) -> int:
    return int(connection.execute(_ATTEMPTS).scalar_one())


def _consumer_timeouts(rabbitmq: RabbitServer) -> int:
    """How often RabbitMQ says in its logs that a consumer acknowledged too late."""
    logs = [*rabbitmq.folder.glob("log/*.log"), rabbitmq.folder / "output"]
    lines = (line for log in logs for line in log.read_text("utf-8", "replace").splitlines())
    return sum("acknowledgement" in line and "timed out" in line for line in lines)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell tells it
