"""Values of the settings page that this version accepts but cannot serve: their jobs are held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_DESKTOP: Final = "needs a worker on the user's Windows desktop, which this version does not have"
_GRAPH: Final = "(Microsoft 365) is not served by this version"
_DRAFT: Final = "would leave a draft, which this version does not do"
_NOT_COMPOSE: Final = 'publish the email with kind "send" instead'
_OLD_TLS: Final = "is not served by this version"
_NEWER_TLS: Final = 'write "tls1.2", "tls1.3" or "tls"'
_SEND_BY_SMTP: Final = 'write "smtp"'

HELD: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("transport_security", "tls1.0"): (_OLD_TLS, _NEWER_TLS),
    ("transport_security", "tls1.1"): (_OLD_TLS, _NEWER_TLS),
    ("authentication_model", "oauth2"): ("is not served by this version", 'write "basic"'),
    ("on_unknown", "verify"): ("is not served by this version", 'write "resend" or "hold"'),
    ("send_mailer", "microsoft-365"): (_GRAPH, _SEND_BY_SMTP),
    ("send_mailer", "outlook"): (_DESKTOP, _SEND_BY_SMTP),
    ("send_mailer", "full-mapi"): (_DESKTOP, _SEND_BY_SMTP),
    ("send_mailer", "simple-mapi"): (_DESKTOP, _SEND_BY_SMTP),
    ("send_batch", "microsoft-365"): (_GRAPH, _SEND_BY_SMTP),
    ("send_batch", "outlook"): (_DESKTOP, _SEND_BY_SMTP),
    ("send_batch", "full-mapi"): (_DESKTOP, _SEND_BY_SMTP),
    ("compose", "accredo-mailer"): (_DRAFT, _NOT_COMPOSE),
    ("compose", "autodetect"): (_DRAFT, _NOT_COMPOSE),
    ("compose", "microsoft-365"): (_GRAPH, _NOT_COMPOSE),
    ("compose", "outlook"): (_DESKTOP, _NOT_COMPOSE),
    ("compose", "full-mapi"): (_DESKTOP, _NOT_COMPOSE),
    ("compose", "simple-mapi"): (_DESKTOP, _NOT_COMPOSE),
}
"""(last part of the key, value) → what is wrong with it, and what to do instead."""


def held(name: str, value: object) -> str | None:
    """The sentence for a value that is not served: ``"tls1.0" …; write …``; None where it is.

    Args:
        name: the key's last part, the same in a context's file and in a user's.
        value: the value.
    """
    if not isinstance(value, str) or (name, value) not in HELD:
        return None
    what, instead = HELD[name, value]
    return f'"{value}" {what}; {instead}'
