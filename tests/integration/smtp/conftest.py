"""What the SMTP suites share: both event loops, certificates, a scripted server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import Certificates, certificates
from tests.support.smtpd import SmtpServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_kind(request: pytest.FixtureRequest) -> str:
    """Each test runs on both event loops."""
    return str(request.param)


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for 127.0.0.1, from an authority that no system trusts."""
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    """A server that offers what modern ones do, and obeys the test's script."""
    with SmtpServer() as running:
        yield running
