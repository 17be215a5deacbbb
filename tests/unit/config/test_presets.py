"""What choosing Microsoft 365 or OAuth2 sets for a mailbox, and who is said to have set it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.effective import EffectiveSettings, source_of
from tests.support.settings_tree import JANE, SMTP

if TYPE_CHECKING:
    from config.values import Kind
    from tests.support.settings_tree import SettingsTree

M365 = (
    '[microsoft_365]\ntenant_id = "t"\nclient_id = "c"\nclient_secret = "s"\n'
    "[web]\nallow_microsoft_365 = true\n"
)
LIMITS = (
    "mailbox_emails_per_min",
    "mailbox_recipients_per_day",
    "mailbox_connections",
    "mailbox_recipients_per_email",
    "mailbox_email_mb",
)
OFFICE = (30, 10_000, 3, 500, 35)


def limits(settings: EffectiveSettings) -> tuple[int | None, ...]:
    """The limits of the mailbox that are in force."""
    return tuple(getattr(settings, name) for name in LIMITS)


def layers(settings: EffectiveSettings) -> set[str]:
    """Who has set them."""
    return {settings.provenance[name].layer for name in LIMITS}


@pytest.mark.parametrize(
    ("option", "kind"), [("send_mailer", "send"), ("send_batch", "batch"), ("compose", "compose")]
)
def test_the_way_by_graph_has_the_mailboxes_limits(
    tree: SettingsTree, option: str, kind: Kind
) -> None:
    """Exchange's limits stand behind Graph too; the choice and its file are named."""
    tree.write("system.toml", SMTP + M365 + f'[mail_options]\n{option} = "microsoft-365"\n')
    settings = tree.resolve(kind=kind)
    assert settings.transport == "microsoft-365"
    assert limits(settings) == OFFICE
    assert layers(settings) == {"microsoft-365"}
    assert settings.provenance["mailbox_recipients_per_day"].source == (
        "[email] mailbox_recipients_per_day, set by microsoft-365 in system.toml"
    )


def test_mail_that_goes_another_way_has_none(tree: SettingsTree) -> None:
    """The choice is one kind's: single mails by one's own server keep their freedom."""
    tree.write("system.toml", SMTP + M365 + '[mail_options]\nsend_batch = "microsoft-365"\n')
    settings = tree.resolve(kind="send")
    assert (settings.transport, limits(settings)) == ("smtp", (None,) * 5)
    assert layers(settings) == {"default"}


def test_what_was_found_by_itself_names_the_file_that_allows_it(tree: SettingsTree) -> None:
    """Nobody wrote the way down where autodetect found it."""
    tree.write("system.toml", M365)
    settings = tree.resolve()
    assert (settings.transport, limits(settings)) == ("microsoft-365", OFFICE)
    assert settings.provenance["mailbox_connections"].file == "system.toml"


def test_a_user_who_chose_it_is_named(tree: SettingsTree) -> None:
    """Through an open gate the choice is the user's, and so is the file that is named."""
    gate = "[mail_options]\nsend_mailer_allow_user_selection = true\n"
    tree.write("system.toml", SMTP + M365 + gate)
    tree.write("users/jane.toml", JANE + 'send_mailer = "microsoft-365"\n')
    settings = tree.resolve()
    assert limits(settings) == OFFICE
    assert settings.provenance["mailbox_email_mb"].file == "users/jane.toml"


def test_the_users_own_limits_win(tree: SettingsTree) -> None:
    """An administrator may have allowed more, or the operator wants less; the preset is told."""
    tree.write("system.toml", M365)
    written = "mailbox_recipients_per_email = 1000\nmailbox_emails_per_min = 20\n"
    tree.write("users/jane.toml", JANE + written)
    settings = tree.resolve()
    assert limits(settings) == (20, 10_000, 3, 1000, 35)
    (lost,) = settings.provenance["mailbox_recipients_per_email"].losers
    assert (lost.layer, lost.value, lost.why) == (
        "microsoft-365",
        "500",
        "the user's own value wins",
    )


def test_oauth2_sets_the_same(tree: SettingsTree) -> None:
    """The mailbox is the same, whichever way leads to it."""
    tree.write("system.toml", M365 + '[smtp]\nauthentication_model = "oauth2"\n')
    settings = tree.resolve()
    assert (settings.transport, limits(settings)) == ("smtp", OFFICE)
    assert layers(settings) == {"oauth2"}
    by_graph = '[smtp]\nauthentication_model = "oauth2"\n[mail_options]\nsend_mailer = '
    tree.write("system.toml", M365 + by_graph + '"microsoft-365"\n')
    assert layers(tree.resolve()) == {"microsoft-365"}


def test_a_server_of_office365_has_them_whatever_the_login(tree: SettingsTree) -> None:
    """Basic authentication opens the same mailbox; the file that names the server is told."""
    office = SMTP.replace("smtp.example.nz", "smtp.office365.com")
    tree.write("system.toml", office)
    settings = tree.resolve()
    assert (settings.authentication_model, limits(settings)) == ("basic", OFFICE)
    assert layers(settings) == {"office365"}
    assert settings.provenance["mailbox_emails_per_min"].source == (
        "[email] mailbox_emails_per_min, set by office365 in system.toml"
    )
    tree.write("users/jane.toml", JANE + "mailbox_emails_per_min = 20\n")
    settings = tree.resolve(kind="batch")
    assert limits(settings) == (20, *OFFICE[1:])
    (lost,) = settings.provenance["mailbox_emails_per_min"].losers
    assert (lost.layer, lost.value) == ("office365", "30")


@pytest.mark.parametrize("server", ["smtp.example.nz", "acme.mail.protection.outlook.com"])
def test_another_server_sets_no_limits(tree: SettingsTree, server: str) -> None:
    """A relay (MX) of Office 365 counts otherwise, and nothing is known of other servers."""
    tree.write("system.toml", SMTP.replace("smtp.example.nz", server))
    assert limits(tree.resolve()) == (None,) * 5


def test_a_file_is_under_no_servers_limits(tree: SettingsTree) -> None:
    """A draft that is a file leaves by no server of the context."""
    tree.write("system.toml", SMTP.replace("smtp.example.nz", "smtp.office365.com"))
    settings = tree.resolve(kind="compose")
    assert (settings.transport, limits(settings)) == ("accredo-mailer", (None,) * 5)


def test_the_server_that_a_users_oauth2_sets_is_found_by_itself(tree: SettingsTree) -> None:
    """Where the context has none: the user who chose it has a way, by SMTP, and others have none."""
    registered = M365.partition("[web]")[0]
    tree.write("system.toml", registered + "[smtp]\nallow_user_override = true\n")
    tree.write("users/jane.toml", JANE + 'authentication_model = "oauth2"\n')
    tree.write("users/bob.toml", JANE)
    settings = tree.resolve()
    assert (settings.transport, settings.held_reason) == ("smtp", None)
    assert (settings.server, limits(settings)) == ("smtp.office365.com:587", OFFICE)
    assert "finds no way to send" in str(tree.resolve(user="bob").held_reason)


def test_where_a_value_is_set_is_told_for_people() -> None:
    """A variable by its name, a file with table and key, a default by its key alone."""
    assert source_of("environment", "POSTMETER_X", "smtp.port") == "POSTMETER_X"
    assert source_of("system", "system.toml", "smtp.port") == "system.toml [smtp] port"
    assert source_of("company", "company.toml", "name") == "company.toml name"
    assert source_of("default", None, "smtp.port") == "[smtp] port"
