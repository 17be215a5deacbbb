"""Effective settings for tests: every field has a harmless value, and any can be set."""

from __future__ import annotations

from typing import Any

from config.effective import EffectiveSettings


def make_settings(**changes: Any) -> EffectiveSettings:
    """Return settings of user jane of acme, for a server on 127.0.0.1 in clear, changed as asked."""
    fields: dict[str, Any] = {
        "context": "acme",
        "company": "acme",
        "user": "jane",
        "kind": "send",
        "server_address": "127.0.0.1",
        "port": 25,
        "authorisation": "none",
        "transport_security": "none",
        "tls_mode": "auto",
        "authentication_model": "basic",
        "oauth2_provider": None,
        "connection_timeout_ms": 5000,
        "batch_emails_per_min": None,
        "batch_emails_per_day": None,
        "allow_microsoft_365": False,
        "compose": "accredo-mailer",
        "send_batch": "smtp",
        "send_mailer": "autodetect",
        "transport": "smtp",
        "uncarried": "refuse",
        "allow_cleartext_password": False,
        "verify_certificate": True,
        "ca_file": None,
        "on_unknown": "resend",
        "retry_for_seconds": 345600.0,
        "reply_timeout_seconds": 600.0,
        "allowed_from": (),
        "pace": "even",
        "all_batch_emails_per_min": None,
        "all_batch_emails_per_day": None,
        "mailbox_emails_per_min": None,
        "mailbox_emails_per_day": None,
        "mailbox_recipients_per_day": None,
        "mailbox_connections": None,
        "mailbox_recipients_per_email": None,
        "mailbox_email_mb": None,
        "company_weight": 1,
        "user_weight": 1,
        "address": "jane@example.nz",
        "display_name": "Jane Smith",
        "username": None,
        "password": None,
        "mail_format": "html",
        "signature": "",
        "reply_to": (),
        "cc": (),
        "bcc": (),
        "request_read_receipt": False,
        "error_reports_to": (),
        "provenance": {},
        "held_reason": None,
    }
    return EffectiveSettings(**(fields | changes))
