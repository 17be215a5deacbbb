"""``postmeter settings``: init, explain and check, as an operator types them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from tests.support.settings_tree import JANE, SMTP, SettingsTree
from worker.cli.settings import settings

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

MICROSOFT_365 = (
    '[microsoft_365]\ntenant_id = "t"\nclient_id = "c"\nclient_secret = "s"\n'
    "[web]\nallow_microsoft_365 = true\n"
)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SettingsTree:
    """A tree that ``POSTMETER_SETTINGS`` points at, and no other variable of ours."""
    import os

    for name in os.environ:
        if name.startswith("POSTMETER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("POSTMETER_SETTINGS", str(tmp_path / "settings"))
    return SettingsTree(tmp_path / "settings")


def run(*arguments: str) -> Result:
    """Run the command; its output must fit eighty columns, unless it is for a script."""
    result = CliRunner().invoke(settings, arguments)
    if "--json" not in arguments and result.exit_code == 0:
        assert max(map(len, result.output.splitlines()), default=0) <= 80
    return result


def test_a_new_tree_can_be_checked_at_once(
    tree: SettingsTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What init writes has no error, and says what is to be set before mail can leave."""
    monkeypatch.chdir(tmp_path)  # a folder's name may be longer than a line
    new = "new"
    monkeypatch.setenv("POSTMETER_SETTINGS", new)
    assert run("init").exit_code == 0
    result = run("check")
    assert result.exit_code == 0
    assert "2 contexts, 2 users: 0 errors, 0 warnings, 4 held" in result.output
    assert "smtp.server_address" in result.output
    again = run("init", new)
    assert again.exit_code == 2
    assert f"{new} is not empty: choose another folder" in again.output


def test_check_names_every_error_and_exits_2(tree: SettingsTree) -> None:
    """Errors, warnings and held values, by context, one line each."""
    old = SMTP.replace('"tls"', '"tls1.0"')
    tree.write("system.toml", f'{old}[mail_options]\ncompose = "outlook"\n')
    tree.company(text="[smtp]\nport = 0\nbatch_emails_per_min = 0\n")
    result = run("check")
    assert result.exit_code == 2
    text = " ".join(result.output.split())
    assert "error companies/acme/company.toml: smtp.port: 0: write 1 to 65535" in text
    assert "smtp.batch_emails_per_min: 0: write 1 to 1000000; leave the key out" in text
    assert 'held system.toml: mail_options.compose: "outlook" needs a worker' in text
    assert "2 contexts, 2 users: 2 errors, 1 warning, 1 held" in text


def test_check_for_scripts(tree: SettingsTree) -> None:
    """The same as JSON, exit code included."""
    tree.company(text="[smtp]\nport = 0\n")
    result = run("check", "--json")
    document = json.loads(result.output)
    assert result.exit_code == 2
    assert document["errors"] == 1
    assert document["contexts"] == {
        "acme": {"errors": ["companies/acme/company.toml: smtp.port: 0: write 1 to 65535"]}
    }


def test_explain_shows_value_layer_file_and_losers(
    tree: SettingsTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every value in force, where it comes from, and why the others lost; no secret."""
    tree.write("system.toml", SMTP + "port = 587\nbatch_emails_per_min = 30\n")
    tree.company(
        text="replicate_from_system = true\n[smtp]\nport = 2525\n",
        user=JANE + 'username = "jane"\npassword = "hunter2"\n',
    )
    monkeypatch.setenv("POSTMETER_COMPANY__ACME__SMTP__CONNECTION_TIMEOUT_MS", "5000")
    result = run("explain", "--company", "acme", "--user", "jane", "--kind", "batch")
    text = " ".join(result.output.split())
    assert result.exit_code == 0
    assert text.startswith("acme/jane, batch: by smtp smtp.example.nz:2525")
    assert "smtp.port 2525 company not 587: the company's own value" in text
    assert "smtp.batch_emails_per_min 30 system" in text
    assert "smtp.connection_timeout_ms 5000 environment" in text
    assert "environment: POSTMETER_COMPANY__ACME__SMTP__CONNECTION_TIMEOUT_MS" in text
    assert "hunter2" not in text


def test_explain_for_scripts(tree: SettingsTree) -> None:
    """The same as JSON, by attribute."""
    tree.write("users/jane.toml", JANE + 'password = "hunter2"\nsend_batch = "outlook"\n')
    result = run("explain", "--user", "jane", "--kind", "batch", "--json")
    document = json.loads(result.output)
    assert document["transport"] == "smtp"
    assert document["settings"]["password"]["value"] == "***"
    assert document["settings"]["send_batch"]["losers"] == [
        {
            "value": '"outlook"',
            "layer": "user",
            "where": "users/jane.toml: email.send_batch",
            "why": "mail_options.send_batch_allow_user_selection is not on",
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--company", "zed"), 'there is no company "zed" in the settings'),
        (("--user", "bob"), 'the system has no user "bob"'),
        ((), "the job names no user, and system.toml has no smtp.default_user"),
        (("--company", "acme", "--user", "jane"), "the settings of acme have errors: "),
    ],
)
def test_explain_says_why_it_cannot(
    tree: SettingsTree, arguments: tuple[str, ...], line: str
) -> None:
    """The sentence that a held job would get, and exit code 2."""
    tree.company(text="[smtp]\nport = 0\n")
    result = run("explain", *arguments)
    assert result.exit_code == 2
    assert line in result.output


def test_explain_tells_that_a_job_is_held(tree: SettingsTree) -> None:
    """The sentence names key and way out."""
    tree.write("system.toml", SMTP + '[mail_options]\nsend_batch = "outlook"\n')
    result = run("explain", "--user", "jane", "--kind", "batch")
    text = " ".join(result.output.split())
    assert 'held: system.toml: mail_options.send_batch = "outlook" needs a worker' in text
    assert 'write "smtp" or "microsoft-365"' in text


def test_explain_says_who_set_each_limit(tree: SettingsTree) -> None:
    """What choosing Microsoft 365 sets for a mailbox is shown with the choice and its file."""
    tree.write("system.toml", MICROSOFT_365)
    result = run("explain", "--user", "jane")
    assert max(map(len, result.output.splitlines())) <= 80
    text = " ".join(result.output.split())
    for told in (
        "mailbox:_system/jane allows 30 a minute (microsoft-365)",
        "[email] mailbox_emails_per_min, set by microsoft-365 in system.toml",
        "conn:_system/jane allows 3 requests at a time (microsoft-365)",
        "mailbox:_system/jane:recipients allows 10000 recipients a day (microsoft-365)",
        "mailbox:_system/jane takes emails to at most 500 recipients (microsoft-365)",
        "mailbox:_system/jane takes emails of at most 35 MB (microsoft-365)",
    ):
        assert told in text


def test_check_warns_of_what_office_365_does_not_take(tree: SettingsTree) -> None:
    """One line with file, key, value and what to do; a warning is no error."""
    tree.write("system.toml", MICROSOFT_365)
    tree.write("users/jane.toml", JANE + "mailbox_emails_per_min = 31\n")
    result = run("check")
    assert result.exit_code == 0
    assert (
        "warning users/jane.toml: email.mailbox_emails_per_min: 31: Office 365 takes 30 a minute "
        "from one mailbox: write 30 or less"
    ) in " ".join(result.output.split())


@pytest.mark.parametrize("command", ["check", "explain"])
def test_no_tree_and_wrong_variables_end_with_2(
    tree: SettingsTree, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line each, with what to do."""
    monkeypatch.setenv("POSTMETER_METRICS_PROT", "1")
    result = run(command)
    assert result.exit_code == 2
    assert "POSTMETER_METRICS_PROT: no such variable; did you mean POSTMETER_METRICS_PORT?" in (
        result.output
    )
    monkeypatch.delenv("POSTMETER_METRICS_PROT")
    (tree.root / "system.toml").unlink()
    result = run(command)
    assert result.exit_code == 2
    assert "system.toml: this file is missing" in result.output
