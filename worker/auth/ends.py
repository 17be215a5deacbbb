"""When the credentials of app registrations end, as far as anybody can tell without asking Entra."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from config.registration import Registration


def credential_ends(registrations: Iterable[Registration]) -> dict[str, float]:
    """When each one's credential ends (Unix seconds), by its label; of several, the earliest.

    A certificate says it itself. Of a client secret only Entra knows, and whoever wrote
    ``client_secret_expires``: at the begin of that day, in UTC. Others have no end that is known.
    """
    found: dict[str, float] = {}
    for each in registrations:
        ends_at = _end(each)
        if ends_at is not None:
            found[each.label] = min(ends_at, found.get(each.label, ends_at))
    return found


def _end(registration: Registration) -> float | None:
    if registration.grant == "certificate" and registration.certificate_file is not None:
        return certificate_end(registration.certificate_file)
    day = registration.client_secret_expires
    if registration.grant != "client-secret" or day is None:
        return None
    return datetime.combine(day, time(), UTC).timestamp()


def certificate_end(path: Path) -> float | None:
    """When the first certificate of a PEM file ends (Unix seconds); None where none can be read."""
    from cryptography import x509  # only where there is a certificate: it takes some megabytes

    try:
        first, *_ = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return None
    return first.not_valid_after_utc.timestamp()
