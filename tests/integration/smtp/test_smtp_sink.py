"""The receiving server of demos and proofs: its record is complete and its delays are repeatable."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.support.deliveries import deliver, make_mail
from tests.support.settings import make_settings
from tests.support.smtp_sink import SmtpSink, read_record
from worker.demo.figures import worst_window
from worker.transports.smtp import SmtpTransport

if TYPE_CHECKING:
    from pathlib import Path


async def send(port: int, count: int) -> None:
    """Deliver some mails at once."""
    transport = SmtpTransport()
    mail = make_mail("bob@example.nz", "eve@example.nz")
    settings = make_settings(port=port)
    await asyncio.gather(*(deliver(transport, settings, mail=mail) for _ in range(count)))
    await transport.close()


def test_every_acceptance_is_recorded(tmp_path: Path) -> None:
    """One line for each recipient, with a time inside the run; mails are kept where asked."""
    record = tmp_path / "record"
    before = time.monotonic()
    with SmtpSink(record, delay_seconds=0.01, slow_seconds=0.02, keep=tmp_path) as sink:
        asyncio.run(send(sink.port, 50))
    arrivals = read_record(record)
    assert len(arrivals) == 100
    assert {arrival.message_id for arrival in arrivals} == {"<1@example.nz>"}
    assert {arrival.recipient for arrival in arrivals} == {"bob@example.nz", "eve@example.nz"}
    assert all(before < arrival.at < time.monotonic() for arrival in arrivals)
    assert len(list(tmp_path.glob("*.eml"))) == 50


def test_delays_repeat_with_the_seed(tmp_path: Path) -> None:
    """The same seed gives the same delays, all within bounds, a few of them slow."""

    def delays(seed: int) -> list[float]:
        sink = SmtpSink(tmp_path / "record", delay_seconds=1.0, slow_seconds=2.0, seed=seed)
        try:
            return [sink.dot_delay_seconds() for _ in range(2000)]
        finally:
            sink.loop.close()

    first = delays(7)
    assert first == delays(7) != delays(8)
    assert 5 < first.count(2.0) < 60
    assert all(0 <= delay < 1 for delay in first if delay != 2.0)


def test_program_prints_its_port_and_ends_on_sigterm(tmp_path: Path) -> None:
    """As a program it takes mails until it is told to stop, and ends well."""
    record = tmp_path / "record"
    command = [sys.executable, "-m", "tests.support.smtp_sink", "--record", str(record)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as sink:
        assert sink.stdout is not None
        asyncio.run(send(int(sink.stdout.readline()), 3))
        sink.send_signal(signal.SIGTERM)
        assert sink.wait(10) == 0
    assert len(read_record(record)) == 6


def test_worst_window_is_half_open() -> None:
    """What comes exactly a window later is in the next one."""
    assert worst_window([], 60) == 0
    assert worst_window([0.0, 30.0, 60.0, 61.0, 89.9], 60) == 4
    assert worst_window([0.0, 60.0, 120.0], 60) == 1
