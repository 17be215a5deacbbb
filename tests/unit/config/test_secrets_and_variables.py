"""Secrets and variables: where they may stand, who wins, and that they never show."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from config.environment import is_setting, variable_name
from config.errors import InvalidContext
from tests.support.settings_tree import JANE, SMTP, lines

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from tests.support.settings_tree import SettingsTree

VARIABLE = "POSTMETER_USER__SYSTEM__JANE__PASSWORD"


def password(settings: EffectiveSettings) -> str | None:
    """The password in clear."""
    return settings.password.get_secret_value() if settings.password else None


def test_a_secret_file_beside_the_toml(tree: SettingsTree) -> None:
    """Its last line end is not part of the secret; provenance names the key."""
    tree.write("users/jane.toml", JANE + 'password_file = "jane.secret"\n')
    tree.write("users/jane.secret", " hunter2 \n")
    settings = tree.resolve()
    assert password(settings) == " hunter2 "
    assert settings.provenance["password"].key == "email.password_file"


@pytest.mark.parametrize(
    ("content", "mode", "what"),
    [
        ("hunter2", 0o640, "others can read this file: chmod 600"),
        ("hunter2", 0o604, "others can read this file: chmod 600"),
        ("", 0o600, "this file is empty"),
        ("x" * 70_000, 0o600, "this file is longer than 65536 bytes"),
        (None, 0o600, "cannot read this file (No such file or directory)"),
    ],
)
def test_secret_files_that_are_refused(
    tree: SettingsTree, content: str | None, mode: int, what: str
) -> None:
    """Readable by others, empty, huge or missing: the user is held, and the secret not shown."""
    tree.write("users/jane.toml", JANE + 'password_file = "jane.secret"\n')
    if content is not None:
        tree.write("users/jane.secret", content, mode)
    (line,) = lines(tree.load(), "_system")
    assert line.startswith(f"users/jane.toml: email.password_file: jane.secret: {what}")
    assert "hunter2" not in line


def test_environment_over_secrets_folder_over_toml(tree: SettingsTree) -> None:
    """The three places a password can stand, the strongest first; the losers are masked."""
    folder = tree.root.parent / "run"
    tree.write("users/jane.toml", JANE + 'password = "from-toml"\n')
    tree.write("../run/" + VARIABLE.lower(), "from-folder\n", 0o644)
    tree.write("../run/another", "x")
    assert password(tree.resolve()) == "from-toml"
    assert password(tree.load(secrets=folder).resolve(None, "jane", "send")) == "from-folder"
    settings = tree.load({VARIABLE: "from-variable"}, secrets=folder).resolve(None, "jane", "send")
    assert password(settings) == "from-variable"
    provenance = settings.provenance["password"]
    assert (provenance.layer, provenance.file) == ("environment", VARIABLE)
    assert [each.value for each in provenance.losers] == ["***", "***"]


def test_a_password_others_can_read_warns(tree: SettingsTree) -> None:
    """In the TOML file itself it is only a warning, since trees are often kept in git."""
    tree.write("users/jane.toml", JANE + 'password = "hunter2"\n', 0o644)
    (warning,) = tree.load().warnings
    assert str(warning) == (
        "users/jane.toml: email.password: others can read this file: use email.password_file"
    )


def test_secrets_show_nowhere(tree: SettingsTree) -> None:
    """Not in a repr, a provenance, an error, a warning, or the credential's key."""
    tree.write("users/jane.toml", JANE + 'username = "jane"\npassword = "hunter2"\n')
    watcher = tree.watcher({VARIABLE: "hunter2"})
    settings = watcher.current.resolve(None, "jane", "send")
    shown = [repr(settings), repr(settings.provenance), settings.credential, settings.account]
    shown += [repr(watcher.current.warnings), repr(settings.password)]
    assert not any("hunter2" in text for text in shown)
    assert "jane@" not in repr(settings)


def test_the_credential_changes_with_name_or_password_only(tree: SettingsTree) -> None:
    """A stable key, so that a changed credential ends its hold at once."""
    login = 'username = "jane"\npassword = "one"\n'
    tree.write("users/jane.toml", JANE + login)
    first = tree.resolve()
    assert first.credential.startswith("_system/jane#")
    assert len(first.credential) == len("_system/jane#") + 8
    tree.write("users/jane.toml", JANE + login + 'display_name = "Jane"\n')
    assert tree.resolve(kind="batch").credential == first.credential
    tree.write("users/jane.toml", JANE + login.replace("one", "two"))
    changed = tree.resolve().credential
    tree.write("users/jane.toml", JANE + login.replace('"jane"', '"jan"'))
    assert len({first.credential, changed, tree.resolve().credential}) == 3


def test_missing_credentials_warn(tree: SettingsTree) -> None:
    """The account will be held, so the check says so before the first job."""
    tree.write("system.toml", SMTP + 'authorisation = "required"\n')
    tree.write("users/jane.toml", JANE + 'username = "jane"\n')
    assert [str(each) for each in tree.load().warnings] == [
        (
            'users/jane.toml: email.password: missing, and smtp.authorisation is "required": '
            "the account is held"
        )
    ]


def test_every_type_of_value_can_stand_in_a_variable(tree: SettingsTree) -> None:
    """Numbers, truth, lists and text are read as TOML would have them."""
    tree.company()
    settings = tree.resolve(
        "acme",
        environ={
            "POSTMETER_COMPANY__ACME__SMTP__BATCH_EMAILS_PER_MIN": "42",
            "POSTMETER_COMPANY__ACME__TLS__VERIFY": "false",
            "POSTMETER_COMPANY__ACME__DELIVERY__RETRY_FOR": "2h",
            "POSTMETER_USER__ACME__JANE__CC": "a@example.nz;b@example.nz",
        },
    )
    assert settings.batch_emails_per_min == 42
    assert not settings.verify_certificate
    assert settings.retry_for_seconds == 7200.0
    assert settings.cc == ("a@example.nz", "b@example.nz")


@pytest.mark.parametrize(
    ("variable", "value", "context", "line"),
    [
        ("SYSTEM__SMTP__PROT", "1", "_system", "did you mean POSTMETER_SYSTEM__SMTP__PORT?"),
        ("SYSTEM__SMTP__PORT", "x", "_system", ': smtp.port: "x": write 1 to 65535'),
        (
            "COMPANY__ACME__SMTP__PROT",
            "1",
            "acme",
            "did you mean POSTMETER_COMPANY__ACME__SMTP__PORT?",
        ),
        (
            "COMPANY__ACNE__SMTP__PORT",
            "1",
            "_environment",
            "did you mean POSTMETER_COMPANY__ACME__SMTP__PORT?",
        ),
        (
            "USER__ACME__JANE__PASWORD",
            "hunter2",
            "_environment",
            "did you mean POSTMETER_USER__ACME__JANE__PASSWORD?",
        ),
        (
            "USER__ACME__JANET__PASSWORD",
            "hunter2",
            "_environment",
            "did you mean POSTMETER_USER__ACME__JANE__PASSWORD?",
        ),
        ("USER__QQQ__WWW__PASSWORD", "hunter2", "_environment", "no such setting"),
    ],
)
def test_wrong_variables(
    tree: SettingsTree, variable: str, value: str, context: str, line: str
) -> None:
    """A wrong value or key holds its context; one that names nothing holds nobody."""
    tree.company()
    (found,) = lines(tree.load({f"POSTMETER_{variable}": value}), context)
    assert found.startswith(f"POSTMETER_{variable}: ")
    assert line in found
    assert "hunter2" not in found


def test_an_ambiguous_variable_is_an_error(tree: SettingsTree) -> None:
    """Two ids that are the same in capitals cannot share a variable."""
    tree.company("a-b")
    tree.company("a_b")
    settings = tree.load({"POSTMETER_COMPANY__A_B__SMTP__PORT": "26"})
    assert lines(settings, "_environment") == [
        "POSTMETER_COMPANY__A_B__SMTP__PORT: could mean a-b and a_b"
    ]
    assert settings.resolve("a-b", "jane", "send").port == 25


def test_ids_with_two_underscores_are_understood(tree: SettingsTree) -> None:
    """The separator may be part of an id."""
    tree.company("a__b")
    environ = {variable_name("smtp.port", "a__b"): "26"}
    assert all(map(is_setting, environ))
    assert tree.resolve("a__b", environ=environ).port == 26


def test_ca_files_lie_beside_their_file(tree: SettingsTree) -> None:
    """A relative path is the file's own folder's; what is no certificate is refused."""
    pem = "-----BEGIN CERTIFICATE-----\n"
    tree.company(text=SMTP + '[tls]\nca_file = "ca.pem"\n')
    path = tree.write("companies/acme/ca.pem", pem, 0o644)
    assert tree.resolve("acme").ca_file == path
    tree.write("companies/acme/ca.pem", "-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(InvalidContext, match="holds no certificate in PEM form"):
        tree.resolve("acme")


BOTH_PEM = "-----BEGIN PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\n"
APP = (
    '[microsoft_365]\ngrant = "certificate"\ntenant_id = "t"\nclient_id = "c"\n'
    'certificate_file = "{}"\n'
)


@pytest.mark.parametrize("mode", [0o640, 0o604])
@pytest.mark.parametrize("kind", ["", "RSA ", "ENCRYPTED "])
def test_a_private_key_is_a_secret(tree: SettingsTree, mode: int, kind: str) -> None:
    """As a client secret: its file is refused while group or others can read it."""
    tree.write("system.toml", SMTP + APP.format("m365.pem"))
    path = tree.write("m365.pem", BOTH_PEM.replace("PRIVATE", f"{kind}PRIVATE"), mode)
    (line,) = lines(tree.load(), "_system")
    assert line == (
        "system.toml: microsoft_365.certificate_file: m365.pem: it holds a private key that others"
        " can read: chmod 600, or put it into the folder POSTMETER_SECRETS"
    )
    path.chmod(0o600)
    assert lines(tree.load(), "_system") == []


def test_a_private_key_in_the_secrets_folder(tree: SettingsTree) -> None:
    """There the platform decides the modes; a link that leads out of it is no way round."""
    folder = tree.root.parent / "run"
    tree.write("../run/..data/m365.pem", BOTH_PEM, 0o644)
    (folder / "m365.pem").symlink_to("..data/m365.pem")  # as Kubernetes mounts secrets
    tree.write("system.toml", SMTP + APP.format(folder / "m365.pem"))
    assert lines(tree.load(secrets=folder), "_system") == []
    assert "others can read" in lines(tree.load(), "_system")[0]
    (folder / "m365.pem").unlink()
    (folder / "m365.pem").symlink_to(tree.write("m365.pem", BOTH_PEM, 0o644))
    assert "others can read" in lines(tree.load(secrets=folder), "_system")[0]


def test_dangerous_settings_are_loud(tree: SettingsTree) -> None:
    """Turning certificates off, or letting passwords cross readable, is said at every check."""
    tree.write(
        "system.toml",
        SMTP.replace('"tls"', '"none"')
        + 'authorisation = "required"\nallow_cleartext_password = true\n[tls]\nverify = false\n',
    )
    tree.write("users/jane.toml", JANE + 'username = "j"\npassword = "p"\n')
    settings = tree.load()
    assert settings.errors_by_context() == {}
    assert [str(each) for each in settings.warnings] == [
        "system.toml: tls.verify: false: anyone on the way can read mail and password",
        (
            "system.toml: smtp.allow_cleartext_password: true: "
            "passwords may cross the network readable"
        ),
    ]


def test_effective_settings_survive_another_process(tree: SettingsTree) -> None:
    """They are plain frozen data."""
    settings = tree.resolve()
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes
