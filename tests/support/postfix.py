"""Postfix as the tests configure it: one listener for each way of talking to a mail server.

The programs are used from ``/`` or, where the package was unpacked aside (beside an exim4), from
``POSTFIX_ROOT``.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_MESSAGE_BYTES: Final = 1_000_000
MAX_CONNECTIONS: Final = 3
"""How many connections the listener ``capped`` takes at a time; one more is refused."""

VERSIONS: Final = {"tls10": "TLSv1", "tls11": "TLSv1.1", "tls12": "TLSv1.2", "tls13": "TLSv1.3"}
"""The only TLS version of a listener, in Postfix's spelling, by the start of its name."""

_CLEAR = "-o smtpd_tls_security_level=none"
_OPTIONAL = "-o smtpd_tls_security_level=may"
_STARTTLS = "-o smtpd_tls_security_level=encrypt"
_IMPLICIT = f"{_STARTTLS} -o smtpd_tls_wrappermode=yes"
_LOGIN = "-o smtpd_sasl_auth_enable=yes"
_LOGIN_IN_CLEAR = f"{_LOGIN} -o smtpd_tls_auth_only=no"
_PIN = "-o smtpd_tls_protocols={0} -o smtpd_tls_mandatory_protocols={0}"
_SHOW = "-o smtpd_tls_chain_files={{folder}}/{0}.pem"
_ONLY = "-o smtpd_sasl_mechanism_filter={0}"


@dataclass(frozen=True, slots=True)
class Listener:
    """What master.cf says of it, and the port where that matters; None for any."""

    options: str
    port: int | None = None


def _listeners() -> dict[str, Listener]:
    found = {
        "relay": Listener(_OPTIONAL, 25),
        "submission": Listener(f"{_STARTTLS} {_LOGIN}", 587),
        "submissions": Listener(f"{_IMPLICIT} {_LOGIN}", 465),
        "submissions2": Listener(f"{_IMPLICIT} {_LOGIN}", 2465),
    }
    others = {
        "clear": f"{_CLEAR} {_LOGIN_IN_CLEAR}",
        "bare": _CLEAR,
        "late-login": f"{_OPTIONAL} {_LOGIN}",
        "starttls": f"{_STARTTLS} {_LOGIN}",
        "implicit": f"{_IMPLICIT} {_LOGIN}",
        "login-only": f"{_STARTTLS} {_LOGIN} {_ONLY.format('login')}",
        "passwords-only": f"{_STARTTLS} {_LOGIN} {_ONLY.format('plain')}",
        "tokens-only": f"{_STARTTLS} {_LOGIN} {_ONLY.format('xoauth2')}",
        "authenticated": (
            f"{_STARTTLS} {_LOGIN} -o smtpd_relay_restrictions=permit_sasl_authenticated,reject"
        ),
        "capped": (
            f"{_CLEAR} {_LOGIN_IN_CLEAR} -o smtpd_client_event_limit_exceptions="
            f" -o smtpd_client_connection_count_limit={MAX_CONNECTIONS}"
            " -o {{ smtpd_data_restrictions = sleep 1 }}"
        ),
    }
    for way, options in (("starttls", _STARTTLS), ("implicit", _IMPLICIT)):
        for name, version in VERSIONS.items():
            others[f"{name}-{way}"] = f"{options} {_LOGIN} {_PIN.format(version)}"
        for certificate in ("private", "stranger", "expired"):
            others[f"{certificate}-{way}"] = f"{options} {_LOGIN} {_SHOW.format(certificate)}"
    return found | {name: Listener(options) for name, options in others.items()}


LISTENERS: Final[Mapping[str, Listener]] = _listeners()
"""Every listener by name.

* ``relay``: STARTTLS offered, not wanted; no login. ``bare``: neither TLS nor login.
* ``submission``, ``submissions``, ``submissions2``: what their well-known ports promise;
  ``starttls`` and ``implicit`` are the same on other ports.
* ``clear``: a login without TLS. ``late-login``: TLS or not, but a login only with it.
* ``login-only``, ``passwords-only``, ``tokens-only``: LOGIN, PLAIN or XOAUTH2 and nothing else.
* ``tls10-starttls`` … ``tls13-implicit``: exactly that version; all others have every one.
* ``private-…``, ``stranger-…``, ``expired-…``: another certificate (see ``mailserver``).
* ``authenticated``: refuses recipients without a login. ``capped``: ``MAX_CONNECTIONS`` at a time, and
  a second for each mail, without TLS.
"""

# Each EHLO is logged, with its name: that is how a test finds its own session. The security level 0
# is OpenSSL's price for TLS 1.0 and 1.1.
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
smtpd_delay_reject = no
smtpd_helo_restrictions = check_helo_access static:INFO
smtpd_relay_restrictions = permit_mynetworks,reject
smtpd_peername_lookup = no
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_tls_auth_only = yes
smtpd_tls_chain_files = {folder}/good.pem
smtpd_tls_protocols = >=TLSv1
smtpd_tls_mandatory_protocols = >=TLSv1
smtpd_tls_mandatory_ciphers = medium
tls_medium_cipherlist = DEFAULT:@SECLEVEL=0
smtpd_tls_loglevel = 1
message_size_limit = {size}
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


def root() -> str:
    """The folder that Postfix's own folders are in; empty for ``/``."""
    return os.environ.get("POSTFIX_ROOT", "").rstrip("/")


def program() -> str:
    """The command that starts Postfix."""
    return f"{root()}/usr/sbin/postfix"


def owner() -> str:
    """Who Postfix runs as."""
    return next((user.pw_name for user in pwd.getpwall() if user.pw_name == "postfix"), "daemon")


def write_config(folder: Path, address: str, ports: Mapping[str, int]) -> Path:
    """Write the configuration with all its listeners; its folder.

    Args:
        folder: of the whole mail server.
        address: where it listens.
        ports: of every listener.

    The certificates are to be ``good.pem``, ``private.pem``, ``stranger.pem`` and ``expired.pem`` in
    ``folder``, each with its key first.
    """
    for name in ("config", "queue", "queue/private", "data"):
        (folder / name).mkdir(mode=0o755)
    shutil.chown(folder / "data", owner())
    shutil.chown(folder / "queue/private", owner())
    (folder / "queue/private").chmod(0o700)
    group = next((g.gr_name for g in grp.getgrall() if g.gr_name == "postdrop"), "operator")
    main = _MAIN_CF.format(
        folder=folder,
        root=root(),
        owner=owner(),
        group=group,
        size=MAX_MESSAGE_BYTES,
    )
    services = "".join(
        f"{address}:{ports[name]} inet n - n - - smtpd -o syslog_name=postfix/{name}"
        f" {listener.options.format(folder=folder)}\n"
        for name, listener in LISTENERS.items()
    )
    (folder / "config/main.cf").write_text(main)
    (folder / "config/master.cf").write_text(services + _SERVICES)
    return folder / "config"
