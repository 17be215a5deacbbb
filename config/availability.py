"""Values of the settings page that this version accepts but cannot serve: their jobs are held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_DESKTOP: Final = "needs a worker on the user's Windows desktop, which this version does not have"
_DRAFT_INSTEAD: Final = 'write "accredo-mailer" or "microsoft-365"'
_MAIL_INSTEAD: Final = 'write "smtp" or "microsoft-365"'

HELD: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("send_mailer", "outlook"): (_DESKTOP, _MAIL_INSTEAD),
    ("send_mailer", "full-mapi"): (_DESKTOP, _MAIL_INSTEAD),
    ("send_mailer", "simple-mapi"): (_DESKTOP, _MAIL_INSTEAD),
    ("send_batch", "outlook"): (_DESKTOP, _MAIL_INSTEAD),
    ("send_batch", "full-mapi"): (_DESKTOP, _MAIL_INSTEAD),
    ("compose", "outlook"): (_DESKTOP, _DRAFT_INSTEAD),
    ("compose", "full-mapi"): (_DESKTOP, _DRAFT_INSTEAD),
    ("compose", "simple-mapi"): (_DESKTOP, _DRAFT_INSTEAD),
}
"""(last part of the key, value) → what is wrong with it, and what to do instead."""


def held(name: str, value: object) -> str | None:
    """The sentence for a value that is not served: ``"outlook" …; write …``; None where it is.

    Args:
        name: the key's last part, the same in a context's file and in a user's.
        value: the value.
    """
    if not isinstance(value, str) or (name, value) not in HELD:
        return None
    what, instead = HELD[name, value]
    return f'"{value}" {what}; {instead}'
