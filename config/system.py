"""``system.toml``: System Settings, SMTP tab; one field per setting of the page, in its order."""

from __future__ import annotations

from pydantic import Field

from config.office365 import Microsoft365
from config.table import Table
from config.values import (  # noqa: TC001 - pydantic reads the annotations
    Addresses,
    AuthenticationModel,
    Authorisation,
    Compose,
    Host,
    Line,
    OAuth2Provider,
    OnUnknown,
    Pace,
    PerDay,
    PerMinute,
    Port,
    Seconds,
    SendBatch,
    Senders,
    SendMailer,
    TlsMode,
    TransportSecurity,
    UserId,
    Weight,
)


class Smtp(Table):
    """``[smtp]``: the server, and how it is reached."""

    server_address: Host | None = Field(
        default=None,
        title="Server Address",
        description="The name or IP address of the SMTP server. Absent: no SMTP in this context.",
        examples=["smtp.example.nz"],
        json_schema_extra={"range": "a name, an IPv4 or an IPv6 address"},
    )
    port: Port = Field(
        default=25,
        title="Port",
        description="The SMTP port. 465 and 2465 speak TLS from the first byte (see tls_mode).",
        examples=[587],
    )
    authorisation: Authorisation = Field(
        default="none",
        title="Authorisation",
        description="`none` never logs in; `required` needs user name and password of the user; "
        "`optional` needs the user name, and sends an empty password where there is none.",
        examples=["required"],
    )
    transport_security: TransportSecurity | None = Field(
        default=None,
        title="Transport Security",
        description="The protocol that encrypts the connection: `tls1.x` is exactly that version, "
        "`tls` the better of 1.2 and 1.3, `ssl` the best that both sides have (SSL v2 and v3 "
        "exist in no supported OpenSSL). Must be written where server_address is.",
        examples=["tls"],
    )
    tls_mode: TlsMode = Field(
        default="auto",
        description="`starttls` begins in clear and must switch to TLS, `implicit` is TLS from the "
        "first byte, `auto` is implicit on ports 465 and 2465 and STARTTLS elsewhere.",
        examples=["auto"],
    )
    authentication_model: AuthenticationModel = Field(
        default="basic",
        title="Authentication Model",
        description="`basic` uses the selected authorisation; `oauth2` is for Office 365 and sets "
        "the remaining SMTP settings.",
        examples=["basic"],
    )
    oauth2_provider: OAuth2Provider | None = Field(
        default=None,
        title="OAuth2 Provider",
        description="Set by choosing `oauth2`.",
        examples=["office365-smtp"],
    )
    connection_timeout_ms: int = Field(
        default=30_000,
        ge=1000,
        le=600_000,
        title="Connection Timeout",
        description="Milliseconds from looking up the name to the end of the login.",
        examples=[30_000],
    )
    batch_emails_per_min: PerMinute | None = Field(
        default=None,
        title="Batch Emails Per Min",
        description="The most batch emails in any minute, whatever number of workers runs. Absent: "
        "no limit. Each context has its own, replicated or not.",
        examples=[30],
    )
    default_user: UserId | None = Field(
        default=None,
        description="Whose Email tab a job gets that names no user.",
        examples=["robot"],
        json_schema_extra={"range": "a user's id"},
    )
    allow_user_override: bool = Field(
        default=False,
        title="Allow User Override",
        description="Whether users may choose their own authentication_model.",
        examples=[False],
    )
    allow_cleartext_password: bool = Field(
        default=False,
        description="Whether a password may cross a connection without TLS, readable by everyone "
        "on the way.",
        examples=[False],
    )


class Web(Table):
    """``[web]``: whether Microsoft 365 can be chosen at all."""

    allow_microsoft_365: bool = Field(
        default=False,
        title="Allow Microsoft 365 web",
        description="Enables `microsoft-365` for Compose, Send Batch and Send Mailer. Turning it "
        "off acts at once.",
        examples=[False],
    )


class MailOptions(Table):
    """``[mail_options]``: which way each kind of email goes, and whether users may choose."""

    compose: Compose = Field(
        default="accredo-mailer",
        title="Compose",
        description="How a draft is made. `autodetect` on a worker is `accredo-mailer`.",
        examples=["accredo-mailer"],
    )
    compose_allow_user_selection: bool = Field(
        default=False,
        title="Compose: Allow User Selection",
        description="Whether a user's `compose` counts.",
        examples=[False],
    )
    send_batch: SendBatch = Field(
        default="smtp",
        title="Send Batch",
        description="How the emails of a batch are sent.",
        examples=["smtp"],
    )
    send_batch_allow_user_selection: bool = Field(
        default=False,
        title="Send Batch: Allow User Selection",
        description="Whether a user's `send_batch` counts.",
        examples=[False],
    )
    send_mailer: SendMailer = Field(
        default="autodetect",
        title="Send Mailer",
        description="How single emails are sent. `autodetect` on a worker is SMTP where a server "
        "address is set, else Microsoft 365 where it is allowed and registered.",
        examples=["smtp"],
    )
    send_mailer_allow_user_selection: bool = Field(
        default=False,
        title="Send Mailer: Allow User Selection",
        description="Whether a user's `send_mailer` counts.",
        examples=[False],
    )
    signature: str = Field(
        default="",
        max_length=65_536,
        description="Follows the user's signature, unless the user overrides it.",
        examples=["Example Ltd, Wellington"],
    )


class Delivery(Table):
    """``[delivery]``: what happens when things go wrong, and who may be the sender."""

    on_unknown: OnUnknown = Field(
        default="resend",
        description="What becomes of an email whose reply never came: `resend` it once with the "
        "same Message-ID, `hold` it for a person, or `verify` first.",
        examples=["resend"],
    )
    retry_for: Seconds = Field(
        default=4 * 86400.0,
        description="How long to try, from the first attempt; held time does not count.",
        examples=["4d"],
        json_schema_extra={"range": "1s to 30d, with unit s, m, h or d"},
    )
    reply_timeout: Seconds = Field(
        default=600.0,
        le=600.0,
        description="How long to wait for the reply to an email, and how long one whose reply "
        "never came rests before it is resent. RFC 5321 4.5.3.2.6 asks for ten minutes.",
        examples=["10m"],
        json_schema_extra={"range": "1s to 10m, with unit s or m"},
    )
    allowed_from: Senders = Field(
        default=(),
        description="Sender addresses, or whole domains as `@example.nz`. Absent: the user's own "
        "address only, unless the user's file lists more.",
        examples=[["@example.nz"]],
        json_schema_extra={"range": "addresses or @domains"},
    )
    pace: Pace = Field(
        default="even",
        description="`even` spreads a limit over its minute; `burst` uses it as fast as it can.",
        examples=["even"],
    )


class Limits(Table):
    """``[limits]``: what a context may send in a day, and its weight among the others."""

    batch_emails_per_day: PerDay | None = Field(
        default=None,
        description="The most batch emails in any 24 hours, beside batch_emails_per_min. Absent: no "
        "limit. Each context has its own, replicated or not.",
        examples=[5000],
    )
    weight: Weight = Field(
        default=1,
        description="How many turns the context gets under a ceiling for one of a context of "
        "weight 1. Never replicated.",
        examples=[1],
    )


class Tls(Table):
    """``[tls]``: whose certificates are trusted."""

    ca_file: Line | None = Field(
        default=None,
        description="A PEM file, beside this one, of the authorities to trust. Absent: the "
        "system's.",
        examples=["ca.pem"],
        json_schema_extra={"range": "a file"},
    )
    verify: bool = Field(
        default=True,
        description="Whether the server's certificate is checked. Without it anyone on the way "
        "can read mail and password; each start and each check says so.",
        examples=[True],
    )


class Context(Table):
    """The tables that the system and every company have."""

    smtp: Smtp = Smtp()
    web: Web = Web()
    mail_options: MailOptions = MailOptions()
    delivery: Delivery = Delivery()
    limits: Limits = Limits()
    tls: Tls = Tls()
    microsoft_365: Microsoft365 = Microsoft365()


class SystemTable(Table):
    """``[system]``: what only the system sends."""

    error_reports_to: Addresses = Field(
        default=(),
        description="Who gets the error reports of applications.",
        examples=[["it@example.nz"]],
        json_schema_extra={"range": "addresses"},
    )


class SystemLimits(Limits):
    """``[limits]`` of the system: its own, and those that every context shares."""

    all_batch_emails_per_min: PerMinute | None = Field(
        default=None,
        description="One ceiling over every batch of every context. Absent: none.",
        examples=[600],
    )
    all_batch_emails_per_day: PerDay | None = Field(
        default=None,
        description="The same for any 24 hours. Absent: none.",
        examples=[50_000],
    )


class SystemSettings(Context):
    """``system.toml``."""

    system: SystemTable = SystemTable()
    limits: SystemLimits = SystemLimits()
