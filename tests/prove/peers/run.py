"""A peer under the same load: two worker processes, the same receiving server, the same judge."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.prove.judging import WINDOW_SECONDS, Course, use_of
from tests.support.private_server import end_group, free_port, wait_for_port
from tests.support.rabbitmq import RabbitServer
from tests.support.smtp_sink import SmtpSink, read_record
from worker.demo.figures import worst_window

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-prove" / "bin" / "python"
MISSING_REDIS = "no Redis here: install redis-server (Debian: apt-get install redis-server)"
MISSING_PEERS = f"no Celery here: `make prove` installs it into {PYTHON.parents[1].name}"
MINUTES = 3
DELAY_SECONDS = 0.5
START_SECONDS = 60.0
WORKERS = 2
_CELERY = ("-m", "celery", "-A", "tests.prove.peers.celery_app", "worker")
_CELERY_OPTIONS = ("-c", "4", "--without-gossip", "--without-mingle", "-l", "INFO")
_READY = re.compile(r"@localhost ready\.|Worker process is ready for action\.")
_DRAMATIQ = ("-m", "dramatiq", "tests.prove.peers.dramatiq_app", "-p", "2", "-t", "8")


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to limit: its application, how it is started, and what it costs the machine.

    Attributes:
        workers: the commands that make two worker processes.
    """

    name: str
    title: str
    limiter: str
    module: str
    workers: tuple[tuple[str, ...], ...]
    cost: int


@dataclass(frozen=True, slots=True)
class PeerResult:
    """What the receiving server saw of a peer; ``failures`` only where it could not be run.

    Attributes:
        tries: how often each of its processes took a mail in hand.
    """

    peer: str
    title: str
    limit: int
    worst: int
    used: float
    tries: list[int]
    tries_a_mail: float
    doubled: int
    failures: tuple[str, ...]


def _celery(number: int) -> tuple[str, ...]:
    return (*_CELERY, "-n", f"peer{number}@localhost", *_CELERY_OPTIONS)


_APPS = "tests.prove.peers."
PEERS = (
    Peer(
        "celery-each",
        "Celery `rate_limit`, as written",
        "each",
        f"{_APPS}celery_app",
        (_celery(1), _celery(2)),
        2,
    ),
    Peer(
        "celery-divided",
        "Celery `rate_limit`, half for each of two workers",
        "divided",
        f"{_APPS}celery_app",
        (_celery(1), _celery(2)),
        2,
    ),
    Peer(
        "dramatiq-bucket",
        "Dramatiq `BucketRateLimiter`",
        "bucket",
        f"{_APPS}dramatiq_app",
        (_DRAMATIQ,),
        4,
    ),
    Peer(
        "dramatiq-window",
        "Dramatiq `WindowRateLimiter`",
        "window",
        f"{_APPS}dramatiq_app",
        (_DRAMATIQ,),
        4,
    ),
)


def missing() -> list[str]:
    """What has to be installed before peers can run, in sentences."""
    found = [] if shutil.which("redis-server") else [MISSING_REDIS]
    return found if PYTHON.exists() else [*found, MISSING_PEERS]


def run_peer(peer: Peer, limit: int, root: Path) -> PeerResult:
    """Run a peer for three minutes under a backlog.

    Raises:
        RuntimeError: it does not work; the message says where its log is.
    """
    folder = root / f"peer-{peer.name}-{limit}"
    folder.mkdir(parents=True)
    record = folder / "accepted.txt"
    port = free_port()
    with ExitStack() as stack:
        sink = stack.enter_context(SmtpSink(record, delay_seconds=DELAY_SECONDS, seed=limit))
        own = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        stack.enter_context(_running(["redis-server", *own], folder, {}))
        wait_for_port(port, START_SECONDS)
        environ = {
            "PEER_LIMIT": str(limit),
            "PEER_LIMITER": peer.limiter,
            "PEER_BROKER_URL": stack.enter_context(RabbitServer()).url,
            "PEER_REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "PEER_SMTP_PORT": str(sink.port),
        }
        for command in peer.workers:
            stack.enter_context(_running([str(PYTHON), *command], folder, environ))
        # Both processes are there when the mail comes, as in service: one alone would take it all.
        _wait_until_ready(folder / "log", WORKERS)
        mails = int(limit * (MINUTES + 0.25))
        publish = [str(PYTHON), "-m", peer.module, str(mails)]
        subprocess.run(publish, cwd=ROOT, env={**os.environ, **environ}, check=True)
        deadline = time.monotonic() + START_SECONDS
        while not sink.count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{peer.title} sent nothing; its log is in {folder}")
            time.sleep(0.05)
        time.sleep(MINUTES * WINDOW_SECONDS)
        tries = _tries(port)
    return _result(peer, limit, record, tries)


def _result(peer: Peer, limit: int, record: Path, tries: list[int]) -> PeerResult:
    arrivals = read_record(record)
    times = [arrival.at for arrival in arrivals]
    course = Course(min(times), min(times) + MINUTES * WINDOW_SECONDS)
    copies = Counter(arrival.message_id for arrival in arrivals)
    counted, possible = use_of(limit, times, course)
    return PeerResult(
        peer=peer.name,
        title=peer.title,
        limit=limit,
        worst=worst_window(times, WINDOW_SECONDS),
        used=counted / possible,
        tries=tries,
        tries_a_mail=sum(tries) / len(copies),
        doubled=sum(count > 1 for count in copies.values()),
        failures=(),
    )


def _wait_until_ready(log: Path, workers: int) -> None:
    """Wait until so many worker processes say that they take mail.

    Raises:
        RuntimeError: they do not.
    """
    deadline = time.monotonic() + START_SECONDS
    while len(_READY.findall(log.read_text("utf-8", "replace"))) < workers:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the peer's workers are not ready; their log is {log}")
        time.sleep(0.1)


def _tries(port: int) -> list[int]:
    """How often each process of a peer took a mail in hand, which it counts in its Redis."""
    command = ["redis-cli", "-p", str(port), "hvals", "tries"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(line) for line in told.stdout.split()]


@contextmanager
def _running(command: list[str], folder: Path, environ: dict[str, str]) -> Iterator[None]:
    """Run a command for the length of a block; nothing of its group is left behind."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        end_group(process, signal.SIGTERM, 20.0)


__all__ = ["PEERS", "Peer", "PeerResult", "missing", "run_peer"]
