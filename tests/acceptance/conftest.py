"""A running worker for the tests of what it does with rubbish, once for each way in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.office import open_office
from tests.support.rabbitmq import unique_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.office import Office

WAIT_FOR_SETTINGS_SECONDS = 8.0
"""Long enough to see that a job waits, also on a machine that does eight other things."""


@pytest.fixture(
    scope="session", params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)]
)
def office(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Office]:
    """A worker that is ready, behind the embedded inbox and behind RabbitMQ in turn.

    The system has the user ``root``, ``acme`` the user ``robot``.
    """
    root = tmp_path_factory.mktemp("office")
    attachments = root / "attachments"
    attachments.mkdir()
    users = root / "settings" / "users"
    users.mkdir(parents=True)
    (users / "root.toml").write_text('[email]\naddress = "root@example.org"\n')
    rabbitmq = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else None
    with open_office(
        root,
        rabbitmq,
        prefix="" if rabbitmq is None else unique_prefix("office"),
        wait_for_settings_seconds=WAIT_FOR_SETTINGS_SECONDS,
        more_environ={"POSTMETER_ATTACHMENTS": str(attachments)},
    ) as running:
        yield running
