"""A private Postfix with Dovecot's SASL: own queue, own ports, gone without a trace.

Postfix's master needs root. The system's own mail service, of whatever kind, is not touched: only
the programs are used, from ``/`` or, where the package was unpacked aside (beside an exim4), from
``POSTFIX_ROOT``. Nothing here needs pytest.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.private_server import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.certificates import Certificates

# When the process that started the servers is killed, its end of the pipe closes: clean up then.
_WATCHDOG = (
    'read -r _; kill -TERM "$(tr -d " " < "$1/queue/pid/master.pid")" 2>/dev/null; '
    'kill -TERM "$2" 2>/dev/null; sleep 1; rm -rf -- "$1"'
)
MISSING = "no Postfix to start here: needs root, and the packages postfix and dovecot-core"
_SASL = "-o smtpd_sasl_auth_enable=yes"
_STARTTLS = "-o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes"
_PIN = "-o smtpd_tls_protocols={0} -o smtpd_tls_mandatory_protocols={0}"
LISTENERS = {
    "clear": f"{_SASL} -o smtpd_tls_security_level=none -o smtpd_tls_auth_only=no",
    "starttls": _STARTTLS,
    "implicit": f"{_STARTTLS} -o smtpd_tls_wrappermode=yes",
    "tls12": f"{_STARTTLS} {_PIN.format('TLSv1.2')}",
    "tls13": f"{_STARTTLS} {_PIN.format('TLSv1.3')}",
    "authenticated": f"{_STARTTLS} -o smtpd_relay_restrictions=permit_sasl_authenticated,reject",
}
"""Every listener by name; all but the last take mail without a login, and all offer one."""

_MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
shlib_directory = {root}/usr/lib/postfix
meta_directory = {root}/etc/postfix
mail_owner = {owner}
setgid_group = {group}
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
import_environment = MAIL_CONFIG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH={root}/usr/lib/postfix
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.example.nz
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
transport_maps = static:discard:
smtpd_relay_restrictions = permit_mynetworks,reject
smtpd_peername_lookup = no
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_tls_auth_only = yes
smtpd_tls_chain_files = {key},{chain}
smtpd_tls_loglevel = 1
message_size_limit = 1000000
"""
_SERVICES = """\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
_DOVECOT_CONF = """\
base_dir = {folder}/dovecot
state_dir = {folder}/dovecot
log_path = {folder}/dovecot.log
protocols =
ssl = no
auth_mechanisms = plain login
auth_failure_delay = 0
disable_plaintext_auth = no
passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  unix_listener {folder}/queue/private/auth {{
    mode = 0660
    user = {owner}
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""


class PostfixServer:
    """One Postfix and one Dovecot that belong to the caller alone; a context manager.

    Args:
        certificates: the server's certificate.
        users: name and password of who may log in; an empty password lets any pass.
    """

    def __init__(self, certificates: Certificates, users: dict[str, str]) -> None:
        self.ports = {name: free_port() for name in LISTENERS}
        self._root = os.environ.get("POSTFIX_ROOT", "").rstrip("/")
        self._folder = Path(tempfile.mkdtemp(prefix="postmeter-postfix-", dir="/tmp"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._prepare(certificates, users)

    @staticmethod
    def available() -> bool:
        """Whether this machine lets us start one."""
        root = os.environ.get("POSTFIX_ROOT", "")
        programs = (Path(f"{root}/usr/sbin/postfix"), Path("/usr/sbin/dovecot"))
        return os.geteuid() == 0 and all(program.is_file() for program in programs)

    @property
    def log(self) -> str:
        """Everything Postfix has logged so far."""
        path = self._folder / "mail.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def session_log(self, listener: str, since: int, timeout_seconds: float = 10.0) -> str:
        """Return what a listener logged from position ``since`` until a client left.

        Raises:
            TimeoutError: no client has left.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            lines = [x for x in self.log[since:].splitlines() if f"postfix/{listener}/" in x]
            if any(": disconnect from" in line for line in lines):
                return "\n".join(lines)
            time.sleep(0.02)
        raise TimeoutError(f"no client has left {listener}: {self.log[since:]}")

    def __enter__(self) -> Self:
        try:
            self._start("/usr/sbin/dovecot", "-F", "-c", str(self._folder / "dovecot.conf"))
            self._wait((self._folder / "queue/private/auth").exists)
            dovecot = str(self._processes[0].pid)
            folder = str(self._folder)
            self._watchdog = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHDOG, "watchdog", folder, dovecot],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
            postfix = f"{self._root}/usr/sbin/postfix"
            self._start(postfix, "-c", str(self._folder / "config"), "start-fg")
            for port in self.ports.values():
                self._wait(partial(_listens, port))
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

    def _prepare(self, certificates: Certificates, users: dict[str, str]) -> None:
        folder = self._folder
        folder.chmod(0o755)
        for name in ("config", "queue", "queue/private", "data", "dovecot"):
            (folder / name).mkdir(mode=0o755)
        owner, group = _owner(), _group()
        shutil.chown(folder / "data", owner)
        shutil.chown(folder / "queue/private", owner)
        (folder / "queue/private").chmod(0o700)
        shutil.copy(certificates.key_file, folder / "server.key")
        shutil.copy(certificates.chain_file, folder / "server.pem")
        values = {
            "folder": folder,
            "root": self._root,
            "owner": owner,
            "group": group,
            "key": folder / "server.key",
            "chain": folder / "server.pem",
        }
        listeners = "".join(
            f"127.0.0.1:{self.ports[name]} inet n - n - - smtpd"
            f" -o syslog_name=postfix/{name} {options}\n"
            for name, options in LISTENERS.items()
        )
        (folder / "config/main.cf").write_text(_MAIN_CF.format(**values))
        (folder / "config/master.cf").write_text(listeners + _SERVICES)
        (folder / "dovecot.conf").write_text(_DOVECOT_CONF.format(**values))
        rows = (
            f"{user}:{password}::::::{'' if password else 'nopassword=y'}\n"
            for user, password in users.items()
        )
        (folder / "users").write_text("".join(rows))

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

    def _wait(self, done: Callable[[], bool], timeout_seconds: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not done():
            ended = [p.args for p in self._processes if p.poll() is not None]
            if ended or time.monotonic() > deadline:
                said = (self._folder / "output").read_text("utf-8", "replace")
                raise RuntimeError(f"Postfix did not start: {ended} {said} {self.log[-2000:]}")
            time.sleep(0.02)


def _owner() -> str:
    return next((user.pw_name for user in pwd.getpwall() if user.pw_name == "postfix"), "daemon")


def _group() -> str:
    return next((g.gr_name for g in grp.getgrall() if g.gr_name == "postdrop"), "operator")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
