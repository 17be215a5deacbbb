"""The sink as a program: a mail server for trying things out, on a port that is known."""

from __future__ import annotations

import smtplib
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.rabbitmq import free_port

if TYPE_CHECKING:
    from pathlib import Path


def sink(folder: Path, port: int) -> subprocess.Popen[str]:
    """Start one; it may fail."""
    return subprocess.Popen(
        [sys.executable, "-m", "worker.demo.sink", "--port", str(port), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def first_words(program: subprocess.Popen[str]) -> str:
    """What it says when it has started, or why it has not."""
    assert program.stdout is not None
    return program.stdout.readline()


def test_it_keeps_mail_over_a_restart_and_says_why_it_cannot_listen(tmp_path: Path) -> None:
    """Numbers go on where the last run ended; of two on one port, the second ends with 1."""
    port = free_port()
    for number in (1, 2):
        with sink(tmp_path, port) as program:
            try:
                assert first_words(program).startswith(f"taking mail on 127.0.0.1:{port}")
                with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
                    client.sendmail("a@example.nz", "b@example.nz", f"Subject: {number}\n\nHello\n")
                with sink(tmp_path, port) as second:
                    assert first_words(second).startswith("cannot listen")
                    assert second.wait(60) == 1
                program.terminate()
                assert program.wait(60) == 0
            finally:
                program.kill()
    kept = {path.name: path.read_text("ascii") for path in tmp_path.glob("*.eml")}
    assert sorted(kept) == ["000001.eml", "000002.eml"]
    assert "Subject: 2" in kept["000002.eml"]
