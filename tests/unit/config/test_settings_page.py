"""The page, the models, the document, the template and the variables name the same keys."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

import config
from config.availability import HELD
from config.company import CompanySettings
from config.context import KEYS
from config.environment import variable_name
from config.system import SystemSettings
from config.table import Table, keys
from config.template import toml, tree, write
from config.user import UserSettings
from config.watcher import SettingsWatcher
from docs.build_settings import PATH, document
from tests.support.settings_tree import JANE, SettingsTree

if TYPE_CHECKING:
    from pathlib import Path

PAGE = {  # the settings of the SMTP tab, in its order
    "Server Address": "smtp.server_address",
    "Port": "smtp.port",
    "Authorisation": "smtp.authorisation",
    "Transport Security": "smtp.transport_security",
    "Authentication Model": "smtp.authentication_model",
    "OAuth2 Provider": "smtp.oauth2_provider",
    "Connection Timeout": "smtp.connection_timeout_ms",
    "Batch Emails Per Min": "smtp.batch_emails_per_min",
    "Allow Microsoft 365 web": "web.allow_microsoft_365",
    "Compose": "mail_options.compose",
    "Compose: Allow User Selection": "mail_options.compose_allow_user_selection",
    "Send Mailer": "mail_options.send_mailer",
    "Send Mailer: Allow User Selection": "mail_options.send_mailer_allow_user_selection",
}
BASE = {
    "smtp.server_address": 'smtp.server_address = "h"\n',
    "smtp.transport_security": 'smtp.transport_security = "tls"\n',
    "web.allow_microsoft_365": "web.allow_microsoft_365 = true\n",
}


def test_every_setting_of_the_page_has_its_key_in_its_order() -> None:
    """Nothing of the page is missing, and the order is the page's."""
    named = {key.page: key.dotted for key in keys(SystemSettings)}
    assert [(page, dotted) for page, dotted in named.items() if page in PAGE] == list(PAGE.items())


def test_the_document_is_what_the_models_say() -> None:
    """docs/settings.md is generated; ``python docs/build_settings.py`` writes it anew."""
    assert PATH.read_text(encoding="utf-8") == document()


@pytest.mark.parametrize("dotted", KEYS)
def test_every_key_is_described(dotted: str) -> None:
    """Range, description and example are there for each."""
    key = KEYS[dotted]
    assert key.description.endswith((".", "3."))
    assert key.range
    assert key.example is not None


def test_every_example_can_be_written(tmp_path: Path) -> None:
    """Each example is taken by its key, in TOML and in a variable."""
    settings_tree = SettingsTree(tmp_path)
    pem = "-----BEGIN CERTIFICATE-----\n"
    for name in ("m365.secret", "m365.pem", "ca.pem", "cloud-ca.pem", "users/jane.secret"):
        settings_tree.write(name, pem)
    for key in keys(SystemSettings):
        if key.dotted.startswith("microsoft_365."):
            continue  # a registration is taken whole: the test below
        base = "".join(text for dotted, text in BASE.items() if dotted != key.dotted)
        settings_tree.write("system.toml", f"{base}{key.dotted} = {toml(key.example)}\n")
        assert settings_tree.load().errors_by_context() == {}, key.dotted
        settings_tree.write("system.toml", base)
        text = ";".join(key.example) if isinstance(key.example, list) else toml(key.example)
        environ = {variable_name(key.dotted, "_system"): text.strip('"')}
        assert settings_tree.load(environ).errors_by_context() == {}, key.dotted
    settings_tree.write("system.toml", "".join(BASE.values()))
    for key in keys(UserSettings):
        line = f"{key.dotted.removeprefix('email.')} = {toml(key.example)}\n"
        settings_tree.write("users/jane.toml", "[email]\n" + line)
        assert settings_tree.load().errors_by_context() == {}, key.dotted


@pytest.mark.parametrize(
    "table",
    [
        'tenant_id = "t"\nclient_id = "c"\nclient_secret_file = "m365.secret"\n',
        'grant = "certificate"\ntenant_id = "t"\nclient_id = "c"\ncertificate_file = "m365.pem"\n',
        'grant = "managed-identity"\n',
        (
            'grant = "device-code"\ntenant_id = "t"\nclient_id = "c"\ncloud = "custom"\n'
            'authority_url = "https://a"\ngraph_url = "https://g"\nsmtp_host = "h"\nca_file = "m365.pem"\n'
        ),
    ],
)
def test_whole_registrations(tmp_path: Path, table: str) -> None:
    """Every grant, and a cloud of one's own, can be written without an error."""
    settings_tree = SettingsTree(tmp_path)
    settings_tree.write("m365.secret", "s")
    settings_tree.write("m365.pem", "-----BEGIN CERTIFICATE-----\n")
    settings_tree.write("system.toml", f"web.allow_microsoft_365 = true\n[microsoft_365]\n{table}")
    settings_tree.write("users/jane.toml", JANE)
    settings = settings_tree.load()
    assert settings.errors_by_context() == {}
    assert settings.resolve(None, "jane", "send").transport == "microsoft-365"


def test_the_template_is_toml_with_every_key_in_it(tmp_path: Path) -> None:
    """As written it has no error; with each comment sign taken away every key is known."""
    write(tmp_path / "new")
    assert SettingsWatcher(tmp_path / "new", {}).current.errors_by_context() == {}
    models: dict[str, type[Table]] = {
        "system.toml": SystemSettings,
        "users/robot.toml": UserSettings,
        "companies/acme/company.toml": CompanySettings,
        "companies/acme/users/jane.toml": UserSettings,
    }
    for file, text in tree().items():
        assert max(map(len, text.splitlines())) <= 80
        lines = [line.removeprefix("# ") for line in text.splitlines() if " = " in line]
        names = [
            line.partition(" = ")[0] for line in lines if line.partition(" = ")[0].isidentifier()
        ]
        known = [key.dotted.rpartition(".")[2] for key in keys(models[file])]
        assert sorted(names) == sorted(known)
        assert tomllib.loads(text) is not None


def test_the_template_never_overwrites(tmp_path: Path) -> None:
    """A folder that holds anything is left alone."""
    (tmp_path / "x").touch()
    with pytest.raises(FileExistsError):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_users_files_are_the_owners_alone(tmp_path: Path) -> None:
    """They may come to hold passwords."""
    modes = {
        path.relative_to(tmp_path / "t").as_posix(): path.stat().st_mode & 0o777
        for path in write(tmp_path / "t")
    }
    assert modes["users/robot.toml"] == modes["companies/acme/users/jane.toml"] == 0o600


def test_held_values_are_values() -> None:
    """The list of values that are not served names only values that a key has."""
    choices = {
        (dotted.rpartition(".")[2], choice)
        for dotted, key in KEYS.items()
        for choice in key.choices
    }
    assert HELD.keys() <= choices


def test_the_package_exports_what_it_says() -> None:
    """``__all__`` is sorted and true."""
    assert sorted(config.__all__) == config.__all__
    assert all(hasattr(config, name) for name in config.__all__)
