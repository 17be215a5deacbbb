"""Office 365: the app registration, what choosing OAuth2 sets, and the provider's limits."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the annotation of a public constant
from typing import Any, Final

from pydantic import Field, SecretStr

from config.table import Table
from config.values import (  # noqa: TC001 - pydantic reads the annotations
    Cloud,
    Grant,
    Host,
    Line,
)

MAILBOX_EMAILS_PER_MIN: Final = 30
"""Exchange Online takes 30 messages a minute from one mailbox."""
MAILBOX_CONNECTIONS: Final = 3
"""… over at most three connections at a time; one more is answered with 432 4.3.2."""

SMTP_HOSTS: Final[Mapping[str, str]] = {
    "global": "smtp.office365.com",
    "us-gov": "smtp.office365.us",
    "us-dod": "outlook-dod.office365.us",
    "china": "smtp.partner.outlook.cn",
}

USER_SETS: Final[Mapping[str, Any]] = {
    "email.mailbox_emails_per_min": MAILBOX_EMAILS_PER_MIN,
    "email.mailbox_connections": MAILBOX_CONNECTIONS,
}
"""What OAuth2 sets for each mailbox; a user's file wins."""


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

    A company that leaves the whole table out replicates it; one that has the table replicates
    nothing of it, so that one tenant's secret never goes to another.
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
    authority_url: Line | None = Field(
        default=None,
        description="For `custom`: where tokens are had.",
        examples=["https://login.example.nz"],
        json_schema_extra={"range": "an https address"},
        pattern=r"^https://",
    )
    graph_url: Line | None = Field(
        default=None,
        description="For `custom`: where Graph is.",
        examples=["https://graph.example.nz"],
        json_schema_extra={"range": "an https address"},
        pattern=r"^https://",
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
