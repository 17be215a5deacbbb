"""Why TLS did not come about: what the server does on that port when it is asked in other ways.

Each question is a connection of its own, made as a delivery makes it, that ends before any login.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import aiosmtplib

from worker.errors import Held
from worker.replies import clean
from worker.transports.certificate import described
from worker.transports.connect import Attempt
from worker.transports.dial import dial
from worker.transports.failures import Party
from worker.transports.tls import is_implicit

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings
    from config.values import TlsMode, TransportSecurity

PATIENCE_SECONDS: Final = 5.0
"""For each question, where ``connection_timeout_ms`` is not less."""
_SOON_SECONDS: Final = 1.0
"""A server that speaks first does so by then, but for tarpits."""
_VERSIONS: Final[dict[TransportSecurity, str]] = {
    "tls1.0": "TLS 1.0",
    "tls1.1": "TLS 1.1",
    "tls1.2": "TLS 1.2",
    "tls1.3": "TLS 1.3",
}


@dataclass(frozen=True, slots=True)
class Secured:
    """TLS as it came about: its version, and the certificate (DER) that was presented."""

    version: str
    certificate: bytes


async def look_closer(
    settings: EffectiveSettings, name_for: Callable[[aiosmtplib.SMTP], str]
) -> list[str]:
    """Say how the server's port takes TLS, which versions, and with what certificate.

    Args:
        name_for: the name to greet a server with.
    """
    greets = asyncio.create_task(_greeting(settings))
    await asyncio.wait([greets], timeout=_SOON_SECONDS)
    if not greets.done():
        found = await _versions(replace(settings, tls_mode="implicit"), name_for)
        if any(found.values()):
            greets.cancel()
            await asyncio.wait([greets])
            return list(_told(settings, None, found))
    greeting = await greets
    mode: TlsMode = "implicit" if greeting is None else "starttls"
    found = await _versions(replace(settings, tls_mode=mode), name_for)
    return list(_told(settings, greeting, found))


async def _versions(
    settings: EffectiveSettings, name_for: Callable[[aiosmtplib.SMTP], str]
) -> dict[TransportSecurity, Secured | None]:
    """What came of each version, asked for all at once."""
    asked = (
        _secured(replace(settings, transport_security=version), name_for) for version in _VERSIONS
    )
    return dict(zip(_VERSIONS, await asyncio.gather(*asked), strict=True))


def _told(
    settings: EffectiveSettings,
    greeting: str | None,
    found: dict[TransportSecurity, Secured | None],
) -> list[str]:
    lines = []
    offered = [_VERSIONS[version] for version, secured in found.items() if secured is not None]
    implicit = is_implicit(settings)
    if greeting is not None:
        lines.append(f"the port greets in clear: {greeting}")
        if implicit:
            lines.append('so TLS does not start with the connection: set tls_mode = "starttls"')
        lines.append(f"STARTTLS offers {', '.join(offered) or 'no version of TLS known here'}")
    elif offered:
        lines.append(f"the port starts with TLS, and offers {', '.join(offered)}")
        if not implicit:
            security = settings.transport_security
            also = 'transport_security = "tls" and ' if security == "none" else ""
            lines.append(f'so set {also}tls_mode = "implicit"')
    else:
        lines.append("the port neither greets nor takes TLS: it may be no mail server's")
    presented = next((secured for secured in found.values() if secured is not None), None)
    return lines + (described(presented.certificate) if presented else [])


async def _greeting(settings: EffectiveSettings) -> str | None:
    """What the server says first, in clear; None where it says nothing."""
    writer, said = None, b""
    try:
        async with asyncio.timeout(patience_seconds := _patience(settings)):
            made = await dial(
                settings.server_address or "", settings.port, patience_seconds, lambda _: None
            )
            reader, writer = await asyncio.open_connection(sock=made)
            said = await reader.readline()
    except (OSError, ValueError):  # ValueError: a line that does not end
        return None
    finally:
        if writer is not None:
            writer.close()
    return clean(said.decode("utf-8", "replace")) or None


async def _secured(
    settings: EffectiveSettings, name_for: Callable[[aiosmtplib.SMTP], str]
) -> Secured | None:
    """Try TLS of one version, whoever the certificate is for; None where it does not come about."""
    attempt = Attempt(replace(settings, verify_certificate=False), Party.of(settings))
    try:
        async with asyncio.timeout(_patience(settings)):
            await attempt.open()
            if not is_implicit(attempt.settings):
                await attempt.greet(name_for(attempt.client))
                await attempt.start_tls()
            secured = attempt.client.get_transport_info("ssl_object")
            return Secured(secured.version(), secured.getpeercert(binary_form=True) or b"")
    except (Held, aiosmtplib.SMTPException, OSError):
        return None
    finally:
        attempt.clean_up()


def _patience(settings: EffectiveSettings) -> float:
    return min(PATIENCE_SECONDS, settings.connection_timeout_ms / 1000)
