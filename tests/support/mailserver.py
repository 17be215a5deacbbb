"""A mail server of the tests' own, Postfix with Dovecot's logins: own address, gone without a trace.

Postfix's master needs root. The system's own mail service, of whatever kind, is not touched. Every
server has an address of 127.0.0.0/8 to itself, so that its listeners are on the true ports (25, 465,
587), and settings with ``tls_mode = "auto"`` mean what they mean in the world.

Nothing here needs pytest.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import trustme

from tests.support import dovecot, postfix
from tests.support.private_server import free_port
from tests.support.waiting import GENEROUS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MISSING = "no mail server to start here: needs root, and the packages postfix and dovecot-core"

# When the process that started the servers is killed, its end of the pipe closes: clean up then.
_WATCHDOG = (
    'read -r _; kill -TERM "$(tr -d " " < "$1/queue/pid/master.pid")" 2>/dev/null; '
    'kill -TERM "$2" 2>/dev/null; sleep 1; rm -rf -- "$1"'
)
_LINE = re.compile(r"postfix/(\S+)/smtpd\[(\d+)\]: (.*)")
_TLS = re.compile(r"TLS connection established from \S+: (TLSv\S+)")
_NAMED = re.compile(r"\bhelo=<([^>]*)>")
_LOGGED_IN = re.compile(r"sasl_method=(\S+), sasl_username=(\S+)")
_LOGINS = re.compile(r"\bauth=(\d+)(?:/(\d+))?")


@dataclass(slots=True)
class LoggedSession:
    """One connection as Postfix has logged it.

    Attributes:
        name: what the client called itself; empty if it never did.
        tls: the version, or None in clear.
        tried: how many logins were tried, and ``logins`` how many of them succeeded.
        users: (mechanism, user) of each mail that was taken from somebody logged in.
        over: whether the client has left.
    """

    listener: str
    name: str = ""
    tls: str | None = None
    tried: int = 0
    logins: int = 0
    users: list[tuple[str, str]] = field(default_factory=list)
    over: bool = False
    lines: list[str] = field(default_factory=list)

    def _read(self, line: str) -> None:
        self.lines.append(line)
        if found := _NAMED.search(line):
            self.name = found[1]
        if found := _TLS.search(line):
            self.tls = found[1]
        if found := _LOGGED_IN.search(line):
            self.users.append((found[1], found[2]))
        if line.startswith("disconnect from"):
            self.over = True
            if found := _LOGINS.search(line):
                self.logins, self.tried = int(found[1]), int(found[2] or found[1])


def read_log(text: str) -> list[LoggedSession]:
    """Return the sessions of a log, in the order they began."""
    found: list[LoggedSession] = []
    current: dict[str, LoggedSession] = {}
    for line in text.splitlines():
        if (match := _LINE.search(line)) is None:
            continue
        listener, process, rest = match.groups()
        if rest.startswith("connect from"):
            current[process] = LoggedSession(listener)
            found.append(current[process])
        if process in current:
            current[process]._read(rest)
    return found


class MailServer:
    """One Postfix and one Dovecot that belong to the caller alone; a context manager.

    Args:
        users: name and password of who may log in; an empty password lets any pass.
        tokens: whose access tokens are taken; None: of nobody.

    Attributes:
        address: where it listens.
        ports: of the listeners, by the names of ``postfix.LISTENERS``.
        ca_file: the authority of its certificate; that of ``stranger-…`` (another server's name) and
            ``expired-…`` too.
        private_ca_file: the authority of the certificate of ``private-…``.
    """

    def __init__(self, users: Mapping[str, str], tokens: dovecot.TokenKeys | None = None) -> None:
        self.address = ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])
        self.ports = _choose_ports()
        self._folder = Path(tempfile.mkdtemp(prefix="postmeter-mailserver-", dir="/tmp"))
        self._folder.chmod(0o755)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._watchdog: subprocess.Popen[bytes] | None = None
        self.ca_file = self._folder / "ca.pem"
        self.private_ca_file = self._folder / "private-ca.pem"
        self._make_certificates()
        self._postfix_config = postfix.write_config(self._folder, self.address, self.ports)
        self._dovecot_config = dovecot.write_config(self._folder, postfix.owner(), users, tokens)

    @staticmethod
    def available() -> bool:
        """Whether this machine lets us start one."""
        programs = (Path(postfix.program()), Path(dovecot.PROGRAM))
        return os.geteuid() == 0 and all(program.is_file() for program in programs)

    @property
    def log(self) -> str:
        """Everything Postfix has logged so far."""
        path = self._folder / "mail.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def all_sessions(self) -> list[LoggedSession]:
        """What every listener has seen so far."""
        return read_log(self.log)

    def sessions(self, listener: str) -> list[LoggedSession]:
        """What one listener has seen so far."""
        return [session for session in read_log(self.log) if session.listener == listener]

    def most_at_once(self, listener: str) -> int:
        """Return how many connections a listener had at the same time, at most."""
        now = most = 0
        for line in self.log.splitlines():
            if f"postfix/{listener}/smtpd[" in line:
                now += ("]: connect from" in line) - ("]: disconnect from" in line)
                most = max(most, now)
        return most

    def session(self, name: str, timeout_seconds: float = GENEROUS_SECONDS) -> LoggedSession:
        """Return the session of the client that called itself so, when it is over.

        Raises:
            TimeoutError: there is none.
        """
        return self.sessions_of(name, 1, timeout_seconds)[0]

    def sessions_of(
        self, name: str, count: int, timeout_seconds: float = GENEROUS_SECONDS
    ) -> list[LoggedSession]:
        """Return the sessions of a client, when there are so many and all are over.

        Raises:
            TimeoutError: there are fewer.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            found = [session for session in read_log(self.log) if session.name == name]
            if len(found) >= count and all(session.over for session in found):
                return found
            time.sleep(0.02)
        raise TimeoutError(f"no {count} sessions of {name}: {self.log[-4000:]}")

    def __enter__(self) -> Self:
        try:
            self._start(dovecot.PROGRAM, "-F", "-c", str(self._dovecot_config))
            self._wait((self._folder / "queue/private/auth").exists)
            started = str(self._processes[0].pid)
            self._watchdog = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(self._folder), started],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
            self._start(postfix.program(), "-c", str(self._postfix_config), "start-fg")
            # In the order of master.cf: when the last one listens, all do. Not asked for each, since
            # every connection costs Postfix a process.
            self._wait(partial(self._listens, [*self.ports.values()][-1]))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End both servers and their children, and remove the folder."""
        with contextlib.suppress(OSError, ValueError):
            # Postfix's master leaves the session it was started in; on SIGTERM it ends its children.
            master = int((self._folder / "queue/pid/master.pid").read_text())
            os.kill(master, signal.SIGTERM)
        for process in reversed(self._processes):
            try:
                process.wait(5 if process is self._processes[-1] else 0)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(10)
        self._processes.clear()
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make_certificates(self) -> None:
        authority, private = trustme.CA(), trustme.CA()
        authority.cert_pem.write_to_path(self.ca_file)
        private.cert_pem.write_to_path(self.private_ca_file)
        yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        made = {
            "good": authority.issue_cert(self.address),
            "private": private.issue_cert(self.address),
            "stranger": authority.issue_cert("mail.stranger.example"),
            "expired": authority.issue_cert(
                self.address,
                not_before=yesterday - dt.timedelta(days=30),
                not_after=yesterday,
            ),
        }
        for name, certificate in made.items():
            certificate.private_key_and_cert_chain_pem.write_to_path(self._folder / f"{name}.pem")

    def _start(self, *command: str) -> None:
        with (self._folder / "output").open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
            )
        self._processes.append(process)

    def _listens(self, port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.address, port)) == 0

    def _wait(self, done: Callable[[], bool], timeout_seconds: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not done():
            ended = [p.args for p in self._processes if p.poll() is not None]
            if ended or time.monotonic() > deadline:
                said = (self._folder / "output").read_text("utf-8", "replace")
                raise RuntimeError(f"no mail server: {ended} {said} {self.log[-2000:]}")
            time.sleep(0.02)


def _choose_ports() -> dict[str, int]:
    """A port for every listener: its own, or a free one that no other has been given."""
    free: set[int] = set()
    while len(free) < len(postfix.LISTENERS):
        free.add(free_port())
    return {name: item.port or free.pop() for name, item in postfix.LISTENERS.items()}
