"""``settings check`` warns where Office 365 takes less than what is set, or nothing of it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.effective import Provenance
from config.linter import MOST, by_office365, lint
from config.office365 import SMTP_HOSTS, is_office365
from tests.support.settings import make_settings
from tests.support.settings_tree import JANE, SMTP

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from tests.support.settings_tree import SettingsTree

M365 = (
    '[microsoft_365]\ntenant_id = "t"\nclient_id = "c"\nclient_secret = "s"\n'
    "[web]\nallow_microsoft_365 = true\n"
)
OAUTH2 = M365 + '[smtp]\nauthentication_model = "oauth2"\n'
BASIC = (
    '[smtp]\nserver_address = "smtp.office365.com"\nport = 587\nauthorisation = "required"\n'
    'transport_security = "tls"\n'
)
LOGIN = JANE + 'username = "jane@example.nz"\npassword = "p"\n'


class Written(dict[str, Provenance]):
    """Says of every attribute that the user's file has it."""

    def __missing__(self, name: str) -> Provenance:
        return Provenance("user", "jane.toml", _key_of(name))


def _key_of(name: str) -> str:
    table = "email" if name.startswith("mailbox") or name in {"username", "address"} else "smtp"
    return f"{table}.{name}"


def by_graph(**changes: Any) -> EffectiveSettings:
    """Settings of a mailbox that is used through Graph."""
    fields = {"transport": "microsoft-365", "provenance": Written()} | changes
    return make_settings(**fields)


def warnings(tree: SettingsTree) -> list[str]:
    """What the check says of what works."""
    return [str(each) for each in tree.load().warnings]


@given(name=st.sampled_from(sorted(MOST)), value=st.integers(1, 200_000))
def test_a_mailboxes_limit_is_named_just_where_it_is_above(name: str, value: int) -> None:
    """One line with file, key, value and what to write; none at the limit and below."""
    most = MOST[name][0]
    found = [str(each) for each in lint([by_graph(**{name: value})])]
    assert bool(found) == (value > most)
    for line in found:
        assert line.startswith(f"jane.toml: email.{name}: {value}: Office 365 takes {most} ")
        assert line.endswith(f": write {most} or less")


@given(users=st.integers(1, 8), rate=st.integers(1, 400))
def test_a_contexts_limit_is_measured_by_its_mailboxes(users: int, rate: int) -> None:
    """Each of them may send 30 a minute, so two may send 60."""
    listed = [
        by_graph(kind="batch", user=f"u{n}", address=f"u{n}@example.nz", batch_emails_per_min=rate)
        for n in range(users)
    ]
    found = [str(each) for each in lint(listed)]
    assert bool(found) == (rate > 30 * users)
    for line in found:
        assert line.endswith(f": write {30 * users} or less")


@pytest.mark.parametrize(
    "host", [*SMTP_HOSTS.values(), "SMTP.Office365.com.", "outlook.office365.com"]
)
def test_hosts_of_office365(host: str) -> None:
    """Whatever case it is written in, with the root's dot or without."""
    assert is_office365(host)
    assert by_office365(make_settings(server_address=host))


@pytest.mark.parametrize(
    "host",
    [None, "smtp.example.nz", "example-nz.mail.protection.outlook.com", "office365.com.evil"],
)
def test_hosts_of_others(host: str | None) -> None:
    """A relay into Office 365 is no mailbox's server: other limits, no login."""
    assert not is_office365(host)
    assert not by_office365(make_settings(server_address=host))


def test_a_draft_as_a_file_meets_no_provider() -> None:
    """Whatever server its context has."""
    host = "smtp.office365.com"
    assert not by_office365(make_settings(server_address=host, transport="accredo-mailer"))


def test_what_the_presets_set_is_never_too_much(tree: SettingsTree) -> None:
    """Choosing OAuth2 or Graph, and nothing else, warns of nothing."""
    for chosen in (OAUTH2, M365 + '[mail_options]\nsend_batch = "microsoft-365"\n'):
        tree.write("system.toml", chosen)
        assert warnings(tree) == []


A_MINUTE = "Office 365 takes 30 a minute from one mailbox: write 30 or less"
BY_GRAPH = 'mail_options.send_batch = "microsoft-365"\nsmtp.batch_emails_per_min = 31\n'


@pytest.mark.parametrize(
    ("system", "user", "line"),
    [
        (
            OAUTH2 + "batch_emails_per_min = 31\n",
            "",
            f"system.toml: smtp.batch_emails_per_min: 31: {A_MINUTE}",
        ),
        (BY_GRAPH + M365, "", f"system.toml: smtp.batch_emails_per_min: 31: {A_MINUTE}"),
        (
            OAUTH2,
            "mailbox_emails_per_min = 31\n",
            f"users/jane.toml: email.mailbox_emails_per_min: 31: {A_MINUTE}",
        ),
        (M365, "mailbox_connections = 4\n", "users/jane.toml: email.mailbox_connections: 4: "),
        (
            M365,
            "mailbox_recipients_per_day = 10001\n",
            "users/jane.toml: email.mailbox_recipients_per_day: 10001: Office 365 takes 10000 ",
        ),
    ],
)
def test_limits_above_the_providers(tree: SettingsTree, system: str, user: str, line: str) -> None:
    """By SMTP with OAuth2 and by Graph, each where it is written; nothing is refused."""
    tree.write("system.toml", system)
    tree.write("users/jane.toml", JANE + user)
    settings = tree.load()
    assert settings.errors_by_context() == {}
    (found,) = settings.warnings
    assert str(found).startswith(line)


def test_the_same_limits_are_nobodys_business_elsewhere(tree: SettingsTree) -> None:
    """One's own server takes what it takes."""
    tree.write("system.toml", SMTP + "batch_emails_per_min = 600\n")
    tree.write("users/jane.toml", JANE + "mailbox_emails_per_min = 600\nmailbox_connections = 9\n")
    assert warnings(tree) == []


def test_basic_authentication_will_end(tree: SettingsTree) -> None:
    """The date is named, and that it is not the last word, and what to write."""
    tree.write("system.toml", BASIC)
    tree.write("users/jane.toml", LOGIN)
    assert warnings(tree) == [
        (
            'system.toml: smtp.authentication_model: "basic": Office 365 turns Basic '
            "authentication off at the end of December 2026 (an administrator can turn it on "
            "again, but not for good: its end will be announced in the second half of 2027; "
            'tenants made later do not have it): write "oauth2"'
        )
    ]
    tree.write("system.toml", BASIC.replace('"required"', '"none"'))
    assert warnings(tree) == []


def test_a_user_who_stays_with_basic_is_named_too(tree: SettingsTree) -> None:
    """An app password of an automation user ends with the others."""
    tree.write("system.toml", OAUTH2 + "allow_user_override = true\n")
    tree.write("users/jane.toml", LOGIN + 'authentication_model = "basic"\n')
    tree.write("users/bob.toml", '[email]\naddress = "bob@example.nz"\n')
    (found,) = warnings(tree)
    assert found.startswith('users/jane.toml: email.authentication_model: "basic": Office 365 ')


@pytest.mark.parametrize("version", ["tls1.0", "tls1.1"])
def test_old_tls_with_office365(tree: SettingsTree, version: str) -> None:
    """Closed since 2020, but for the legacy server, which is named, and needs an opt-in."""
    system = SMTP.replace('"tls"', f'"{version}"')
    tree.write("system.toml", system.replace("smtp.example.nz", "smtp.office365.com"))
    old, closed = warnings(tree)
    assert "broken since 2011" in old
    assert closed == (
        f'system.toml: smtp.transport_security: "{version}": Office 365 has not supported TLS 1.0 '
        "and 1.1 since October 2020, but for smtp-legacy.office365.com where a tenant has opted "
        'in: write "tls"'
    )
    tree.write("system.toml", system.replace("smtp.example.nz", "smtp-legacy.office365.com"))
    assert "Set-TransportConfig -AllowLegacyTLSClients $true" in warnings(tree)[1]


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("port = 465\n", "smtp.port: 465: Office 365 has no implicit TLS: write 587"),
        (
            'port = 587\ntls_mode = "implicit"\n',
            'smtp.tls_mode: "implicit": Office 365 has no implicit TLS: write "starttls"',
        ),
    ],
)
def test_implicit_tls_with_office365(tree: SettingsTree, written: str, line: str) -> None:
    """There is none: the port would not even answer."""
    tree.write("system.toml", SMTP.replace("smtp.example.nz", "smtp.office365.com") + written)
    assert warnings(tree) == [f"system.toml: {line}"]


def test_what_graph_does_not_carry_meets_the_server_too(tree: SettingsTree) -> None:
    """Its way is looked at where it is one, and where its server is Office 365's."""
    basic = BASIC.replace("[smtp]\n", "").replace("\n", "\nsmtp.").removesuffix("smtp.")
    by_graph = (
        'mail_options.send_mailer = "microsoft-365"\nmail_options.send_batch = "microsoft-365"\n'
    )
    tree.write("users/jane.toml", LOGIN)
    for uncarried, count in (("refuse", 0), ("smtp", 1)):
        app = M365.replace("[web]", f'uncarried = "{uncarried}"\n[web]')
        tree.write("system.toml", f"smtp.{basic}{by_graph}{app}")
        found = [each for each in warnings(tree) if "turns Basic authentication off" in each]
        assert len(found) == count


def test_users_who_share_a_mailbox(tree: SettingsTree) -> None:
    """Each has the mailbox's limits for itself; across companies too, and told once."""
    tree.write("system.toml", OAUTH2)
    tree.write("users/jane.toml", JANE + 'username = "robot@example.nz"\n')
    tree.write("users/bob.toml", JANE + 'username = "Robot@example.nz"\n')
    tree.write("users/ann.toml", JANE)
    tree.company(
        text="replicate_from_system = true\n", user='[email]\nusername = "robot@example.nz"\n'
    )
    assert warnings(tree) == [
        (
            'users/bob.toml: email.username: "Robot@example.nz": also the mailbox of '
            "_system/jane, acme/jane: the mailbox's limits are kept for each user, so divide them "
            "among these users, or let one user send"
        )
    ]


def test_users_who_share_a_mailbox_of_office365_by_password(tree: SettingsTree) -> None:
    """Its server sets the mailbox's limits for each of them, whatever the login."""
    office = SMTP.replace("smtp.example.nz", "smtp.office365.com")
    tree.write("system.toml", office + 'authorisation = "required"\n')
    for name in ("jane", "bob"):
        tree.write(f"users/{name}.toml", LOGIN)
    assert any("also the mailbox of _system/jane" in each for each in warnings(tree))


def test_users_of_a_server_without_limits_may_share_a_login(tree: SettingsTree) -> None:
    """Nothing is counted there, so nothing is counted wrongly."""
    tree.write("system.toml", SMTP + 'authorisation = "required"\n')
    for name in ("jane", "bob"):
        tree.write(f"users/{name}.toml", LOGIN)
    assert warnings(tree) == []
    tree.write("users/bob.toml", LOGIN + "mailbox_emails_per_min = 5\n")
    tree.write("users/jane.toml", LOGIN + "mailbox_emails_per_min = 5\n")
    assert "also the mailbox of _system/jane" in warnings(tree)[0]
