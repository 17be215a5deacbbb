"""Why a connection did not come about: one sentence each, with the step and what to change.

The server is put in front by whoever holds it. No sentence has the server's own words, except the
short names that OpenSSL gives to faults.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from worker.transports.tls import is_implicit

if TYPE_CHECKING:
    from config.effective import EffectiveSettings

FINDING, CONNECTING, WAITING = "looking up its name", "connecting", "waiting for its greeting"
SECURING, GREETING, LOGGING_IN = "starting TLS", "saying EHLO", "logging in"
"""The steps, as a sentence names them after *while*."""

_EXPIRED, _NOT_YET = 10, 9
_WRONG_NAMES = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and …_IP_ADDRESS_MISMATCH, as in OpenSSL's x509_vfy.h."""

_OTHER_VERSION = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "WRONG_SSL_VERSION",
        "NO_PROTOCOLS_AVAILABLE",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
    }
)


def too_late(settings: EffectiveSettings, doing: str) -> str:
    """The sentence for a step that was not done in time."""
    late = f"no answer within {settings.connection_timeout_ms} ms while {doing}"
    if doing == CONNECTING:
        return f"{late}: check server_address and port, and what stands between"
    if doing == WAITING:
        # A server that waits for TLS to start says nothing to a client that waits for its 220.
        security = settings.transport_security
        also = 'transport_security = "tls" and ' if security == "none" else ""
        return f'{late}: where TLS starts with the connection, set {also}tls_mode = "implicit"'
    return f"{late}: it may need a longer connection_timeout_ms"


def tls_failed(broken: ssl.SSLError, settings: EffectiveSettings) -> str:
    """The sentence for TLS that did not come about."""
    if isinstance(broken, ssl.SSLCertVerificationError):
        return _untrusted(broken)
    fault = (broken.reason or "no reason given").replace("_", " ").lower()
    security = settings.transport_security
    if broken.reason == "WRONG_VERSION_NUMBER" and is_implicit(settings):
        hint = (
            "the server does not start with TLS on this port: "
            'set tls_mode = "starttls", or port to where it does (usually 465)'
        )
    elif broken.reason in _OTHER_VERSION:
        hint = (
            f'transport_security is "{security}", and the server seems to have other versions: '
            + (
                'set "tls1.0" or "tls1.1" if it is that old'
                if security in {"ssl", "tls"}
                else 'set "tls" for the best that both have'
            )
        )
    else:
        hint = f'transport_security is "{security}"'
    return f"TLS failed ({fault}): {hint}"


def _untrusted(broken: ssl.SSLCertVerificationError) -> str:
    """Each kind of fault has its own remedy; turning verification off is offered for none."""
    said = broken.verify_message.rstrip(".")
    if broken.verify_code in {_EXPIRED, _NOT_YET}:
        remedy = "it must be renewed at the server, unless this machine's clock is wrong"
    elif broken.verify_code in _WRONG_NAMES:
        remedy = "set server_address to a name that is in it"
    else:
        remedy = "set ca_file to the certificate of its authority"
    return f"the server's certificate is not trusted ({said}): {remedy}"


def lost(broken: Exception, settings: EffectiveSettings, doing: str) -> str:
    """The sentence for a connection that could not be had, or broke."""
    cause = broken.__cause__ or broken
    if isinstance(cause, ssl.SSLError):
        return tls_failed(cause, settings)
    if isinstance(cause, socket.gaierror):
        return f"the name cannot be found ({cause.strerror}): check server_address"
    if isinstance(cause, ConnectionRefusedError):
        return "the connection was refused: nothing listens on that port"
    if doing == CONNECTING and isinstance(cause, OSError):
        return f"no connection: {cause.strerror or type(cause).__name__}"
    closed = f"the server closed the connection while {doing}"
    if doing == SECURING:
        # Many servers say nothing when no version suits both.
        return f'{closed}: transport_security is "{settings.transport_security}"'
    return closed
