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
    name = dotted.rpartition(".")[2]
    if (name, choice) not in HELD:
        assert reason is None
        assert settings.held == ()
        return
    assert reason is not None
    assert f'{dotted} = "{choice}"' in reason
    assert HELD[name, choice][1] in reason
    assert "\n" not in reason
    assert [each.key for each in settings.held] == [dotted]


@pytest.mark.parametrize("way", ["accredo-mailer", "autodetect"])
def test_a_draft_that_is_a_file_needs_no_server(tree: SettingsTree, way: str) -> None:
    """A context without SMTP and Microsoft 365 can compose; autodetect finds the file."""
    tree.write("system.toml", f'mail_options.compose = "{way}"\n')
    settings = tree.resolve(kind="compose")
    assert (settings.held_reason, settings.transport) == (None, "accredo-mailer")
    assert settings.server == ""


def test_only_what_needs_a_desktop_is_held() -> None:
    """Every other value of every key is served."""
    assert {value for _, value in HELD} == {"outlook", "full-mapi", "simple-mapi"}


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
    """Allowed and registered, without a server: that is the way."""
    tree.write("system.toml", "web.allow_microsoft_365 = true\n" + REGISTRATION)
    settings = tree.resolve()
    assert (settings.transport, settings.held_reason) == ("microsoft-365", None)
    assert settings.registration is not None


@pytest.mark.parametrize("version", ["tls1.0", "tls1.1"])
def test_old_tls_is_served_with_a_warning(tree: SettingsTree, version: str) -> None:
    """What is broken since 2011 is delivered where somebody wants it, and said so."""
    tree.write("system.toml", SMTP.replace('"tls"', f'"{version}"'))
    settings = tree.load()
    assert settings.resolve(None, "jane", "send").held_reason is None
    assert "broken since 2011" in str(settings.warnings[0])
