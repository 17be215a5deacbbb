"""What holds for every test: a clean environment, and the servers that tests start themselves."""

from __future__ import annotations

import os

import pytest

for _name in [name for name in os.environ if name.startswith("POSTMETER_")]:
    # A developer's shell must not change a result, nor a test touch a developer's broker.
    del os.environ[_name]

pytest_plugins = [
    "tests.support.fixtures_postgresql",
    "tests.support.fixtures_rabbitmq",
    "tests.support.secrets_watch",
]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of the tests that need PostgreSQL."""
    config.addinivalue_line(
        "markers", "postgresql: needs a PostgreSQL server, which the tests start themselves"
    )


@pytest.hookimpl(tryfirst=True)  # before ``-m`` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for a server's fixture as one that needs the server.

    The longest files go first: else one process would still work on them when the others are done.
    """
    items.sort(key=lambda item: "integration/ledger" not in item.path.as_posix())
    for item in items:
        for name in {"postgresql", "rabbitmq"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(name)


@pytest.fixture(autouse=True)
def _no_stray_tree(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep tests away from the settings and state of whoever runs them."""
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
