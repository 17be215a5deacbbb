"""The installed command, as a person and a script meet it: processes, a terminal, pipes."""

from __future__ import annotations

import json
import os
import pty
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.command import POSTMETER, make_environ, run
from tests.support.ledger import new_job
from worker.ledger import deliveries
from worker.ledger.ledger import Ledger

SYSTEM = """
[smtp]
server_address = "smtp.example.nz"
transport_security = "tls"
default_user = "jane"
batch_emails_per_min = 30
"""
LONG = (
    "550 5.1.1 the recipient's mailbox is not there, and the server has much to say about it " * 3
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The variables of an installation that no worker has used yet."""
    return make_environ(tmp_path, SYSTEM)


def accept(environ: dict[str, str], *job_ids: str, **changes: object) -> None:
    """Write jobs into the ledger, as a worker does."""
    ledger = Ledger(f"sqlite:///{environ['POSTMETER_STATE']}/ledger.db")
    try:
        for job_id in job_ids:
            row = new_job(job_id, company="_system", user="jane", **changes)
            ledger.call(lambda c, now, row=row: deliveries.accept(c, now, row))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    finally:
        ledger.close()


def on_terminal(environ: dict[str, str], *words: str) -> list[str]:
    """Run the command at a terminal of 80 columns; what it shows, without colours."""
    shown, terminal = pty.openpty()
    with subprocess.Popen(
        [POSTMETER, *words],
        env={**environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        text = b""
        while True:
            try:
                read = os.read(shown, 65536)
            except OSError:  # the last writer is gone
                break
            if not read:
                break
            text += read
        process.wait(60)
    os.close(shown)
    plain = text.decode().replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\r", "")
    return plain.splitlines()


def test_the_command_starts_quickly(environ: dict[str, str]) -> None:
    """Help costs less than 0.3 s of a processor, the best of five; no other process counts."""
    took = []
    for _ in range(5):
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(environ, "--help")
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime)
    assert min(took) < 0.3
    assert run(environ, "--version").stdout.startswith("postmeter ")


def test_exit_codes_tell_a_script_what_to_do(environ: dict[str, str]) -> None:
    """0 done, 1 failed, 2 wrong usage or settings, 3 unreachable; errors are one line on stderr."""
    unreachable = {**environ, "POSTMETER_BROKER_URL": "amqp://user:hush@127.0.0.1:9/"}
    one = ("send", "--to", "kim@example.org", "--subject", "Hello", "--text", "x")
    assert len(run(environ, *one).stdout.strip()) == 36
    for told in (
        run(environ, "status", exits=3),
        run(environ, "send", exits=2),
        run({**environ, "POSTMETER_QUEUE_TYPE": "odd"}, "status", exits=2),
    ):
        assert told.stdout == ""
        assert told.stderr.startswith("postmeter: ")
        assert told.stderr.count("\n") == 1
    accept(environ, "a")
    run(environ, "status", "nope", exits=1)
    refused = run(unreachable, *one, exits=3)
    assert "hush" not in refused.stderr


def test_everything_fits_a_terminal_of_80_columns(environ: dict[str, str]) -> None:
    """Long ids and long replies are broken, never cut and never wider than the terminal."""
    from worker.ledger.rows import State

    accept(environ, "a" * 36, state=State.DEAD, reason=LONG)
    accept(environ, "b" * 36, "c" * 36, batch_id="november", batch_index=0)
    for words in (
        ("status",),
        ("status", "a" * 36),
        ("status", "c" * 36),
        ("dead", "list"),
        ("lanes",),
        ("batch", "status", "november"),
        ("ledger", "check"),
    ):
        lines = on_terminal(environ, *words)
        assert lines
        assert max(map(len, lines)) <= 80, words
    listed = " ".join(on_terminal(environ, "dead", "list")).split()
    assert " ".join(LONG.split()) in " ".join(listed)


def test_several_commands_work_on_one_ledger_at_once(environ: dict[str, str]) -> None:
    """Twelve processes cancel, look and check at the same time; each does its work once."""
    ids = [f"job-{index}" for index in range(6)]
    accept(environ, *ids)
    with ThreadPoolExecutor(6) as pool:
        cancelled = [pool.submit(run, environ, "cancel", job_id) for job_id in ids]
        looks = [pool.submit(run, environ, "status", "--json") for _ in ids]
    assert [each.result().stdout for each in cancelled] == [f"cancelled: {each}\n" for each in ids]
    assert all(json.loads(each.result().stdout)["companies"] for each in looks)
    assert json.loads(run(environ, "ledger", "check", "--json").stdout)["jobs"] == {"cancelled": 6}


def test_a_reader_that_has_enough_ends_the_command_quietly(environ: dict[str, str]) -> None:
    """``postmeter dead list | head -1`` leaves no traceback."""
    from worker.ledger.rows import State

    accept(environ, *(f"{index:036}" for index in range(400)), state=State.DEAD, reason=LONG)
    done = subprocess.run(
        ["sh", "-c", f"'{POSTMETER}' dead list --most 400 | head -1"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("JOB")


def test_the_module_is_the_same_command(environ: dict[str, str]) -> None:
    """``python -m worker`` is ``postmeter``."""
    done = subprocess.run(
        [sys.executable, "-m", "worker", "--version"],
        env=environ,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == run(environ, "--version").stdout
