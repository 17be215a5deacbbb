"""The app registration in force for one job: who the worker is to Microsoft 365, and where that is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from config.fingerprint import fingerprint
from config.secret_files import Signature, signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date
    from pathlib import Path

    from pydantic import SecretStr

    from config.values import Cloud, Grant

APP: Final = "_app"
"""Stands where a credential's key has its context: no company can be called so."""

AUTHORITIES: Final[Mapping[str, str]] = {
    "global": "https://login.microsoftonline.com",
    "us-gov": "https://login.microsoftonline.us",
    "us-dod": "https://login.microsoftonline.us",
    "china": "https://login.chinacloudapi.cn",
}
"""Where tokens are had (learn.microsoft.com/entra/identity-platform/authentication-national-cloud)."""

GRAPHS: Final[Mapping[str, str]] = {
    "global": "https://graph.microsoft.com",
    "us-gov": "https://graph.microsoft.us",
    "us-dod": "https://dod-graph.microsoft.us",
    "china": "https://microsoftgraph.chinacloudapi.cn",
}
"""Where Graph is (learn.microsoft.com/graph/deployments)."""

SMTP_RESOURCES: Final[Mapping[str, str]] = {
    "global": "https://outlook.office365.com",
    "us-gov": "https://outlook.office365.us",
    "us-dod": "https://outlook-dod.office365.us",
    "china": "https://partner.outlook.cn",
}
"""The resource of a token for SMTP AUTH; a token for Graph does not serve there."""


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Registration:
    """An app registration; frozen, and shared by all who use it.

    Attributes:
        tenant_id: empty where a managed identity has none.
        client_id: the same; for a managed identity, which user-assigned one.
        client_secret_expires: the day on which the secret ends, where somebody has written it.
        certificate_version: changes when what is in the certificate's file does; the same on every
            host, so that a hold of one worker is every worker's.
        authority_url: where tokens are had, without the tenant.
        graph_url: where Graph is, without its version.
        smtp_resource: the resource of a token for SMTP AUTH.
        ca_file: whom to trust at these addresses; None for the system's authorities.
    """

    tenant_id: str
    client_id: str
    grant: Grant
    client_secret: SecretStr | None
    client_secret_expires: date | None = None
    certificate_file: Path | None
    certificate_version: str
    cloud: Cloud
    authority_url: str
    graph_url: str
    smtp_resource: str
    ca_file: Path | None

    def __repr__(self) -> str:
        return f"Registration({self.key})"

    @property
    def label(self) -> str:
        """``_app/<client id>``: the key without what changes."""
        return f"{APP}/{self.client_id or self.grant}"

    @property
    def key(self) -> str:
        """``_app/<client id>#<8 hex>``: changes when anything does that a token depends on."""
        name = self.label
        secret = "" if self.client_secret is None else self.client_secret.get_secret_value()
        parts = (self.tenant_id, self.grant, self.certificate_version, self.authority_url)
        return f"{name}#{fingerprint(name, chr(0).join(parts), secret)}"

    @property
    def authority_server(self) -> str:
        """``host:port`` of the authority, as a hold names it; empty for a managed identity."""
        return "" if self.grant == "managed-identity" else server_of(self.authority_url)

    @property
    def graph_server(self) -> str:
        """``host:port`` of Graph, as a hold names it."""
        return server_of(self.graph_url)


def server_of(url: str) -> str:
    """``host:port`` of an https address."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 443}"


def registration_of(value: Callable[[str], Any]) -> Registration:
    """Make the registration from a context's values.

    Args:
        value: finds what is in force by its dotted key.
    """

    def own(name: str) -> Any:
        return value(f"microsoft_365.{name}")

    cloud = own("cloud")
    certificate = own("certificate_file")
    custom = cloud == "custom"
    return Registration(
        tenant_id=own("tenant_id") or "",
        client_id=own("client_id") or "",
        grant=own("grant"),
        client_secret=own("client_secret"),
        client_secret_expires=own("client_secret_expires"),
        certificate_file=certificate,
        certificate_version=_digest(certificate, signature(certificate)) if certificate else "",
        cloud=cloud,
        authority_url=(own("authority_url") if custom else AUTHORITIES[cloud]).rstrip("/"),
        graph_url=(own("graph_url") if custom else GRAPHS[cloud]).rstrip("/"),
        smtp_resource=SMTP_RESOURCES.get(cloud, SMTP_RESOURCES["global"]),
        ca_file=own("ca_file") if custom else None,
    )


@lru_cache(maxsize=1024)
def _digest(path: Path, _seen: Signature | None) -> str:
    """Tell one content of a file from the next; read once for each state that it was ``_seen`` in."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
