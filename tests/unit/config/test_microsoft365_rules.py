"""What needs Microsoft 365 is an error where it is not allowed, or has no app registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.errors import InvalidContext
from tests.support.settings_tree import JANE, SMTP, lines

if TYPE_CHECKING:
    from tests.support.settings_tree import SettingsTree

ON = "[web]\nallow_microsoft_365 = true\n"
SECRET = '[microsoft_365]\ntenant_id = "t"\nclient_id = "c"\nclient_secret = "s"\n'
WHAT_IS_MISSING = "tenant_id, client_id and client_secret_file of [microsoft_365] in system.toml"


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ('[mail_options]\nsend_mailer = "microsoft-365"\n', "mail_options.send_mailer", "m"),
        ('[mail_options]\nsend_batch = "microsoft-365"\n', "mail_options.send_batch", "m"),
        ('[mail_options]\ncompose = "microsoft-365"\n', "mail_options.compose", "m"),
        ('[delivery]\non_unknown = "verify"\n', "delivery.on_unknown", "v"),
    ],
)
def test_without_a_registration_the_missing_keys_are_named(
    tree: SettingsTree, written: str, key: str, value: str
) -> None:
    """Nobody has to guess what Microsoft 365 needs; without permission that comes first."""
    choice = {"m": "microsoft-365", "v": "verify"}[value]
    tree.write("system.toml", SMTP + ON + written)
    assert lines(tree.load(), "_system") == [
        f'system.toml: {key}: "{choice}" needs {WHAT_IS_MISSING}'
    ]
    tree.write("system.toml", SMTP + written)
    assert lines(tree.load(), "_system") == [
        f'system.toml: {key}: "{choice}" needs web.allow_microsoft_365 = true in system.toml'
    ]
    tree.write("system.toml", SMTP + ON + SECRET + written)
    assert lines(tree.load(), "_system") == []


def test_oauth2_needs_a_registration_too(tree: SettingsTree) -> None:
    """The token is the application's, or is had through it."""
    tree.write("system.toml", '[smtp]\nauthentication_model = "oauth2"\n')
    assert lines(tree.load(), "_system") == [
        f'system.toml: smtp.authentication_model: "oauth2" needs {WHAT_IS_MISSING}'
    ]


@pytest.mark.parametrize(
    ("table", "missing"),
    [
        ('tenant_id = "t"\n', ["client_id", "client_secret"]),
        ('grant = "certificate"\nclient_id = "c"\n', ["tenant_id", "certificate_file"]),
        ('grant = "device-code"\n', ["tenant_id", "client_id"]),
        (
            'grant = "managed-identity"\ncloud = "custom"\ngraph_url = "https://g"\n',
            ["authority_url", "smtp_host"],
        ),
    ],
)
def test_a_registration_that_was_begun_is_told_what_it_lacks(
    tree: SettingsTree, table: str, missing: list[str]
) -> None:
    """One line for each missing key, with the value that needs it, and none about the choice."""
    choice = '[mail_options]\nsend_mailer = "microsoft-365"\n'
    tree.write("system.toml", SMTP + ON + choice + "[microsoft_365]\n" + table)
    found = lines(tree.load(), "_system")
    assert [each.partition(": missing:")[0] for each in found] == [
        f"system.toml: microsoft_365.{name}" for name in missing
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.nz",
        "https://",
        "https://login.example.nz:99999",
        "https://login.example.nz:x",
        "https://login example.nz",
        "https://login.example.nz/a\\tb",
        "https://[::1",
        "https://login.example.nz?a=1",
        "https://login.example.nz#a",
        "https://me@login.example.nz",
    ],
)
def test_an_address_that_is_none_holds_its_context_alone(tree: SettingsTree, url: str) -> None:
    """It is told of as it is read: a hold takes its server's name from it, for every line there is."""
    for name in ("authority_url", "graph_url"):
        tree.company(text=f'microsoft_365.{name} = "{url}"\n')
        settings = tree.load()
        assert lines(settings, "_system") == []
        (found,) = [each for each in lines(settings, "acme") if name in each]
        assert found.endswith('write an https address, such as "https://login.example.nz"')


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://login.example.nz", "login.example.nz:443"),
        ("https://127.0.0.1:8443/", "127.0.0.1:8443"),
        ("https://[::1]:8443", "::1:8443"),
        ("https://login.example.nz/adfs", "login.example.nz:443"),
    ],
)
def test_addresses_of_a_cloud_of_ones_own(tree: SettingsTree, url: str, server: str) -> None:
    """A name or an address, with a port or a path or without."""
    custom = f'cloud = "custom"\nauthority_url = "{url}"\ngraph_url = "{url}"\nsmtp_host = "h"\n'
    tree.write("system.toml", ON + SECRET + custom)
    registration = tree.resolve().registration
    assert registration is not None
    assert (registration.authority_server, registration.graph_server) == (server, server)


def test_a_users_choice_needs_it_where_its_gate_is_open(tree: SettingsTree) -> None:
    """That user alone is in error; a choice that is ignored needs nothing."""
    choices = 'send_mailer = "microsoft-365"\nauthentication_model = "oauth2"\n'
    tree.write("users/jane.toml", JANE + choices)
    tree.write("users/bob.toml", JANE)
    tree.write("system.toml", SMTP + ON)
    assert lines(tree.load(), "_system") == []
    gates = "allow_user_override = true\n[mail_options]\nsend_mailer_allow_user_selection = true\n"
    tree.write("system.toml", SMTP + gates + ON)
    settings = tree.load()
    assert lines(settings, "_system") == [
        f'users/jane.toml: email.send_mailer: "microsoft-365" needs {WHAT_IS_MISSING}',
        f'users/jane.toml: email.authentication_model: "oauth2" needs {WHAT_IS_MISSING}',
    ]
    with pytest.raises(InvalidContext):
        settings.resolve(None, "jane", "send")
    assert settings.resolve(None, "bob", "send").transport == "smtp"


def test_a_users_oauth2_that_a_variable_contradicts_is_listed(tree: SettingsTree) -> None:
    """The check says it before a job is held for it."""
    tree.write("system.toml", SECRET + SMTP + "allow_user_override = true\n")
    tree.write("users/jane.toml", JANE + 'authentication_model = "oauth2"\n')
    (found,) = lines(tree.load({"POSTMETER_SYSTEM__SMTP__AUTHORISATION": "none"}), "_system")
    assert found == (
        "POSTMETER_SYSTEM__SMTP__AUTHORISATION: smtp.authorisation: "
        '"none": authentication_model = oauth2 needs "required"'
    )


def test_a_registration_that_is_taken_away_holds_who_needs_it(tree: SettingsTree) -> None:
    """The user's file is as it was and stays in force; what it needs is gone, which is said."""
    tree.write("system.toml", SECRET + SMTP + "allow_user_override = true\n")
    tree.write("users/jane.toml", JANE + 'authentication_model = "oauth2"\n')
    watcher = tree.watcher()
    assert watcher.current.resolve(None, "jane", "send").registration is not None
    tree.write("system.toml", SMTP + "allow_user_override = true\n")
    assert watcher.poll()
    with pytest.raises(InvalidContext, match='"oauth2" needs tenant_id'):
        watcher.current.resolve(None, "jane", "send")


def test_what_graph_cannot_carry_goes_by_smtp_only_where_there_is_one(tree: SettingsTree) -> None:
    """`refuse` is the default; `smtp` needs a server."""
    assert tree.resolve().uncarried == "refuse"
    tree.write("system.toml", ON + SECRET + 'uncarried = "smtp"\n')
    assert lines(tree.load(), "_system") == [
        (
            'system.toml: microsoft_365.uncarried: "smtp": needs smtp.server_address, which is '
            "not written"
        )
    ]
    tree.write("system.toml", SMTP + ON + SECRET + 'uncarried = "smtp"\n')
    assert tree.resolve().uncarried == "smtp"


def test_a_companys_word_on_it_is_no_registration(tree: SettingsTree) -> None:
    """It goes on replicating the system's registration, which it did not replace."""
    tree.write("system.toml", SMTP + ON + SECRET)
    tree.company(
        text='replicate_from_system = true\nmail_options.send_mailer = "microsoft-365"\n'
        'microsoft_365.uncarried = "smtp"\n'
    )
    settings = tree.resolve("acme")
    assert settings.uncarried == "smtp"
    assert settings.registration is not None
    assert settings.registration.client_id == "c"


def test_a_mailbox_must_have_a_name(tree: SettingsTree) -> None:
    """Neither user name nor address: the account is held with the key to write."""
    tree.write("system.toml", ON + SECRET)
    tree.write("users/jane.toml", "[email]\n")
    assert tree.resolve().held_reason == (
        "users/jane.toml: email.username is missing: it names the mailbox to send from"
    )
    tree.write("users/jane.toml", '[email]\nusername = "jane@example.nz"\n')
    assert tree.resolve().held_reason is None


def test_verifying_ends_with_the_permission(tree: SettingsTree) -> None:
    """What looks into Sent Items is off at once, even where the file has other errors."""
    verify = '[delivery]\non_unknown = "verify"\n'
    tree.write("system.toml", SMTP + ON + SECRET + verify)
    watcher = tree.watcher()
    settings = watcher.current.resolve(None, "jane", "send")
    assert settings.registration is not None
    assert not settings.logs_in_by_app
    tree.write("system.toml", SMTP + "port = 0\n" + SECRET + verify)
    assert watcher.poll()
    with pytest.raises(InvalidContext, match=r'"verify" needs web\.allow_microsoft_365'):
        watcher.current.resolve(None, "jane", "send")
