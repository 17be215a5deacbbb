"""What choosing OAuth2 sets, and what it refuses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from config.errors import InvalidContext
from config.registration import registration_of
from tests.support.settings_tree import JANE, SMTP, lines

if TYPE_CHECKING:
    from pathlib import Path

    from config.effective import EffectiveSettings
    from tests.support.settings_tree import SettingsTree

REGISTRATION = '[microsoft_365]\ntenant_id = "t"\nclient_id = "c"\nclient_secret = "s"\n'
OAUTH2 = REGISTRATION + '[smtp]\nauthentication_model = "oauth2"\n'


def smtp(settings: EffectiveSettings) -> tuple[object, ...]:
    """What OAuth2 sets."""
    return (
        settings.server,
        settings.transport_security,
        settings.tls_mode,
        settings.authorisation,
        settings.connection_timeout_ms,
        settings.oauth2_provider,
        settings.mailbox_emails_per_min,
        settings.mailbox_connections,
    )


OFFICE = (
    "smtp.office365.com:587",
    "tls",
    "starttls",
    "required",
    60000,
    "office365-smtp",
    30,
    3,
)


def test_choosing_oauth2_sets_the_rest(tree: SettingsTree) -> None:
    """One key is enough, and provenance says who set the others."""
    tree.write("system.toml", OAUTH2)
    settings = tree.resolve()
    assert smtp(settings) == OFFICE
    assert settings.provenance["port"].layer == "oauth2"
    assert settings.provenance["mailbox_emails_per_min"].layer == "oauth2"


def test_keys_of_the_same_file_win(tree: SettingsTree) -> None:
    """20 to 25 a minute is what Accredo advises, so it can be written."""
    tree.write("system.toml", OAUTH2 + "port = 25\nbatch_emails_per_min = 25\n")
    tree.write("users/jane.toml", JANE + "mailbox_emails_per_min = 20\n")
    settings = tree.resolve(kind="batch")
    assert settings.server == "smtp.office365.com:25"
    assert (settings.batch_emails_per_min, settings.mailbox_emails_per_min) == (25, 20)
    losers = settings.provenance["port"].losers
    assert [(each.layer, each.why) for each in losers] == [
        ("oauth2", "keys written in the same file win")
    ]


def test_oauth2_of_a_company_replaces_replicated_values(tree: SettingsTree) -> None:
    """The system's own server does not shine through."""
    tree.write("system.toml", SMTP + "port = 2525\nbatch_emails_per_min = 10\n")
    tree.company(text="replicate_from_system = true\n" + OAUTH2)
    settings = tree.resolve("acme")
    assert smtp(settings) == OFFICE
    assert settings.batch_emails_per_min == 10
    assert [each.why for each in settings.provenance["port"].losers] == [
        "choosing oauth2 replaces replicated values"
    ]


def test_replicated_oauth2_keeps_what_its_file_wrote(tree: SettingsTree) -> None:
    """The file that chose OAuth2 wrote a port; a company that copies both has that port."""
    tree.write("system.toml", OAUTH2 + "port = 25\n")
    tree.company(text="replicate_from_system = true\n")
    settings = tree.resolve("acme")
    assert settings.server == "smtp.office365.com:25"
    assert settings.provenance["server_address"].layer == "oauth2"


def test_a_cloud_has_its_own_host(tree: SettingsTree) -> None:
    """The registration's cloud decides which host OAuth2 sets."""
    cloud = 'client_id = "c"\ncloud = "china"\n'
    tree.write("system.toml", OAUTH2.replace('client_id = "c"\n', cloud))
    assert tree.resolve().server_address == "smtp.partner.outlook.cn"


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ('authorisation = "none"\n', '"none": authentication_model = oauth2 needs "required"'),
        (
            'authorisation = "optional"\n',
            '"optional": authentication_model = oauth2 needs "required"',
        ),
        ('transport_security = "none"\ntls_mode = "auto"\n', 'needs "tls", '),
        ('transport_security = "tls1.0"\n', 'needs "tls", '),
        ('transport_security = "tls1.1"\n', 'needs "tls", '),
        ("port = 465\n", "465: authentication_model = oauth2 needs STARTTLS: write 587"),
    ],
)
def test_what_cannot_go_with_oauth2(tree: SettingsTree, written: str, line: str) -> None:
    """Each contradiction is an error naming the key that has to change."""
    tree.write("system.toml", OAUTH2 + written)
    (found,) = lines(tree.load(), "_system")
    assert line in found


@pytest.mark.parametrize(
    ("written", "user", "warning"),
    [
        ('server_address = "smtp.example.nz"\n', "", "this host is not its"),
        ("batch_emails_per_min = 31\n", "", "31: Office 365 takes 30 a minute"),
        ("", "mailbox_emails_per_min = 31\n", "31: Office 365 takes 30 a minute"),
    ],
)
def test_what_is_unwise_with_oauth2(
    tree: SettingsTree, written: str, user: str, warning: str
) -> None:
    """Another host and more than 30 a minute warn, and are not refused."""
    tree.write("system.toml", OAUTH2 + written)
    tree.write("users/jane.toml", JANE + user)
    settings = tree.load()
    assert settings.errors_by_context() == {}
    assert [warning in str(each) for each in settings.warnings] == [True]


def test_a_user_may_choose_oauth2_through_the_gate(tree: SettingsTree) -> None:
    """The choice sets the rest for that user alone; closed, it is ignored with the reason."""
    tree.write("system.toml", REGISTRATION + SMTP + "port = 2525\nallow_user_override = true\n")
    tree.write("users/jane.toml", JANE + 'authentication_model = "oauth2"\n')
    tree.write("users/bob.toml", JANE)
    settings = tree.load()
    assert smtp(settings.resolve(None, "jane", "send")) == OFFICE
    assert settings.resolve(None, "bob", "send").server == "smtp.example.nz:2525"
    tree.write("system.toml", SMTP + "port = 2525\n")
    closed = tree.resolve()
    assert (closed.authentication_model, closed.port) == ("basic", 2525)
    assert [each.why for each in closed.provenance["authentication_model"].losers] == [
        "smtp.allow_user_override is not on"
    ]


def test_a_user_may_stay_with_basic(tree: SettingsTree) -> None:
    """An automation user with an app password stays on the same server, with the same limits."""
    tree.write("system.toml", OAUTH2 + "allow_user_override = true\n")
    tree.write("users/jane.toml", JANE + 'authentication_model = "basic"\n')
    settings = tree.resolve()
    assert settings.authentication_model == "basic"
    assert smtp(settings) == OFFICE
    assert settings.held_reason is None


def test_variables_stay_over_a_users_oauth2(tree: SettingsTree) -> None:
    """An operator's variable redirects everything; one that cannot go with OAuth2 is an error."""
    tree.write("system.toml", REGISTRATION + SMTP + "allow_user_override = true\n")
    tree.write("users/jane.toml", JANE + 'authentication_model = "oauth2"\n')
    redirected = tree.resolve(environ={"POSTMETER_SYSTEM__SMTP__SERVER_ADDRESS": "127.0.0.1"})
    assert redirected.server == "127.0.0.1:587"
    with pytest.raises(InvalidContext, match="needs STARTTLS"):
        tree.resolve(environ={"POSTMETER_SYSTEM__SMTP__PORT": "465"})


def test_microsoft_365_not_allowed_names_both_keys(tree: SettingsTree) -> None:
    """A user who still chooses it holds alone, with the one line that says where to look."""
    tree.write("system.toml", SMTP + "[mail_options]\nsend_mailer_allow_user_selection = true\n")
    tree.write("users/jane.toml", JANE + 'send_mailer = "microsoft-365"\n')
    tree.write("users/bob.toml", JANE)
    settings = tree.load()
    assert lines(settings, "_system") == [
        (
            'users/jane.toml: email.send_mailer: "microsoft-365" needs web.allow_microsoft_365 = true '
            "in system.toml"
        )
    ]
    assert settings.resolve(None, "bob", "send").transport == "smtp"


def test_a_certificate_has_one_name_on_every_host(tmp_path: Path) -> None:
    """A copy elsewhere is the same registration, so that one hold is every worker's; a new one is not."""
    here, there = tmp_path / "here.pem", tmp_path / "there.pem"
    here.write_text("CERTIFICATE 1")
    there.write_text("CERTIFICATE 1")
    os.utime(there, (1, 1))

    def key(path: Path) -> str:
        values = {"grant": "certificate", "cloud": "global", "certificate_file": path}
        return registration_of(lambda name: values.get(name.rpartition(".")[2])).key

    before = key(here)
    assert key(there) == before
    there.write_text("CERTIFICATE 2")
    assert key(there) != before
    there.unlink()
    assert key(there) != before
