"""What resolves for one job: every value in force, and where it comes from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import SecretStr

    from config.values import (
        AuthenticationModel,
        Authorisation,
        Kind,
        LayerName,
        MailFormat,
        OAuth2Provider,
        OnUnknown,
        Pace,
        TlsMode,
        TransportName,
        TransportSecurity,
    )


@dataclass(frozen=True, slots=True)
class Loser:
    """A value that is not in force: where it stands, and why another won. Secrets are masked."""

    layer: LayerName
    where: str
    value: str
    why: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where one value comes from.

    Attributes:
        layer: default, system, company, user, environment, or oauth2 (what choosing OAuth2 set).
        file: the file relative to the tree, or the environment variable; None for a default.
        key: the dotted key, as written in that file.
        losers: what was written elsewhere, weakest last.
    """

    layer: LayerName
    file: str | None
    key: str
    losers: tuple[Loser, ...] = ()


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class EffectiveSettings:
    """The settings in force for one job; frozen, and cheap to share between threads.

    ``provenance`` has one entry for each attribute that a key stands behind. ``held_reason`` is one
    sentence where a chosen value cannot be served; such a job is held, never sent another way.
    """

    context: str
    company: str | None
    user: str
    kind: Kind

    server_address: str | None
    port: int
    authorisation: Authorisation
    transport_security: TransportSecurity | None
    tls_mode: TlsMode
    authentication_model: AuthenticationModel
    oauth2_provider: OAuth2Provider | None
    connection_timeout_ms: int
    batch_emails_per_min: int | None
    batch_emails_per_day: int | None
    allow_microsoft_365: bool
    compose: str
    send_batch: str
    send_mailer: str
    transport: TransportName

    allow_cleartext_password: bool
    verify_certificate: bool
    ca_file: Path | None

    on_unknown: OnUnknown
    retry_for_seconds: float
    reply_timeout_seconds: float
    allowed_from: tuple[str, ...]
    pace: Pace

    all_batch_emails_per_min: int | None
    all_batch_emails_per_day: int | None
    mailbox_emails_per_min: int | None
    mailbox_emails_per_day: int | None
    mailbox_connections: int | None
    company_weight: int
    user_weight: int

    address: str | None
    display_name: str
    username: str | None
    password: SecretStr | None
    mail_format: MailFormat
    signature: str
    reply_to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    request_read_receipt: bool

    error_reports_to: tuple[str, ...]
    provenance: Mapping[str, Provenance]
    held_reason: str | None

    def __repr__(self) -> str:
        return f"EffectiveSettings({self.account}, {self.kind} by {self.transport})"

    @property
    def account(self) -> str:
        """``<context>/<user>``: what an account's hold and its connections are kept by."""
        return f"{self.context}/{self.user}"

    @property
    def server(self) -> str:
        """``host:port`` (``[v6]:port``), or the empty string where no server is set."""
        if self.server_address is None:
            return ""
        host = f"[{self.server_address}]" if ":" in self.server_address else self.server_address
        return f"{host}:{self.port}"

    @property
    def credential(self) -> str:
        """``acme/jane#<8 hex>``: stands for user name and password, and changes when they do."""
        password = "" if self.password is None else self.password.get_secret_value()
        return f"{self.account}#{_fingerprint(self.account, self.username or '', password)}"


@lru_cache(maxsize=8192)
def _fingerprint(account: str, username: str, password: str) -> str:
    """Eight hex digits that no fast dictionary search turns back: they stand in the ledger.

    The salt makes equal passwords of two accounts look different; the work (about 3 ms, once for
    each password) is scrypt's, RFC 7914.
    """
    salt = f"postmeter\0{account}\0{username}".encode()
    return hashlib.scrypt(password.encode(), salt=salt, n=2**10, r=8, p=1, dklen=4).hex()
