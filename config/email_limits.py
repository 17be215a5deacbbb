"""What one email through a mailbox may be: how many recipients, and how large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from config.effective import EffectiveSettings

_MB: Final = 1024 * 1024


def provider_refuses(recipients: int, size_bytes: int, settings: EffectiveSettings) -> str | None:
    """Why the provider would refuse this email, in one sentence; None where it would not.

    Known before anything is connected to. A draft has its size, and the recipients that it will be
    sent to are its person's; a draft that is a file has no provider at all.

    Args:
        recipients: of the envelope.
        size_bytes: of the email as it crosses the network, with its attachments encoded.
        settings: the settings in force.
    """
    if settings.transport == "accredo-mailer":
        return None
    most, most_mb = settings.mailbox_recipients_per_email, settings.mailbox_email_mb
    through = f"one email through the mailbox of {settings.account} may have"
    if most is not None and recipients > most and settings.kind != "compose":
        source = settings.provenance["mailbox_recipients_per_email"].source
        return f"{recipients} recipients, and {through} {most} ({source}): send it in parts"
    if most_mb is not None and size_bytes > most_mb * _MB:
        source = settings.provenance["mailbox_email_mb"].source
        size = f"{size_bytes / _MB:.1f} MB as it crosses the network"
        return f"{size}, and {through} {most_mb} ({source}): send a link instead of attachments"
    return None
