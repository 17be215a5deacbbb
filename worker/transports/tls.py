"""TLS contexts: which versions a connection may use, and whom it trusts."""

from __future__ import annotations

import ssl
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from config.effective import EffectiveSettings

IMPLICIT_TLS_PORTS = frozenset({465, 2465})
"""Where TLS starts with the connection (RFC 8314 3.3; 2465 is its usual second)."""

_OLD = frozenset({"tls1.0", "tls1.1"})
_VERSIONS = {
    "ssl": (ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.MAXIMUM_SUPPORTED),
    "tls": (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.MAXIMUM_SUPPORTED),
    "tls1.0": (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1),
    "tls1.1": (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1),
    "tls1.2": (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2),
    "tls1.3": (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3),
}


def is_implicit(settings: EffectiveSettings) -> bool:
    """Whether TLS starts with the connection rather than with STARTTLS."""
    if settings.transport_security == "none":
        return False
    if settings.tls_mode == "auto":
        return settings.port in IMPLICIT_TLS_PORTS
    return settings.tls_mode == "implicit"


def context_for(settings: EffectiveSettings) -> ssl.SSLContext | None:
    """Return the context these settings ask for; None for ``transport_security = "none"``.

    Contexts are kept: making one reads the system's certificates, some milliseconds. A CA file
    that changes is read anew.

    Raises:
        OSError: the CA file cannot be read, or is no PEM file (``ssl.SSLError``).
        KeyError: a transport security that this module does not serve.
    """
    security = str(settings.transport_security)
    if security == "none":
        return None
    ca_file = settings.ca_file
    changed_ns = ca_file.stat().st_mtime_ns if ca_file is not None else 0
    return _context(security, settings.verify_certificate, ca_file, changed_ns)


@lru_cache(maxsize=64)
def _context(
    security: str,
    verify: bool,
    ca_file: Path | None,
    changed_ns: int,  # noqa: ARG001 - part of the cache's key
) -> ssl.SSLContext:
    lowest, highest = _VERSIONS[security]
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca_file)
    with warnings.catch_warnings():
        # Python says that 1.0 and 1.1 are deprecated (RFC 8996). Whoever sets them has been told so.
        warnings.filterwarnings("ignore", r"ssl\.TLSVersion\.", DeprecationWarning)
        context.minimum_version, context.maximum_version = lowest, highest
    if security in _OLD:
        # They sign with SHA-1, which OpenSSL 3 has no cipher for above this level; it is lowered for
        # this context alone (docs.openssl.org/3.0/man3/SSL_CTX_set_security_level).
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
