"""``users/<user>.toml``: the Email tab of one user, of the system or of a company."""

from __future__ import annotations

from pydantic import Field, SecretStr

from config.table import Table
from config.values import (  # noqa: TC001 - pydantic reads the annotations
    Address,
    Addresses,
    AuthenticationModel,
    Compose,
    EmailMb,
    Line,
    MailFormat,
    PerDay,
    PerMinute,
    Recipients,
    SendBatch,
    Senders,
    SendMailer,
    Weight,
)


class Email(Table):
    """``[email]``: who the user is to a mail server and to readers."""

    address: Address | None = Field(
        default=None,
        title="From",
        description="The user's own address: the sender of emails that name none.",
        examples=["jane@example.nz"],
        json_schema_extra={"range": "an address"},
    )
    display_name: str = Field(
        default="",
        max_length=200,
        pattern=r"^[^\r\n\x00]*$",
        description="The name shown beside the address.",
        examples=["Jane Doe"],
        json_schema_extra={"range": "text on one line"},
    )
    username: Line | None = Field(
        default=None,
        title="SMTP User Name",
        description="The name to log in with.",
        examples=["jane@example.nz"],
    )
    password: SecretStr | None = Field(
        default=None,
        title="SMTP Password",
        description="The password itself; better in a file of its own.",
        examples=["…"],
        json_schema_extra={"range": "a secret"},
    )
    password_file: Line | None = Field(
        default=None,
        description="The file that holds the password, beside this one; nobody else may read it.",
        examples=["jane.secret"],
        json_schema_extra={"range": "a file"},
    )
    authentication_model: AuthenticationModel | None = Field(
        default=None,
        title="Authentication Model",
        description="Counts where the context has allow_user_override.",
        examples=["basic"],
    )
    compose: Compose | None = Field(
        default=None,
        title="Compose",
        description="Counts where the context has compose_allow_user_selection.",
        examples=["accredo-mailer"],
    )
    send_batch: SendBatch | None = Field(
        default=None,
        title="Send Batch",
        description="Counts where the context has send_batch_allow_user_selection.",
        examples=["smtp"],
    )
    send_mailer: SendMailer | None = Field(
        default=None,
        title="Send Mailer",
        description="Counts where the context has send_mailer_allow_user_selection.",
        examples=["smtp"],
    )
    mail_format: MailFormat = Field(
        default="html",
        title="Mail Format",
        description="The form of the drafts that this user composes.",
        examples=["html"],
    )
    signature: str = Field(
        default="",
        title="Signature",
        max_length=65_536,
        description="The user's signature; the context's follows it.",
        examples=["Jane Doe, Accounts"],
    )
    override_company_signature: bool = Field(
        default=False,
        title="Override Company Signature",
        description="Whether the user's signature stands alone.",
        examples=[False],
    )
    reply_to: Addresses = Field(
        default=(),
        title="Reply To",
        description="Where answers go, for drafts and jobs that ask for the user's defaults.",
        examples=[["accounts@example.nz"]],
        json_schema_extra={"range": "addresses"},
    )
    cc: Addresses = Field(
        default=(),
        title="Cc",
        description="Copies, for drafts and jobs that ask for the user's defaults.",
        examples=[["accounts@example.nz"]],
        json_schema_extra={"range": "addresses"},
    )
    bcc: Addresses = Field(
        default=(),
        title="Bcc",
        description="Blind copies, for drafts and jobs that ask for the user's defaults.",
        examples=[["archive@example.nz"]],
        json_schema_extra={"range": "addresses"},
    )
    request_read_receipt: bool = Field(
        default=False,
        title="Request Read Receipt",
        description="Asks the reader's program for a receipt.",
        examples=[False],
    )
    mailbox_emails_per_min: PerMinute | None = Field(
        default=None,
        description="The most emails in any minute through this mailbox, batch and single. Absent: "
        "no limit; Office 365 sets 30.",
        examples=[25],
    )
    mailbox_emails_per_day: PerDay | None = Field(
        default=None,
        description="The most emails in any 24 hours through this mailbox, batch and single. "
        "Absent: no limit.",
        examples=[10_000],
    )
    mailbox_recipients_per_day: PerDay | None = Field(
        default=None,
        description="The most recipients in any 24 hours through this mailbox, batch and single: "
        "an email to three counts three. Absent: no limit; Office 365 sets 10000.",
        examples=[10_000],
    )
    mailbox_connections: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="The most connections, or requests to Graph, at a time with this mailbox. "
        "Absent: no limit of its own; Office 365 sets 3.",
        examples=[3],
    )
    mailbox_recipients_per_email: Recipients | None = Field(
        default=None,
        description="The most recipients of one email through this mailbox; one with more is "
        "refused. Absent: no limit of its own; Office 365 sets 500, and its administrator can "
        "allow up to 1000.",
        examples=[500],
    )
    mailbox_email_mb: EmailMb | None = Field(
        default=None,
        description="The largest email through this mailbox, in MB of 1048576 bytes as it crosses "
        "the network (attachments grow by a third); a larger one is refused. Absent: no limit of "
        "its own; Office 365 sets 35, and its administrator can allow up to 150.",
        examples=[35],
    )
    allowed_from: Senders = Field(
        default=(),
        description="Further sender addresses, or whole domains as `@example.nz`.",
        examples=[["sales@example.nz"]],
        json_schema_extra={"range": "addresses or @domains"},
    )
    weight: Weight = Field(
        default=1,
        description="How many turns the user gets for one of another user of the context, of "
        "weight 1.",
        examples=[1],
    )


class UserSettings(Table):
    """A user's file."""

    email: Email = Email()
