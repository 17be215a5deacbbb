"""Every value of every enumerated key is delivered, or held with a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.availability import HELD
from config.context import KEYS
from tests.support.settings_tree import JANE, SMTP

if TYPE_CHECKING:
    from config.values import Kind
    from tests.support.settings_tree import SettingsTree

REGISTRATION = '[microsoft_365]\ntenant_id = "t"\nclient_id = "c"\nclient_secret = "s"\n'
HARMLESS = {
    "smtp.authorisation": {"none", "required", "optional"},
    "smtp.transport_security": {"none", "ssl", "tls1.2", "tls1.3", "tls"},
    "smtp.tls_mode": {"auto", "starttls", "implicit"},
    "smtp.authentication_model": {"basic"},
    "smtp.oauth2_provider": {"office365-smtp"},
    "mail_options.compose": set(),
    "mail_options.send_batch": {"smtp"},
    "mail_options.send_mailer": {"smtp", "autodetect"},
    "delivery.on_unknown": {"resend", "hold"},
    "delivery.pace": {"even", "burst"},
    # Used only with oauth2 and microsoft-365, which are held themselves.
    "microsoft_365.grant": {"client-secret", "certificate", "managed-identity", "device-code"},
    "microsoft_365.cloud": {"global", "us-gov", "us-dod", "china", "custom"},
    "email.mail_format": {"html", "plain"},
    "email.authentication_model": {"basic"},
    "email.compose": set(),
    "email.send_batch": {"smtp"},
    "email.send_mailer": {"smtp", "autodetect"},
}
ENUMERATED = [(dotted, choice) for dotted, key in KEYS.items() for choice in key.choices]
BASE = (
    'smtp.server_address = "smtp.example.nz"\nsmtp.allow_user_override = true\n'
    "web.allow_microsoft_365 = true\n"
    "mail_options.compose_allow_user_selection = true\n"
    "mail_options.send_batch_allow_user_selection = true\n"
    "mail_options.send_mailer_allow_user_selection = true\n"
)


@pytest.mark.parametrize(("dotted", "choice"), ENUMERATED)
def test_every_value_is_delivered_or_held(tree: SettingsTree, dotted: str, choice: str) -> None:
    """A held value is reported by the check, and its job gets a sentence with key and way out."""
    kind: Kind = "batch" if "batch" in dotted else "compose" if "compose" in dotted else "send"
    system, user = BASE, JANE
    if dotted.startswith("email."):
        user += f'{dotted.removeprefix("email.")} = "{choice}"\n'
    elif not dotted.startswith("microsoft_365."):
        system += f'{dotted} = "{choice}"\n'
    if dotted != "smtp.transport_security":
        system += 'smtp.transport_security = "tls"\n'
    tree.write("system.toml", system + REGISTRATION)
    tree.write("users/jane.toml", user)
    settings = tree.load()
    assert settings.errors_by_context() == {}
    reason = settings.resolve(None, "jane", kind).held_reason
    if choice in HARMLESS[dotted]:
        assert reason is None
        return
    name = dotted.rpartition(".")[2]
    assert reason is not None
    assert f'{dotted} = "{choice}"' in reason
    assert HELD[name, choice][1] in reason
    assert "\n" not in reason
    assert [each.key for each in settings.held] == [dotted]


def test_a_default_that_is_not_served_holds_too(tree: SettingsTree) -> None:
    """A compose job waits for a version that makes drafts, whoever chose the default."""
    reason = tree.resolve(kind="compose").held_reason
    assert reason is not None
    assert reason.startswith('default: mail_options.compose = "accredo-mailer" would leave a draft')
    assert tree.load().held == ()


def test_autodetect_without_any_way_says_what_to_set(tree: SettingsTree) -> None:
    """Nothing to detect is not an error of the file: the job waits, and the keys are named."""
    tree.write("system.toml", "")
    reason = tree.resolve().held_reason
    assert reason == (
        "system.toml: mail_options.send_mailer = autodetect finds no way to send: write "
        "smtp.server_address, or web.allow_microsoft_365 = true and a [microsoft_365]"
    )
    assert "needs smtp.server_address" in (tree.resolve(kind="batch").held_reason or "")


def test_autodetect_finds_microsoft_365(tree: SettingsTree) -> None:
    """Allowed and registered, without a server: that is the way, held in this version."""
    tree.write("system.toml", "web.allow_microsoft_365 = true\n" + REGISTRATION)
    settings = tree.resolve()
    assert settings.transport == "microsoft-365"
    assert 'mail_options.send_mailer = "autodetect", here "microsoft-365"' in (
        settings.held_reason or ""
    )


@pytest.mark.parametrize("version", ["tls1.0", "tls1.1"])
def test_old_tls_does_not_hold_what_goes_another_way(tree: SettingsTree, version: str) -> None:
    """A value holds only jobs that would use it, and it warns."""
    tree.write("system.toml", SMTP.replace('"tls"', f'"{version}"'))
    settings = tree.load()
    assert "compose" in (settings.resolve(None, "jane", "compose").held_reason or "")
    assert version in (settings.resolve(None, "jane", "send").held_reason or "")
    assert "broken since 2011" in str(settings.warnings[0])
