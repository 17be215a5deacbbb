"""The variables of the process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from config.errors import NoSettings, ProcessInvalid
from config.process import load, settings_root, state_root


def problems(environ: dict[str, str]) -> list[str]:
    """What is wrong with these variables."""
    with pytest.raises(ProcessInvalid) as caught:
        load(environ)
    return [str(problem) for problem in caught.value.problems]


def test_defaults(tmp_path: Path) -> None:
    """Without any variable everything has a value, and only this machine is spoken to."""
    process = load({"HOME": str(tmp_path)})
    assert process.broker_url.get_secret_value() == "embedded:"
    assert (process.metrics_host, process.metrics_port) == ("127.0.0.1", 9191)
    assert (process.grace_seconds, process.queue_type, process.queue_prefix) == (30.0, "quorum", "")
    assert (process.log_format, process.log_level, process.log_addresses) == ("auto", "info", False)
    assert process.processes == 1
    assert process.ledger_url is None


def test_variables_are_read_and_passwords_do_not_show(tmp_path: Path) -> None:
    """URLs carry passwords, so they are secrets."""
    process = load(
        {
            "HOME": str(tmp_path),
            "POSTMETER_BROKER_URL": "amqp://u:hunter2@rabbit/",
            "POSTMETER_LEDGER_URL": "postgresql://u:hunter2@db/x",
            "POSTMETER_METRICS_PORT": "0",
            "POSTMETER_LOG_ADDRESSES": "true",
        }
    )
    assert process.broker_url.get_secret_value() == "amqp://u:hunter2@rabbit/"
    assert process.metrics_port == 0
    assert process.log_addresses
    assert "hunter2" not in repr(process)


def test_a_file_of_the_secrets_folder_stands_for_a_variable(tmp_path: Path) -> None:
    """The variable wins over the file."""
    (tmp_path / "POSTMETER_BROKER_URL").write_text("amqp://file/\n")
    environ = {"HOME": "/", "POSTMETER_SECRETS": str(tmp_path)}
    assert load(environ).broker_url.get_secret_value() == "amqp://file/"
    environ["POSTMETER_BROKER_URL"] = "amqp://variable/"
    assert load(environ).broker_url.get_secret_value() == "amqp://variable/"


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("METRICS_PROT", "1", "no such variable; did you mean POSTMETER_METRICS_PORT?"),
        ("SYSTM__SMTP__PORT", "1", "no such variable; did you mean POSTMETER_SYSTEM__SMTP__PORT?"),
        ("QQQ", "1", "no such variable"),
        ("METRICS_PORT", "x", "not valid: The port of metrics; 0 takes a free one."),
        (
            "METRICS_PORT",
            "tcp://10.0.0.1:9191",
            (
                "not valid: The port of metrics; 0 takes a free one. "
                "(Kubernetes set this for a Service: write enableServiceLinks: false)"
            ),
        ),
        ("QUEUE_PREFIX", "a b", "not valid: Goes before every queue's name"),
        ("QUEUE_TYPE", "mirrored", "not valid: The type of the queues: quorum, classic."),
        ("BROKER_URL", "http://hunter2@x", "not valid: RabbitMQ (amqp://, amqps://)"),
        ("SECRETS", "/nowhere/at/all", '"/nowhere/at/all" is no folder'),
        ("GRACE_SECONDS", "-1", "not valid: How long mail in DATA may finish after SIGTERM"),
    ],
)
def test_wrong_variables(variable: str, value: str, line: str) -> None:
    """Each is one line with the nearest name or with what is allowed, never with a secret."""
    (found,) = problems({"HOME": "/", f"POSTMETER_{variable}": value})
    assert found.startswith(f"POSTMETER_{variable}: {line}")
    assert "hunter2" not in found


def test_all_are_told_at_once() -> None:
    """Two mistakes are two problems, and one line as an error."""
    environ = {"POSTMETER_QQQ": "1", "POSTMETER_PROCESSES": "0"}
    assert len(problems(environ)) == 2
    with pytest.raises(ProcessInvalid) as caught:
        load(environ)
    assert "\n" not in str(caught.value)


def test_what_kubernetes_sets_for_a_service_is_ignored() -> None:
    """A Service named postmeter puts such variables into every pod of its namespace."""
    link = {
        "POSTMETER_SERVICE_HOST": "10.0.0.1",
        "POSTMETER_SERVICE_PORT": "9191",
        "POSTMETER_SERVICE_PORT_METRICS": "9191",
        "POSTMETER_PORT": "tcp://10.0.0.1:9191",
        "POSTMETER_PORT_9191_TCP": "tcp://10.0.0.1:9191",
        "POSTMETER_PORT_9191_TCP_ADDR": "10.0.0.1",
        "POSTMETER_WORKER_SERVICE_HOST": "10.0.0.1",
    }
    assert load({"HOME": "/", **link}).metrics_port == 9191


def test_variables_of_the_tree_are_not_the_process_s() -> None:
    """They are checked with the tree, which knows the ids."""
    assert load({"HOME": "/", "POSTMETER_SYSTEM__SMTP__PROT": "1"}).processes == 1


def test_the_tree_is_the_first_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable, else the working directory's, else the user's, else none with a sentence."""
    monkeypatch.chdir(tmp_path)
    environ = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    if not Path("/etc/postmeter/system.toml").exists():
        with pytest.raises(NoSettings, match="postmeter settings init"):
            settings_root(load(environ))
    (tmp_path / "postmeter").mkdir()
    for folder in ("xdg/postmeter", "postmeter"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "system.toml").touch()
        assert settings_root(load(environ)).resolve() == tmp_path / folder
    environ["POSTMETER_SETTINGS"] = "/elsewhere"
    assert settings_root(load(environ)) == Path("/elsewhere")


def test_the_state_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    """It holds addresses and mail, so nobody else may look in."""
    process = load({"XDG_STATE_HOME": str(tmp_path / "state")})
    folder = state_root(process)
    assert folder == tmp_path / "state/postmeter"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert state_root(process) == folder
    (tmp_path / "file").touch()
    with pytest.raises(ProcessInvalid, match="POSTMETER_STATE: cannot make"):
        state_root(load({"HOME": "/", "POSTMETER_STATE": str(tmp_path / "file/x")}))


def test_the_state_of_root_is_the_system_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service runs with /var/lib, a person with the home folder."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert load({"HOME": "/root"}).state == Path("/var/lib/postmeter")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert load({"HOME": "/home/jane"}).state == Path("/home/jane/.local/state/postmeter")
