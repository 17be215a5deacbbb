"""What a person wants to know of a server's certificate: its names, its end, who signed it."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

_MOST_NAMES: Final = 4


def described(der: bytes) -> list[str]:
    """Say it in two lines; an unreadable certificate gives one that says so.

    Args:
        der: the certificate as TLS carries it.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = _names(certificate)
        until = certificate.not_valid_after_utc
        issuer = _common_name(certificate.issuer) or certificate.issuer.rfc4514_string()
    except ValueError:
        return ["its certificate cannot be read"]
    shown = ", ".join(names[:_MOST_NAMES]) or "no name"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return [f"certificate for {shown}{more}", f"by {issuer}, until {until:%Y-%m-%d %H:%M} UTC"]


def _names(certificate: x509.Certificate) -> list[str]:
    """The names that count (RFC 6125 6.4.4): those of the subject only where there are no others."""
    try:
        found = certificate.extensions.get_extension_for_oid(
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        ).value
    except x509.ExtensionNotFound:
        return [name] if (name := _common_name(certificate.subject)) else []
    assert isinstance(found, x509.SubjectAlternativeName)
    addresses = found.get_values_for_type(x509.IPAddress)
    return [*found.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""
