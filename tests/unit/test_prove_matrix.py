"""What ``make prove`` and ``make soak`` run and judge: checked without running it."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.prove.judging import Course, Seen, judge
from tests.prove.matrix import Row, read_matrix
from tests.prove.schedule import Schedule, next_to_start
from tests.prove.soak import LIMIT, Sample, judge_soak, longest_unacknowledged, quarters
from tests.support.private_server import free_port

if TYPE_CHECKING:
    from tests.prove.schedule import Costly

CALM = Row(limit=60, processes=2, disturbance="none", ledger="sqlite", broker="embedded")


def possible(values: dict[str, object]) -> bool:
    """Whether such a row makes sense: an embedded broker has no server to restart."""
    return (values["disturbance"], values["broker"]) != ("broker-restart", "embedded")


def test_every_pair_of_values_is_in_some_row() -> None:
    """The matrix is a pairwise cover of its five columns."""
    rows, values = read_matrix()
    covered = {
        frozenset({(a, getattr(row, a)), (b, getattr(row, b))})
        for row in rows
        for a, b in combinations(values, 2)
    }
    wanted = {
        frozenset({(a, x), (b, y)})
        for a, b in combinations(values, 2)
        for x, y in product(values[a], values[b])
        if {(a, x), (b, y)} != {("disturbance", "broker-restart"), ("broker", "embedded")}
    }
    assert wanted - covered == set()


def test_every_disturbance_meets_the_common_case_on_both_ledgers() -> None:
    """600 a minute and 4 processes: each disturbance, on SQLite and on PostgreSQL."""
    rows, values = read_matrix()
    there = {(r.disturbance, r.ledger) for r in rows if (r.limit, r.processes) == (600, 4)}
    assert there == set(product(values["disturbance"], values["ledger"]))


def test_rows_are_possible_named_and_affordable() -> None:
    """Every row makes sense, has a name of its own and values that the columns list."""
    rows, values = read_matrix()
    assert max(Counter(row.name for row in rows).values()) == 1
    for row in rows:
        assert all(getattr(row, column) in listed for column, listed in values.items()), row
        assert possible({column: getattr(row, column) for column in values}), row
        assert row.cost >= 1


def evenly(per_second: float, seconds: int, began: float = 1_000.0) -> Seen:
    """What a server saw of mail that came at one pace."""
    count = int(per_second * seconds)
    return Seen(
        times=[began + n / per_second for n in range(count)],
        message_ids=[f"<{n}@x>" for n in range(count)],
        unknown_ids=frozenset(),
        published=count,
        open_jobs=0,
        mean_reply_seconds=0.25,
        longest_reply_seconds=0.5,
    )


def test_a_row_at_its_limit_holds() -> None:
    """60 mails in each minute of a limit of 60, all used, none lost: nothing to say."""
    result = judge(CALM, evenly(1.0, 200), Course(since=1_000.0, until=1_180.0))
    assert result.failures == ()
    assert (result.worst, result.lost, result.doubled) == (60, 0, 0)
    assert result.used == pytest.approx(1.0)


def test_one_mail_over_the_limit_fails_the_row() -> None:
    """A 61st mail inside any 60 s is told."""
    seen = evenly(1.0, 200)
    seen.times.append(1_100.5)
    seen.message_ids.append("<more@x>")
    result = judge(CALM, seen._replace(published=201), Course(since=1_000.0, until=1_180.0))
    assert result.failures == ("61 mails in 60 s, the limit is 60",)


def test_what_is_lost_doubled_or_unused_fails_the_row() -> None:
    """A missing mail, a copy that nobody calls unknown, half the limit left unused, an open job."""
    seen = evenly(0.5, 200)
    seen.message_ids[7] = seen.message_ids[6]
    course = Course(since=1_000.0, until=1_180.0)
    failures = judge(CALM, seen._replace(open_jobs=1), course).failures
    assert failures == (
        "50.00% of the limit used, 99.00% is needed",
        "1 mails never arrived",
        "1 doubled without being called unknown",
        "1 jobs are not final",
    )
    unknown = seen._replace(unknown_ids=frozenset({seen.message_ids[6]}))
    assert not any("doubled" in failure for failure in judge(CALM, unknown, course).failures)


def test_the_time_of_an_outage_counts_neither_as_possible_nor_as_used() -> None:
    """Thirty seconds without the ledger: what could be used is that much less."""
    seen = evenly(1.0, 200)
    kept = [n for n, at in enumerate(seen.times) if not 1_080.0 <= at < 1_110.0]
    seen = seen._replace(
        times=[seen.times[n] for n in kept],
        message_ids=[seen.message_ids[n] for n in kept],
        published=len(kept),
    )
    row = Row(60, 2, "ledger-restart", "sqlite", "embedded")
    course = Course(since=1_000.0, until=1_180.0, times=1)
    assert judge(row, seen, course).used == pytest.approx(0.75)
    course.take_out(1_080.0, 1_110.0)
    result = judge(row, seen, course)
    assert result.used == pytest.approx(1.0)
    assert result.failures == ()


def test_a_disturbance_that_never_happened_fails_the_row() -> None:
    """A row that was to be disturbed and was not proves nothing."""
    row = Row(60, 2, "kill", "sqlite", "embedded")
    result = judge(row, evenly(1.0, 200), Course(since=1_000.0, until=1_180.0))
    assert result.failures == ("nothing was disturbed",)


def test_a_short_backlog_is_counted_only_while_it_lasts() -> None:
    """Mail that has run out cannot leave: use is counted up to the last one."""
    result = judge(CALM, evenly(1.0, 150), Course(since=1_000.0, until=1_180.0))
    assert result.used == pytest.approx(1.0, abs=0.02)


def test_heavy_rows_run_beside_light_ones_only() -> None:
    """The dearest row that fits starts next; one that fits alone is not held back for ever."""
    heavy = Row(6000, 8, "none", "sqlite", "embedded")
    light = Row(30, 1, "none", "sqlite", "embedded")
    both = heavy.cost + light.cost
    assert next_to_start([light, heavy], spent=0, budget=both) == heavy
    assert next_to_start([light, heavy], spent=heavy.cost, budget=both) == light
    assert next_to_start([heavy], spent=heavy.cost, budget=both) is None
    assert next_to_start([heavy], spent=0, budget=1) == heavy
    assert next_to_start([], spent=0, budget=both) is None


def test_a_schedule_gives_back_what_each_command_said(tmp_path: Path) -> None:
    """Each runs as a process of its own; one that fails is told as well as one that does not."""
    rows = [Row(n, 1, "none", "sqlite", "embedded") for n in (30, 600)]

    def command(one: Costly) -> list[str]:
        return [sys.executable, "-c", f"print({one.name!r}); raise SystemExit({one.cost})"]

    begun: list[str] = []
    schedule = Schedule(tmp_path, 1, 6, command, begun.append)
    ended = {one.name: output.strip() for one, output, _ in schedule.run(rows)}
    assert ended == {row.name: row.name for row in rows}
    assert begun == [rows[1].name, rows[0].name]


def a_soak(megabytes: list[float], unacknowledged: list[int]) -> list[Sample]:
    """Samples of one process, ten seconds apart."""
    return [
        Sample(10.0 * n, {7: mb}, count)
        for n, (mb, count) in enumerate(zip(megabytes, unacknowledged, strict=True))
    ]


def judge_samples(samples: list[Sample], **fields: Any) -> tuple[str, ...]:
    """What a soak with these samples fails in, all else being well."""
    well: dict[str, Any] = {
        "minutes": 60.0,
        "intake_seconds": 9.0,
        "accepted": 1800,
        "worst": LIMIT,
        "used": 0.995,
        "mean_reply_seconds": 0.25,
        "consumer_timeouts": 0,
        "extra_attempts": 0,
    }
    return judge_soak(samples, **{**well, **fields}).failures


def test_a_soak_with_flat_memory_and_prompt_acks_holds() -> None:
    """Memory that grows while a worker warms up does not count; one busy look does not either."""
    flat = a_soak([50, 60, 80, 80, 81, 81, 82, 82], [0, 3, 0, 0, 2, 0, 0, 0])
    assert quarters(flat) == {7: [55.0, 80.0, 81.0, 82.0]}
    assert judge_samples(flat) == ()


def test_a_soak_tells_growth_late_acks_timeouts_and_attempts() -> None:
    """Each of the four things it is there for."""
    grows = a_soak([80, 80, 80, 80, 84, 84, 88, 88], [0, 1, 1, 1, 0, 0, 0, 0])
    assert longest_unacknowledged(grows) == 20.0
    assert judge_samples(grows, consumer_timeouts=1, extra_attempts=4, used=0.5) == (
        "50.00% of the limit used, 98.59% is needed",
        "RabbitMQ closed 1 channels for a late ack",
        "4 attempts beyond one a mail",
        "process 7 went from 80.0 to 88.0 MB",
        "messages were unacknowledged for 20 s",
    )


def test_a_soak_whose_processes_did_not_live_proves_nothing() -> None:
    """A process that was restarted is not followed: that fails, too."""
    samples = a_soak([80] * 8, [0] * 8)
    samples[5] = Sample(50.0, {8: 80.0}, 0)
    assert judge_samples(samples) == ("no process lived as long as the soak",)


def test_a_port_is_below_those_given_to_connections() -> None:
    """It can be bound now, and no connection is given it while its server is away."""
    port = free_port()
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert 1024 < port < first
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
