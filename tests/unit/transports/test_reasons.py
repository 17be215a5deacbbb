"""Why no connection came about: each sentence names the step and what to change."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any

import pytest

from tests.support.settings import make_settings
from worker.transports import reasons

TLS: dict[str, Any] = {"transport_security": "tls", "port": 587}
IMPLICIT: dict[str, Any] = {"transport_security": "tls", "port": 465}


def ssl_error(reason: str) -> ssl.SSLError:
    """What OpenSSL reports under this name."""
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def untrusted(code: int, message: str) -> ssl.SSLCertVerificationError:
    """What OpenSSL reports of a certificate."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("doing", "settings", "words"),
    [
        (reasons.FINDING, TLS, "connection_timeout_ms"),
        (reasons.CONNECTING, TLS, "check server_address and port"),
        (reasons.WAITING, TLS, 'set tls_mode = "implicit"'),
        (reasons.WAITING, {}, 'set transport_security = "tls" and tls_mode = "implicit"'),
        (reasons.SECURING, IMPLICIT, "connection_timeout_ms"),
        (reasons.GREETING, TLS, "connection_timeout_ms"),
        (reasons.LOGGING_IN, TLS, "connection_timeout_ms"),
    ],
)
def test_what_was_too_late(doing: str, settings: dict[str, Any], words: str) -> None:
    """A silent server may be one that waits for TLS; only where it has said nothing at all."""
    said = reasons.too_late(make_settings(**settings), doing)
    assert said.startswith(f"no answer within 5000 ms while {doing}: ")
    assert words in said
    assert ("implicit" in said) is (doing == reasons.WAITING)


@pytest.mark.parametrize(
    ("error", "settings", "words"),
    [
        (ssl_error("WRONG_VERSION_NUMBER"), IMPLICIT, 'set tls_mode = "starttls", or port'),
        (ssl_error("WRONG_VERSION_NUMBER"), TLS, 'transport_security is "tls"'),
        (ssl_error("UNSUPPORTED_PROTOCOL"), TLS, 'set "tls1.0" or "tls1.1" if it is that old'),
        (
            ssl_error("TLSV1_ALERT_PROTOCOL_VERSION"),
            TLS | {"transport_security": "tls1.2"},
            'set "tls" for the best that both have',
        ),
        (ssl_error(""), TLS, "TLS failed (no reason given)"),
        (untrusted(62, "Hostname mismatch."), TLS, "(Hostname mismatch): set server_address"),
        (untrusted(64, "IP address mismatch"), TLS, "set server_address to a name that is in it"),
        (untrusted(10, "certificate has expired"), TLS, "must be renewed at the server"),
        (untrusted(9, "certificate is not yet valid"), TLS, "this machine's clock"),
        (untrusted(18, "self-signed certificate"), TLS, "set ca_file"),
        (untrusted(20, "unable to get local issuer certificate"), TLS, "set ca_file"),
    ],
)
def test_why_tls_failed(error: ssl.SSLError, settings: dict[str, Any], words: str) -> None:
    """Each fault has its remedy; nobody is advised to trust anyone."""
    said = reasons.tls_failed(error, make_settings(**settings))
    assert words in said
    assert "verify" not in said


@pytest.mark.parametrize(
    ("cause", "doing", "words"),
    [
        (socket.gaierror(-2, "not known"), reasons.FINDING, "(not known): check server_address"),
        (ConnectionRefusedError(), reasons.CONNECTING, "nothing listens on that port"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), reasons.CONNECTING, "No route to host"),
        (ConnectionResetError(), reasons.SECURING, 'transport_security is "tls"'),
        (ConnectionResetError(), reasons.LOGGING_IN, "closed the connection while logging in"),
        (ssl_error("WRONG_VERSION_NUMBER"), reasons.SECURING, "TLS failed"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_why_a_connection_was_lost(cause: Exception, doing: str, words: str, wrapped: bool) -> None:
    """The cause decides, whether a library has wrapped it or not."""
    error = cause
    if wrapped:
        error = RuntimeError("wrapped")
        error.__cause__ = cause
    assert words in reasons.lost(error, make_settings(**TLS), doing)
