"""The kinds of value a setting can have: their names, their ranges, and how they are written."""

from __future__ import annotations

import ipaddress
import re
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

Kind = Literal["send", "batch", "compose"]
LayerName = Literal[
    "default", "oauth2", "microsoft-365", "office365", "system", "company", "user", "environment"
]
Authorisation = Literal["none", "required", "optional"]
TransportSecurity = Literal["none", "ssl", "tls1.0", "tls1.1", "tls1.2", "tls1.3", "tls"]
TlsMode = Literal["auto", "starttls", "implicit"]
AuthenticationModel = Literal["basic", "oauth2"]
OAuth2Provider = Literal["office365-smtp"]
Compose = Literal[
    "accredo-mailer", "outlook", "full-mapi", "simple-mapi", "microsoft-365", "autodetect"
]
SendBatch = Literal["smtp", "outlook", "full-mapi", "microsoft-365"]
SendMailer = Literal["smtp", "outlook", "full-mapi", "simple-mapi", "microsoft-365", "autodetect"]
TransportName = Literal[
    "smtp", "microsoft-365", "outlook", "full-mapi", "simple-mapi", "accredo-mailer"
]
OnUnknown = Literal["resend", "hold", "verify"]
Pace = Literal["even", "burst"]
MailFormat = Literal["html", "plain"]
Grant = Literal["client-secret", "certificate", "managed-identity", "device-code"]
Cloud = Literal["global", "us-gov", "us-dod", "china", "custom"]
Uncarried = Literal["refuse", "smtp"]

SYSTEM: Final = "_system"
"""The id of the context that is no company's."""
ENVIRONMENT: Final = "_environment"
"""Where errors are listed that hold nobody's mail: variables that name nothing."""

COMPANY_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
USER_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])")
_LABEL: Final = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_HOST: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_LOCAL: Final = re.compile(r"[^\s@<>,;:\"()\[\]\\\x00-\x1f\x7f]{1,64}")
_MAX_RETRY_SECONDS: Final = 30 * 86400


def duration_seconds(text: object) -> float:
    """Read ``90s``, ``15m``, ``12h`` or ``4d``.

    Raises:
        ValueError: it is none.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError('write a number and a unit: "90s", "15m", "12h" or "4d"')
    seconds = float(match[1]) * _UNIT_SECONDS[match[2]]
    if not 1 <= seconds <= _MAX_RETRY_SECONDS:
        raise ValueError('write "1s" to "30d"')
    return seconds


def _day(value: object) -> date:
    """Read ``2027-03-01``, as TOML has it or as text."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("write a day: 2027-03-01") from None


def _host(text: str) -> str:
    """A server's name or address, an IPv6 one without its brackets."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        try:
            return str(ipaddress.IPv6Address(bare))
        except ValueError:
            raise ValueError(
                "write a name, IPv4 or IPv6 address; the port has its own key"
            ) from None
    if not _HOST.fullmatch(bare):
        raise ValueError("write a name, an IPv4 or an IPv6 address")
    return bare


def _https(text: str) -> str:
    """The address of a service: ``https://host``, with a port or a path or without."""
    try:
        parts = urlsplit(text)
        extra = parts.query or parts.fragment or parts.username is not None
        _host(parts.hostname or "")
        wrong = parts.scheme != "https" or extra or parts.port == 0 or text.split() != [text]
    except ValueError:
        wrong = True
    if wrong:
        raise ValueError('write an https address, such as "https://login.example.nz"')
    return text


def _domain(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("write the domain after the @")
    return text


def _address(text: str) -> str:
    """One address without a name: ``it@example.nz``."""
    local, at, domain = text.rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or not _HOST.fullmatch(domain):
        raise ValueError('write one address, such as "it@example.nz", without a name')
    return text


def _sender_pattern(text: str) -> str:
    """One address, or ``@example.nz`` for every address of a domain."""
    return "@" + _domain(text[1:]) if text.startswith("@") else _address(text)


def _several(value: Any) -> Any:
    """A list as a tuple; text (as the environment has it) separated by semicolons."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(";") if part.strip())
    return tuple(value) if isinstance(value, list) else value


def _user_id(text: str) -> str:
    if not USER_ID.fullmatch(text):
        raise ValueError("write a user's id: a-z, 0-9, then also . _ -")
    return text


def _one_line(text: str) -> str:
    if any(character in text for character in "\r\n\0"):
        raise ValueError("write one line")
    return text


Host = Annotated[str, AfterValidator(_host)]
Port = Annotated[int, Field(ge=1, le=65535)]
PerMinute = Annotated[int, Field(ge=1, le=1_000_000)]
PerDay = Annotated[int, Field(ge=1, le=1_000_000)]
Recipients = Annotated[int, Field(ge=1, le=100_000)]
EmailMb = Annotated[int, Field(ge=1, le=1000)]
Weight = Annotated[int, Field(ge=1, le=1000)]
Seconds = Annotated[float, BeforeValidator(duration_seconds)]
Day = Annotated[date, BeforeValidator(_day)]
Address = Annotated[str, AfterValidator(_address)]
Addresses = Annotated[tuple[Address, ...], BeforeValidator(_several)]
Senders = Annotated[
    tuple[Annotated[str, AfterValidator(_sender_pattern)], ...], BeforeValidator(_several)
]
UserId = Annotated[str, AfterValidator(_user_id)]
Line = Annotated[str, Field(min_length=1, max_length=998), AfterValidator(_one_line)]
"""Text on one line, no longer than a line of a mail (RFC 5322 2.1.1)."""
HttpsUrl = Annotated[Line, AfterValidator(_https)]
