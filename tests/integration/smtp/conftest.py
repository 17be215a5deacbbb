"""What the SMTP suites share: event loops, certificates, a scripted server, and a real one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support import dovecot
from tests.support.certificates import Certificates, certificates
from tests.support.jwts import Minter, make_minter
from tests.support.mailserver import MISSING, MailServer
from tests.support.smtp_matrix import USERS
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


@pytest.fixture(scope="session")
def minter() -> Minter:
    """Whoever issues the access tokens that the mail server takes."""
    return make_minter()


@pytest.fixture(scope="session")
def mailserver(minter: Minter) -> Iterator[MailServer]:
    """A Postfix with Dovecot's logins; skips where there is none to start, but fails in CI."""
    if not MailServer.available():
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    tokens = dovecot.TokenKeys({dovecot.KEY: minter.public_pem}, (minter.issuer,))
    with MailServer(USERS, tokens) as running:
        yield running
