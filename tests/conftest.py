"""What holds for every test: a clean environment, and the servers that tests start themselves."""

from __future__ import annotations

import os

import pytest

for _name in [name for name in os.environ if name.startswith("POSTMETER_")]:
    # A developer's shell must not change a result, nor a test touch a developer's broker.
    del os.environ[_name]

pytest_plugins = ["tests.support.fixtures_rabbitmq"]


@pytest.fixture(autouse=True)
def _no_stray_tree(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep tests away from the settings and state of whoever runs them."""
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
