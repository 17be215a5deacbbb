"""What resolves for one job: every value in force, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.fingerprint import fingerprint
from config.office365 import PRESETS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import SecretStr

    from config.registration import Registration
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
        Uncarried,
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
        layer: default, system, company, user, environment, or who set it: oauth2, microsoft-365 or
            office365 (what choosing that login, way or server sets).
        file: the file relative to the tree, or the environment variable; None for a default.
        key: the dotted key, as written in that file.
        losers: what was written elsewhere, weakest last.
    """

    layer: LayerName
    file: str | None
    key: str
    losers: tuple[Loser, ...] = ()

    @property
    def source(self) -> str:
        """Where it is set: ``companies/acme/company.toml [smtp] batch_emails_per_min``."""
        return source_of(self.layer, self.file, self.key)


def source_of(layer: str, file: str | None, key: str) -> str:
    """Where a value is set, for people; a choice that sets others is named with its file."""
    if layer == "environment" and file:
        return file
    table, _, name = key.rpartition(".")
    written = f"[{table}] {name}" if table else name
    if layer in PRESETS:
        return f"{written}, set by {layer} in {file}"
    return f"{file} {written}" if file else written


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class EffectiveSettings:
    """The settings in force for one job; frozen, and cheap to share between threads.

    ``provenance`` has one entry for each attribute that a key stands behind. ``held_reason`` is one
    sentence where a chosen value cannot be served; such a job is held, never sent another way.
    ``registration`` is there where the way is Microsoft 365, the login is OAuth2, or unknown outcomes
    are verified.
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
    uncarried: Uncarried

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
    mailbox_recipients_per_day: int | None
    mailbox_connections: int | None
    mailbox_recipients_per_email: int | None
    mailbox_email_mb: int | None
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
    registration: Registration | None = None

    def __repr__(self) -> str:
        return f"EffectiveSettings({self.account}, {self.kind} by {self.transport})"

    @property
    def account(self) -> str:
        """``<context>/<user>``: what an account's hold and its connections are kept by."""
        return f"{self.context}/{self.user}"

    @property
    def server(self) -> str:
        """``host:port`` (``[v6]:port``), or the empty string where no server is set.

        A draft that is a file needs none, so none that is down keeps it. For Microsoft 365 it is
        Graph's.
        """
        if self.transport == "microsoft-365":
            return "" if self.registration is None else self.registration.graph_server
        if self.server_address is None or self.transport == "accredo-mailer":
            return ""
        host = f"[{self.server_address}]" if ":" in self.server_address else self.server_address
        return f"{host}:{self.port}"

    @property
    def credential(self) -> str:
        """``acme/jane#<8 hex>``: stands for user name and password, and changes when they do.

        With OAuth2 and Graph the app registration stands in the password's place.
        """
        if self.registration is not None and self.logs_in_by_app:
            secret = self.registration.key
        else:
            secret = "" if self.password is None else self.password.get_secret_value()
        return f"{self.account}#{fingerprint(self.account, self.username or '', secret)}"

    @property
    def logs_in_by_app(self) -> bool:
        """Whether the way itself needs the app registration; else it is there to verify with."""
        return self.transport == "microsoft-365" or self.authentication_model == "oauth2"

    @property
    def mailbox(self) -> str:
        """The mailbox that OAuth2 and Graph use: the user name, or where there is none, the address."""
        return self.username or self.address or ""
