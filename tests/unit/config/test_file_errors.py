"""Every mistake in a file is one line that says where, what and what is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.errors import InvalidContext, NoSettings
from tests.support.settings_tree import JANE, SMTP, lines

if TYPE_CHECKING:
    from tests.support.settings_tree import SettingsTree

SYSTEM_ERRORS = {
    "smtp = 3\n": "smtp: this is a table: write [smtp]",
    "[smtp]\npot = 25\n": "smtp.pot: no such key; did you mean smtp.port?",
    '[smtp]\nsend_batch = "smtp"\n': (
        "smtp.send_batch: no such key; did you mean mail_options.send_batch?"
    ),
    "[smtp]\nport = 0\n": "smtp.port: 0: write 1 to 65535",
    "[smtp]\nport = true\n": "smtp.port: true: write 1 to 65535",
    "[smtp]\nport = 25.0\n": "smtp.port: 25.0: write 1 to 65535",
    "[smtp]\nconnection_timeout_ms = 999\n": (
        "smtp.connection_timeout_ms: 999: write 1000 to 600000"
    ),
    "[smtp]\nbatch_emails_per_min = 0\n": (
        "smtp.batch_emails_per_min: 0: write 1 to 1000000; leave the key out for no limit"
    ),
    '[smtp]\nserver_address = "smtp.example.nz:25"\ntransport_security = "tls"\n': (
        'smtp.server_address: "smtp.example.nz:25": '
        "write a name, IPv4 or IPv6 address; the port has its own key"
    ),
    '[smtp]\nserver_address = "a b"\ntransport_security = "tls"\n': (
        'smtp.server_address: "a b": write a name, an IPv4 or an IPv6 address'
    ),
    '[smtp]\nserver_address = "smtp.example.nz"\n': (
        "smtp.transport_security: missing, and server_address is written: "
        "write one of none, ssl, tls1.0, tls1.1, tls1.2, tls1.3, tls"
    ),
    '[smtp]\nserver_address = "h"\ntransport_security = "none"\nauthorisation = "required"\n': (
        'smtp.authorisation: "required": transport_security = none would send passwords readable: '
        "choose another, or write allow_cleartext_password = true"
    ),
    '[smtp]\nserver_address = "h"\ntransport_security = "none"\ntls_mode = "implicit"\n': (
        'smtp.tls_mode: "implicit": transport_security = none has no TLS: write auto'
    ),
    '[smtp]\nallow_user_override = "yes"\n': (
        'smtp.allow_user_override: "yes": write true, false, without quotes'
    ),
    '[smtp]\ndefault_user = "Jane"\n': (
        'smtp.default_user: "Jane": write a user\'s id: a-z, 0-9, then also . _ -'
    ),
    '[mail_options]\nsend_mailer = "smtp"\n': (
        'mail_options.send_mailer: "smtp": needs smtp.server_address, which is not written'
    ),
    '[mail_options]\nsend_batch = "microsoft-365"\n': (
        'mail_options.send_batch: "microsoft-365" needs web.allow_microsoft_365 = true '
        "in system.toml"
    ),
    "[delivery]\nretry_for = 4\n": (
        'delivery.retry_for: 4: write a number and a unit: "90s", "15m", "12h" or "4d"'
    ),
    '[delivery]\nretry_for = "31d"\n': 'delivery.retry_for: "31d": write "1s" to "30d"',
    '[delivery]\nallowed_from = ["example.nz"]\n': (
        'delivery.allowed_from: "example.nz": write one address, such as "it@example.nz", '
        "without a name"
    ),
    '[system]\nerror_reports_to = ["a@example.nz", "b"]\n': (
        'system.error_reports_to: "b": write one address, such as "it@example.nz", without a name'
    ),
    '[tls]\nca_file = "ca.pem"\n': "tls.ca_file: ca.pem: cannot read this file (No such file or directory)",
    '[microsoft_365]\ncloud = "custom"\ngrant = "managed-identity"\nauthority_url = "https://a"\n'
    'smtp_host = "h"\n': "microsoft_365.graph_url: missing: cloud = custom needs it",
    'name = "x"\n': "name: no such key",
    '"smtp.port" = 25\n': '"smtp.port": no such key',
    '[smtp]\n"a\\nb" = 25\n': 'smtp."a\\nb": no such key',
    '["a.b"]\nc = 25\n': '"a.b": no such key',
}


@pytest.mark.parametrize("text", SYSTEM_ERRORS)
def test_each_mistake_is_one_line(tree: SettingsTree, text: str) -> None:
    """File, key, value and what is allowed: nothing else, and only once."""
    tree.write("system.toml", text)
    assert lines(tree.load(), "_system") == [f"system.toml: {SYSTEM_ERRORS[text]}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("password = 5\n", "email.password: ***: write it in quotes"),
        ('username = ""\n', 'email.username: "": write something or no key'),
        ('cc = "a@example.nz, b@example.nz"\n', 'email.cc: "a@example.nz, b@example.nz": write'),
        ("mailbox_connections = 0\n", "email.mailbox_connections: 0: write 1 to 1000"),
        ('display_name = "a\\nb"\n', 'email.display_name: "a·b": write text on one line'),
        ('password = "x"\npassword_file = "y"\n', "email.password: both this and email.password_f"),
        ('pasword = "hunter2"\n', "email.pasword: no such key; did you mean email.password?"),
    ],
)
def test_mistakes_in_a_users_file(tree: SettingsTree, text: str, line: str) -> None:
    """The same for users; a secret is never in the line."""
    tree.write("users/jane.toml", JANE + text)
    (found,) = lines(tree.load(), "_system")
    assert found.startswith(f"users/jane.toml: {line}")
    assert "hunter2" not in found


def test_every_mistake_of_a_file_is_told_at_once(tree: SettingsTree) -> None:
    """One reading names them all, with those between keys left until the keys are right."""
    tree.write("system.toml", '[smtp]\nport = 0\ntls_mode = "x"\n[web]\nallow = true\n')
    assert len(lines(tree.load(), "_system")) == 3


def test_addresses_may_be_separated_by_semicolons(tree: SettingsTree) -> None:
    """As on the page's mail editor, and as a variable must have it."""
    tree.write(
        "users/jane.toml", JANE + 'cc = "a@example.nz; b@example.nz"\nbcc = ["c@example.nz"]\n'
    )
    settings = tree.resolve()
    assert settings.cc == ("a@example.nz", "b@example.nz")
    assert settings.bcc == ("c@example.nz",)


@pytest.mark.parametrize(
    ("written", "server"),
    [
        ("[2001:DB8::1]", "[2001:db8::1]:25"),
        ("192.0.2.1", "192.0.2.1:25"),
        ("bücher.example", None),
    ],
)
def test_servers_may_be_names_and_addresses(
    tree: SettingsTree, written: str, server: str | None
) -> None:
    """IPv6 with or without brackets, IPv4, and names in any script."""
    tree.write("system.toml", f'[smtp]\nserver_address = "{written}"\ntransport_security = "tls"\n')
    assert tree.resolve().server == (server or f"{written}:25")


def test_no_tree_is_no_settings(tree: SettingsTree) -> None:
    """Without a folder or a system.toml there is nothing to work with."""
    (tree.root / "system.toml").unlink()
    with pytest.raises(NoSettings, match=r"system\.toml: this file is missing$"):
        tree.load()
    tree.root.rename(tree.root.with_name("away"))
    with pytest.raises(
        NoSettings, match=r"cannot read the settings \(No such file or directory\)$"
    ):
        tree.load()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"[smtp\n", "this file is not TOML: "),
        (b"\xff", "not UTF-8 text"),
        (b"x = " + b"[" * 9_000, "this file is not TOML: nested too deeply"),
        (b"x = " + b"1" * 9_000, "this file is not TOML: Exceeds the limit"),
    ],
)
def test_an_unreadable_file(tree: SettingsTree, content: bytes, what: str) -> None:
    """A company's file that is no TOML holds that company; the system's ends the start."""
    tree.company()
    path = tree.root / "companies/acme/company.toml"
    path.write_bytes(content)
    settings = tree.load()
    with pytest.raises(InvalidContext, match=what):
        settings.resolve("acme", "jane", "send")
    assert settings.resolve(None, "jane", "send").transport == "smtp"
    (tree.root / "system.toml").write_bytes(content)
    with pytest.raises(NoSettings, match=what):
        tree.load()


def test_ids_are_checked_where_they_stand(tree: SettingsTree) -> None:
    """A folder or file with another name is an error, and hidden or other files are nothing."""
    tree.company("Acme Ltd")
    tree.write("users/Jane Doe.toml", JANE)
    tree.write("users/.jane.toml.swp", "x")
    tree.write("users/jane.secret", "x")
    settings = tree.load()
    assert settings.contexts() == ("_system",)
    assert settings.users("_system") == ("jane",)
    assert lines(settings, "_environment") == [
        "companies/Acme Ltd: no id of a company: write a-z, 0-9, then also _ -"
    ]
    assert lines(settings, "_system") == [
        "users/Jane Doe.toml: no id of a user: write a-z, 0-9, then also . _ -"
    ]
    assert settings.resolve(None, "jane", "send").user == "jane"


def test_a_company_folder_without_its_file(tree: SettingsTree) -> None:
    """It is known, so its mail waits with the reason instead of dying as unknown."""
    tree.write("companies/acme/users/jane.toml", JANE)
    with pytest.raises(
        InvalidContext, match=r"companies/acme/company\.toml: this file is missing$"
    ):
        tree.resolve("acme")


def test_a_replicating_company_waits_for_a_bad_system(tree: SettingsTree) -> None:
    """What cannot be copied holds the company, and says where to look."""
    tree.write("system.toml", SMTP + "port = 0\n")
    tree.company(text="replicate_from_system = true\n")
    tree.company("own")
    settings = tree.load()
    with pytest.raises(InvalidContext, match=r"system\.toml has errors; see there$"):
        settings.resolve("acme", "jane", "send")
    assert settings.resolve("own", "jane", "send").transport == "smtp"
