"""A receiving server for proofs: fast, with random reply delays, and a record of every acceptance.

As a program: ``python -m tests.support.smtp_sink --port 2525 --record accepted.txt --delay 1.0``.
Each line of the record is the time of acceptance (``time.monotonic``), the Message-ID and a
recipient, separated by tabs; it is written before the acceptance can be read by the sender.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.smtpd import Accepted, SmtpServer

_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>]*>)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Arrival:
    """One line of the record."""

    at: float
    message_id: str
    recipient: str


class SmtpSink(SmtpServer):
    """A server that accepts everything and writes down when.

    Args:
        record: where the acceptances go; a file that is there is added to.
        delay_seconds: replies come after a random time between 0 and this.
        slow_seconds: one in a hundred comes after this instead; 0: none does.
        seed: of the random numbers.
        keep: where each mail is kept as an ``.eml`` file; absent: nowhere.
        port: 0 takes a free one.
        tls: offer STARTTLS with this server context.
        users: who may log in, over TLS.
    """

    def __init__(
        self,
        record: Path,
        *,
        delay_seconds: float = 0.0,
        slow_seconds: float = 0.0,
        seed: int = 1,
        keep: Path | None = None,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        users: dict[str, str] | None = None,
    ) -> None:
        super().__init__(port=port, tls=tls, users=users)
        self._random = random.Random(seed)
        self._delay_seconds = delay_seconds
        self._slow_seconds = slow_seconds
        self._keep = keep
        self._record_path = record
        self._record = -1
        self._held_seconds = 0.0
        self._held_once: list[float] = []
        self._delays = 0
        self._delayed_seconds = 0.0
        self.longest_delay_seconds = 0.0
        self.count = 0

    def __enter__(self) -> Self:
        self._record = os.open(self._record_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        os.close(self._record)

    def hold_replies(self, seconds: float) -> None:
        """From now on reply to each mail only after so long."""
        self._held_seconds = seconds

    def hold_one_reply(self, seconds: float) -> None:
        """Reply to the next mail only after so long; to the others as before."""
        self._held_once.append(seconds)

    @property
    def mean_delay_seconds(self) -> float:
        """How long a mail has waited for its reply on average."""
        return self._delayed_seconds / self._delays if self._delays else 0.0

    def dot_delay_seconds(self) -> float:
        """Return how long this mail waits, and keep count; same seed, same random numbers."""
        seconds = self._next_delay_seconds()
        self._delays += 1
        self._delayed_seconds += seconds
        self.longest_delay_seconds = max(self.longest_delay_seconds, seconds)
        return seconds

    def _next_delay_seconds(self) -> float:
        if self._held_once:
            return self._held_once.pop()
        if self._held_seconds:
            return self._held_seconds
        if not self._delay_seconds:
            return 0.0
        if self._slow_seconds and self._random.random() < 0.01:
            return self._slow_seconds
        return self._random.random() * self._delay_seconds

    def accepted(self, mail: Accepted) -> None:
        """Write the acceptance down; the session's transcript is dropped, or it would grow."""
        self.count += 1
        found = _MESSAGE_ID.search(mail.content)
        message_id = found[1].decode("ascii", "replace") if found else "-"
        lines = "".join(f"{mail.at:.6f}\t{message_id}\t{to}\n" for to in mail.recipients)
        os.write(self._record, lines.encode())
        if self._keep is not None:
            (self._keep / f"{self.count:06d}.eml").write_bytes(mail.content)
        mail.session.transcript.clear()


def read_record(path: Path) -> list[Arrival]:
    """Return what a sink wrote, in the order of acceptance."""
    rows = (line.split("\t") for line in path.read_text("utf-8").splitlines())
    return [Arrival(float(at), message_id, to) for at, message_id, to in rows]


def main(arguments: list[str] | None = None) -> None:
    """Run a sink until SIGTERM or SIGINT; the port is the first line of its output."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds, at most")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds, one in a hundred")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for .eml files")
    parser.add_argument("--certificate", type=Path, help="offer STARTTLS: certificate and key, PEM")
    parser.add_argument("--user", default="", help="offer AUTH: name:password")
    options = parser.parse_args(arguments)
    tls = None
    if options.certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.certificate)
    name, _, password = options.user.partition(":")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    sink = SmtpSink(
        options.record,
        delay_seconds=options.delay,
        slow_seconds=options.slow,
        seed=options.seed,
        keep=options.keep,
        port=options.port,
        tls=tls,
        users={name: password} if name else None,
    )
    with sink:
        print(sink.port, flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
