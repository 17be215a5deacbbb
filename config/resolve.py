"""Pure: one context, one user, one kind of job → the settings in force, with provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from config.availability import held
from config.context import Context, Picked, pick_alone
from config.effective import EffectiveSettings
from config.errors import InvalidContext
from config.rules import microsoft_365_off, oauth2_errors, registered
from config.values import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.layer import Layer, Written
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
    "mailbox_connections",
)


def resolve(context: Context, user: Layer, kind: Kind, shared: Layer | None) -> EffectiveSettings:
    """What is in force for one job.

    Args:
        context: the job's context, without errors.
        user: the user's file, without errors.
        kind: the job's kind.
        shared: the system's file, which has what all contexts share.

    Raises:
        InvalidContext: the way chosen is Microsoft 365, which is not allowed (any more), or the
            user's OAuth2 does not go with a variable.
    """
    name = user.place.user or ""
    picked = _smtp_of(context, user)
    oauth2 = context.values["smtp.authentication_model"].written
    if oauth2.value != "oauth2":
        oauth2 = picked["authentication_model"].written
    for attribute in _USER:
        chosen_by = oauth2 if oauth2.value == "oauth2" else None
        picked[attribute] = pick_alone(f"email.{attribute}", user, chosen_by)
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
    transport, nothing = _transport(context, kind, way.value)
    if transport == "microsoft-365" and not context["web.allow_microsoft_365"]:
        problem = microsoft_365_off(context, way.written, user.place.user)
        raise InvalidContext(f"{context.id}/{name}", (problem,))
    values = {attribute: each.value for attribute, each in picked.items()}
    return EffectiveSettings(
        context=context.id,
        company=None if context.id == SYSTEM else context.id,
        user=name,
        kind=kind,
        transport=transport,
        provenance={attribute: each.provenance() for attribute, each in picked.items()},
        held_reason=nothing or _held_reason(context, kind, transport, picked),
        **values,
    )


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


def _transport(context: Context, kind: Kind, way: str) -> tuple[Any, str | None]:
    """The way with ``autodetect`` resolved, and a sentence where nothing can be detected."""
    if way != "autodetect":
        return way, None
    if kind == "compose":
        return "accredo-mailer", None
    if context["smtp.server_address"] is not None:
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
    sentences = [_sentence(option, transport, picked[option])]
    if transport == "smtp":
        if picked["server_address"].value is None:
            file, way = context.own.place.file, f"mail_options.{option} = {transport}"
            sentences.append(f"{file}: {way} needs smtp.server_address, which is not written")
        sentences += [
            _sentence(name, picked[name].value, picked[name])
            for name in ("authentication_model", "transport_security", "on_unknown")
        ]
    return next(filter(None, sentences), None)


def _sentence(name: str, value: str, picked: Picked) -> str | None:
    sentence = held(name, value)
    if sentence is None:
        return None
    written = picked.written
    chosen = f'"{picked.value}", here ' if picked.value != value else ""
    return f"{written.file or 'default'}: {written.key} = {chosen}{sentence}"
