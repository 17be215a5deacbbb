"""Pure: one context, one user, one kind of job → the settings in force, with provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from config.availability import held
from config.context import Context, Picked, pick_alone
from config.effective import EffectiveSettings
from config.errors import InvalidContext
from config.office365 import Preset, is_office365
from config.registration import registration_of
from config.rules import microsoft_365_off, oauth2_errors, registered, unregistered
from config.values import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.layer import Layer, Written
    from config.registration import Registration
    from config.values import Kind

OPTION: Final[Mapping[str, str]] = {
    "send": "send_mailer",
    "batch": "send_batch",
    "compose": "compose",
}
"""The mail option that says which way each kind of job goes."""

_SMTP: Final = (
    "server_address",
    "port",
    "authorisation",
    "transport_security",
    "tls_mode",
    "authentication_model",
    "oauth2_provider",
    "connection_timeout_ms",
    "batch_emails_per_min",
    "allow_cleartext_password",
)
_CONTEXT: Final[Mapping[str, str]] = {
    **{name: f"smtp.{name}" for name in _SMTP},
    "allow_microsoft_365": "web.allow_microsoft_365",
    "uncarried": "microsoft_365.uncarried",
    "verify_certificate": "tls.verify",
    "ca_file": "tls.ca_file",
    "on_unknown": "delivery.on_unknown",
    "retry_for_seconds": "delivery.retry_for",
    "reply_timeout_seconds": "delivery.reply_timeout",
    "pace": "delivery.pace",
    "batch_emails_per_day": "limits.batch_emails_per_day",
    "company_weight": "limits.weight",
}
_USER: Final = (
    "address",
    "display_name",
    "username",
    "password",
    "mail_format",
    "reply_to",
    "cc",
    "bcc",
    "request_read_receipt",
    "mailbox_emails_per_min",
    "mailbox_emails_per_day",
    "mailbox_recipients_per_day",
    "mailbox_connections",
    "mailbox_recipients_per_email",
    "mailbox_email_mb",
)


def resolve(context: Context, user: Layer, kind: Kind, shared: Layer | None) -> EffectiveSettings:
    """What is in force for one job.

    Args:
        context: the job's context, without errors.
        user: the user's file, without errors.
        kind: the job's kind.
        shared: the system's file, which has what all contexts share.

    Raises:
        InvalidContext: what was chosen needs Microsoft 365, which is not allowed (any more) or has
            no registration, or the user's OAuth2 does not go with a variable.
    """
    name = user.place.user or ""
    picked = _smtp_of(context, user)
    picked["user_weight"] = pick_alone("email.weight", user)
    for option in OPTION.values():
        gate = f"mail_options.{option}_allow_user_selection"
        picked[option] = _chosen(context, user, option, f"mail_options.{option}", gate)
    picked["signature"] = _signature(context, user)
    picked["allowed_from"] = _allowed_from(context, user)
    for attribute, dotted in (
        ("all_batch_emails_per_min", "limits.all_batch_emails_per_min"),
        ("all_batch_emails_per_day", "limits.all_batch_emails_per_day"),
        ("error_reports_to", "system.error_reports_to"),
    ):
        picked[attribute] = pick_alone(dotted, shared)

    way = picked[OPTION[kind]]
    transport, nothing = _transport(context, kind, way.value, picked["server_address"].value)
    preset = _preset(context, transport, way, picked)
    for attribute in _USER:
        picked[attribute] = pick_alone(f"email.{attribute}", user, preset)
    values = {attribute: each.value for attribute, each in picked.items()}
    app = _registration(context, transport, way, picked["authentication_model"], user.place.user)
    return EffectiveSettings(
        context=context.id,
        company=None if context.id == SYSTEM else context.id,
        user=name,
        kind=kind,
        transport=transport,
        provenance={attribute: each.provenance() for attribute, each in picked.items()},
        held_reason=nothing
        or _held_reason(context, kind, transport, picked)
        or (_no_mailbox(user, picked) if app else None),
        registration=app,
        **values,
    )


def _preset(
    context: Context, transport: str, way: Picked, picked: Mapping[str, Picked]
) -> Preset | None:
    """The choice that sets the mailbox's limits, if one was made: of the way, the login, the server.

    A user who stays with Basic in a context of OAuth2 uses the same server, with the same limits.
    """
    if transport == "microsoft-365":
        allowed = context.values["web.allow_microsoft_365"].written
        return Preset("microsoft-365", way.written.file or allowed.file)
    for model in (context.values["smtp.authentication_model"], picked["authentication_model"]):
        if model.value == "oauth2":
            return Preset("oauth2", model.written.file)
    server = picked["server_address"]
    if transport == "smtp" and is_office365(server.value):
        return Preset("office365", server.written.file)
    return None


def _registration(
    context: Context, transport: str, way: Picked, model: Picked, user: str | None
) -> Registration | None:
    """The app registration that the way needs, or the look into Sent Items, if one does.

    Raises:
        InvalidContext: there is none (any more), or Microsoft 365 is not allowed.
    """
    by_graph = transport == "microsoft-365"
    unknown = context.values["delivery.on_unknown"]
    by_oauth2, verifies = model.value == "oauth2", unknown.value == "verify"
    if not by_graph and (transport != "smtp" or not (by_oauth2 or verifies)):
        return None
    choice = (way if by_graph else unknown if verifies else model).written
    if (by_graph or verifies) and not context["web.allow_microsoft_365"]:
        wrong = microsoft_365_off(context, choice, user)
    elif not registered(context):
        wrong = unregistered(context, choice, user)
    else:
        return registration_of(context.__getitem__)
    raise InvalidContext(f"{context.id}/{user}", (wrong,))


def _smtp_of(context: Context, user: Layer) -> dict[str, Picked]:
    """The context's values, after the user's choice of an authentication model."""
    values = context.values
    model = _chosen(
        context,
        user,
        "authentication_model",
        "smtp.authentication_model",
        "smtp.allow_user_override",
    )
    if model.value == "oauth2" and context["smtp.authentication_model"] != "oauth2":
        values = context.with_oauth2_by(model.written)
        wrong = tuple(oauth2_errors(context, values))
        if wrong:
            raise InvalidContext(f"{context.id}/{user.place.user}", wrong)
    picked = {attribute: values[dotted] for attribute, dotted in _CONTEXT.items()}
    picked["authentication_model"] = model
    return picked


def _chosen(context: Context, user: Layer, option: str, dotted: str, gate: str) -> Picked:
    """The user's choice where its gate is open, else the context's; the other with the reason."""
    ours = context.values[dotted]
    written = user.values.get(f"email.{option}", ())
    if not written:
        return ours
    if context[gate]:
        stronger = tuple((each, "environment wins over TOML") for each in written[1:])
        lost = ((ours.written, f"{gate} lets the user's choice win"), *ours.lost)
        return Picked(written[0], (*stronger, *lost))
    closed = tuple((each, f"{gate} is not on") for each in written)
    return Picked(ours.written, (*closed, *ours.lost))


def _signature(context: Context, user: Layer) -> Picked:
    """The user's followed by the context's, or the user's alone."""
    ours, theirs = context.values["mail_options.signature"], pick_alone("email.signature", user)
    if pick_alone("email.override_company_signature", user).value:
        why = "override_company_signature leaves the user's alone"
        return Picked(theirs.written, (*theirs.lost, (ours.written, why)))
    if not theirs.value or not ours.value:
        return ours if ours.value else theirs
    both = _joined(theirs.written, f"{theirs.value}\n{ours.value}")
    return Picked(both, (*theirs.lost, (ours.written, "also in force: it follows the user's")))


def _allowed_from(context: Context, user: Layer) -> Picked:
    """Everyone the user may send as: own address, the user's list, the context's list."""
    ours, theirs = context.values["delivery.allowed_from"], pick_alone("email.allowed_from", user)
    address = pick_alone("email.address", user)
    value = dict.fromkeys((*filter(None, (address.value,)), *theirs.value, *ours.value))
    parts = [each for each in (theirs, ours, address) if each.value] or [ours]
    also = tuple((each.written, "also in force: the lists are added") for each in parts[1:])
    return Picked(_joined(parts[0].written, tuple(value)), also)


def _joined(written: Written, value: Any) -> Written:
    return type(written)(value, written.layer, written.file, written.key, written.strength)


def _transport(
    context: Context, kind: Kind, way: str, server: str | None
) -> tuple[Any, str | None]:
    """The way with ``autodetect`` resolved, and a sentence where nothing can be detected.

    Args:
        server: the SMTP server in force, be it what the user's OAuth2 sets.
    """
    if way != "autodetect":
        return way, None
    if kind == "compose":
        return "accredo-mailer", None
    if server is not None:
        return "smtp", None
    if context["web.allow_microsoft_365"] and registered(context):
        return "microsoft-365", None
    file = context.own.place.file
    return "smtp", (
        f"{file}: mail_options.{OPTION[kind]} = autodetect finds no way to send: write "
        "smtp.server_address, or web.allow_microsoft_365 = true and a [microsoft_365]"
    )


def _held_reason(
    context: Context, kind: Kind, transport: str, picked: Mapping[str, Picked]
) -> str | None:
    """Why this job cannot be delivered by this version as it is set, in one sentence."""
    option = OPTION[kind]
    if transport == "smtp" and picked["server_address"].value is None:
        way = f"{context.own.place.file}: mail_options.{option} = {transport}"
        return f"{way} needs smtp.server_address, which is not written"
    return _sentence(option, transport, picked[option])


def _no_mailbox(user: Layer, picked: Mapping[str, Picked]) -> str | None:
    if picked["username"].value or picked["address"].value:
        return None
    return f"{user.place.file}: email.username is missing: it names the mailbox to send from"


def _sentence(name: str, value: str, picked: Picked) -> str | None:
    sentence = held(name, value)
    if sentence is None:
        return None
    written = picked.written
    chosen = f'"{picked.value}", here ' if picked.value != value else ""
    return f"{written.file or 'default'}: {written.key} = {chosen}{sentence}"
