"""Office 365: the app registration, what choosing OAuth2 sets, and the provider's limits."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the annotation of a public constant
from typing import Any, Final, NamedTuple

from pydantic import Field, SecretStr

from config.table import Table
from config.values import (  # noqa: TC001 - pydantic reads the annotations
    Cloud,
    Day,
    Grant,
    Host,
    HttpsUrl,
    LayerName,
    Line,
    Uncarried,
)

MAILBOX_EMAILS_PER_MIN: Final = 30
"""Exchange Online takes 30 messages a minute from one mailbox."""
MAILBOX_CONNECTIONS: Final = 3
"""… over at most three connections at a time; one more is answered with 432 4.3.2."""
MAILBOX_RECIPIENTS_PER_DAY: Final = 10_000
"""… to 10,000 recipients in any 24 hours, which nobody can raise."""
RECIPIENTS_PER_EMAIL: Final = 500
"""… to 500 recipients at once, unless an administrator has set another number."""
MOST_RECIPIENTS_PER_EMAIL: Final = 1000
"""The largest number that an administrator can set."""
EMAIL_MB: Final = 35
"""The size of a message as it crosses the network, unless an administrator has set another."""
MOST_EMAIL_MB: Final = 150
"""The largest size that an administrator can set; the SIZE that its servers announce."""

SMTP_HOSTS: Final[Mapping[str, str]] = {
    "global": "smtp.office365.com",
    "us-gov": "smtp.office365.us",
    "us-dod": "outlook-dod.office365.us",
    "china": "smtp.partner.outlook.cn",
}
_LEGACY_TLS_HOSTS: Final = frozenset(
    {"smtp-legacy.office365.com", "smtp-legacy.partner.outlook.cn"}
)
"""Those that take TLS 1.0 and 1.1, where the tenant has opted in (learn.microsoft.com/exchange/
clients-and-mobile-in-exchange-online/opt-in-exchange-online-endpoint-for-legacy-tls-using-smtp-auth)."""
_LOGIN_HOSTS: Final = frozenset(
    {
        *SMTP_HOSTS.values(),
        *_LEGACY_TLS_HOSTS,
        "outlook.office365.com",
        "outlook.office365.us",
        "partner.outlook.cn",
    }
)
"""The names in SMTP_HOSTS, and others that lead to the same servers."""

USER_SETS: Final[Mapping[str, Any]] = {
    "email.mailbox_emails_per_min": MAILBOX_EMAILS_PER_MIN,
    "email.mailbox_recipients_per_day": MAILBOX_RECIPIENTS_PER_DAY,
    "email.mailbox_connections": MAILBOX_CONNECTIONS,
    "email.mailbox_recipients_per_email": RECIPIENTS_PER_EMAIL,
    "email.mailbox_email_mb": EMAIL_MB,
}
"""What OAuth2, Microsoft 365 or a server of Office 365 sets for each mailbox; a user's file wins.

Exchange Online's limits stand behind Graph's 202 as well, and behind any login (learn.microsoft.com/office365/
servicedescriptions/exchange-online-service-description/exchange-online-limits).
"""

PRESETS: Final = frozenset({"oauth2", "microsoft-365", "office365"})
"""The layers that no file writes: a choice sets their values; the last is that of the server."""


class Preset(NamedTuple):
    """Who sets the values of ``USER_SETS``, and the file, or the variable, of that choice."""

    layer: LayerName
    file: str


_TABLE: Final = "microsoft_365."


def is_of_the_registration(dotted: str) -> bool:
    """Whether a key says who the worker is to Microsoft 365, or where that is."""
    return dotted.startswith(_TABLE) and dotted != f"{_TABLE}uncarried"


def is_office365(host: str | None) -> bool:
    """Whether this is a server of Office 365 where mailboxes log in; a relay (MX) is none."""
    return host is not None and _plain(host) in _LOGIN_HOSTS


def takes_old_tls(host: str) -> bool:
    """Whether this server of Office 365 takes TLS 1.0 and 1.1 from tenants that opted in."""
    return _plain(host) in _LEGACY_TLS_HOSTS


def _plain(host: str) -> str:
    return host.rstrip(".").casefold()


def smtp_sets(cloud: str, custom_host: str | None) -> dict[str, Any]:
    """What choosing OAuth2 sets in ``[smtp]``; keys written in the same file win."""
    return {
        "smtp.server_address": SMTP_HOSTS.get(cloud, custom_host),
        "smtp.port": 587,
        "smtp.authorisation": "required",
        "smtp.transport_security": "tls",
        "smtp.tls_mode": "starttls",
        "smtp.oauth2_provider": "office365-smtp",
        "smtp.connection_timeout_ms": 60000,
    }


class Microsoft365(Table):
    """``[microsoft_365]``: the app registration used for OAuth2 and Graph.

    A company that leaves the whole table out replicates it; one that has a registration of its
    own replicates nothing of the system's, so that one tenant's secret never goes to another.
    """

    tenant_id: Line | None = Field(
        default=None,
        description="The tenant of the app registration: its id or its domain.",
        examples=["example.onmicrosoft.com"],
    )
    client_id: Line | None = Field(
        default=None,
        description="The application (client) id of the registration.",
        examples=["7f6c4a52-6d0e-4c5c-9a43-0a3f0b9c1d2e"],
    )
    grant: Grant = Field(
        default="client-secret",
        description="How the worker proves that it is the application.",
        examples=["client-secret"],
    )
    client_secret: SecretStr | None = Field(
        default=None,
        description="The secret itself; better in a file of its own.",
        examples=["…"],
        json_schema_extra={"range": "a secret"},
    )
    client_secret_file: Line | None = Field(
        default=None,
        description="The file that holds the secret, beside this one; nobody else may read it.",
        examples=["m365.secret"],
        json_schema_extra={"range": "a file"},
    )
    client_secret_expires: Day | None = Field(
        default=None,
        description="The day on which Entra lets the client secret end: you are told two weeks "
        "before.",
        examples=["2027-03-01"],
        json_schema_extra={"range": "a day"},
    )
    certificate_file: Line | None = Field(
        default=None,
        description="For `certificate`: private key and certificate in one PEM file.",
        examples=["m365.pem"],
        json_schema_extra={"range": "a file"},
    )
    cloud: Cloud = Field(
        default="global",
        description="The Microsoft cloud of the tenant; `custom` names its addresses itself.",
        examples=["global"],
    )
    authority_url: HttpsUrl | None = Field(
        default=None,
        description="For `custom`: where tokens are had.",
        examples=["https://login.example.nz"],
        json_schema_extra={"range": "an https address"},
    )
    graph_url: HttpsUrl | None = Field(
        default=None,
        description="For `custom`: where Graph is.",
        examples=["https://graph.example.nz"],
        json_schema_extra={"range": "an https address"},
    )
    smtp_host: Host | None = Field(
        default=None,
        description="For `custom`: the SMTP server that OAuth2 sets.",
        examples=["smtp.example.nz"],
        json_schema_extra={"range": "a name or address"},
    )
    ca_file: Line | None = Field(
        default=None,
        description="For `custom`: the authority that signed the certificates of these addresses.",
        examples=["cloud-ca.pem"],
        json_schema_extra={"range": "a file"},
    )
    uncarried: Uncarried = Field(
        default="refuse",
        description="What becomes of an email that Graph cannot carry, such as one with "
        "List-Unsubscribe-Post: `refuse` it with the reason, or send it by `smtp`, which needs "
        "server_address.",
        examples=["refuse"],
    )
