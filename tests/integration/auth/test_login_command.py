"""``postmeter login`` as a person types it: the code, the waiting, what is kept, and Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from config.watcher import SettingsWatcher
from tests.support.waiting import GENEROUS_SECONDS
from worker.auth.sealing import Sealer
from worker.cli.installation import Installation
from worker.cli.main import main
from worker.ledger import holds, logins
from worker.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.authority import Authority

SYSTEM = """\
[smtp]
server_address = "localhost"
transport_security = "tls"
"""
COMPANY = """\
name = "Acme"
[smtp]
authentication_model = "oauth2"
oauth2_provider = "office365-smtp"
"""


class Shop:
    """A settings tree whose company acme signs in at the authority, and a ledger."""

    def __init__(self, root: Path, authority: Authority, grant: str = "device-code") -> None:
        self.root = root
        settings = root / "settings"
        users = settings / "companies" / "acme" / "users"
        users.mkdir(parents=True)
        (settings / "system.toml").write_text(SYSTEM)
        self.company = users.parent / "company.toml"
        self.company.write_text(COMPANY + authority.toml(grant))
        self.company.chmod(0o600)
        (users / "jane.toml").write_text(
            '[email]\naddress = "jane@acme.test"\nusername = "jane@acme.test"\n'
        )
        self.state = root / "state"
        self.state.mkdir()
        self.url = f"sqlite:///{self.state / 'ledger.db'}"
        Ledger(self.url).close()

    @property
    def environ(self) -> dict[str, str]:
        """Where things are."""
        return {
            "POSTMETER_SETTINGS": str(self.root / "settings"),
            "POSTMETER_STATE": str(self.state),
        }

    @contextmanager
    def login(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run the command; it is ended with the block at the latest."""
        # A run in the background ignores SIGINT, and what it starts would do the same.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", "login", *arguments],
                env={**os.environ, **self.environ},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        finally:
            signal.signal(signal.SIGINT, before)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def ends(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command to its end, in this process: exit code, output, errors."""
        here = Installation(self.environ)
        result = CliRunner().invoke(main, ["login", *arguments], obj=here)
        return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def shop(authority: Authority, tmp_path: Path) -> Shop:
    """One with nobody signed in."""
    return Shop(tmp_path, authority)


def credential(shop: Shop) -> str:
    """The hold that waits for jane."""
    settings = SettingsWatcher(shop.root / "settings", {}).current.resolve("acme", "jane", "send")
    return f"credential:{settings.credential}"


def test_a_person_signs_in(shop: Shop, authority: Authority) -> None:
    """It shows address and code in 80 columns, waits, keeps the login encrypted, ends the hold."""
    target = credential(shop)
    ledger = Ledger(shop.url)
    ledger.call(lambda c, now: holds.put_hold(c, now, target, "nobody has signed in"))
    with shop.login("jane", "--company", "acme") as process:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        code = re.search(r"the code (\w+), and sign in", first)
        assert code is not None
        assert f"Open {authority.url}/device in any browser" in first
        assert second == "The code is good for 15 min; waiting …\n"
        authority.approve("jane@acme.test", code[1])
        out, err = process.communicate(timeout=GENEROUS_SECONDS)
        assert (process.returncode, err) == (0, "")
    assert out == "acme/jane: signed in as jane@acme.test\n"
    kept = ledger.read(lambda c, _: logins.find(c, "acme/jane"))
    assert kept is not None
    assert "RefreshToken" in Sealer(shop.state / "login.key").open("acme/jane", kept.cache)
    assert ledger.read(lambda c, _: holds.all_holds(c)) == []
    ledger.close()


def test_a_script_reads_along(shop: Shop, authority: Authority) -> None:
    """--json prints one line with the code at once, and one with who has signed in; forget undoes it."""
    with shop.login("jane", "--company", "acme", "--json") as process:
        assert process.stdout is not None
        shown = json.loads(process.stdout.readline())
        assert shown.keys() == {"address", "code", "seconds"}
        authority.approve("shared@acme.test", shown["code"])
        done = json.loads(process.communicate(timeout=GENEROUS_SECONDS)[0])
    assert done == {
        "account": "acme/jane",
        "signed_in_as": "shared@acme.test",
        "mailbox": "jane@acme.test",
        "without_consent_for": [],
    }
    for forgotten in (True, False):
        code, out, err = shop.ends("jane", "--company", "acme", "--forget", "--json")
        assert (code, err) == (0, "")
        assert json.loads(out) == {"account": "acme/jane", "forgotten": forgotten}


def test_ctrl_c_ends_the_waiting(shop: Shop) -> None:
    """One line, exit code 130, and nothing is kept."""
    with shop.login("jane", "--company", "acme") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=GENEROUS_SECONDS)
        assert (process.returncode, err.strip()) == (130, "postmeter: interrupted")
    with closing(Ledger(shop.url)) as ledger:
        assert ledger.read(lambda c, _: logins.find(c, "acme/jane")) is None


def test_nobody_signs_in_where_it_could_not_be_kept(shop: Shop) -> None:
    """A key that can be neither read nor made is told of before there is a code."""
    key = shop.root / "nowhere" / "login.key"
    here = Installation({**shop.environ, "POSTMETER_LOGIN_KEY_FILE": str(key)})
    result = CliRunner().invoke(main, ["login", "jane", "--company", "acme"], obj=here)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"the key of logins {key} cannot be made" in " ".join(result.stderr.split())


def test_what_cannot_be_signed_in_to_says_why(
    shop: Shop, authority: Authority, tmp_path: Path
) -> None:
    """Declined: exit 1. A grant that needs nobody, an unknown user, no OAuth2: exit 2."""
    with shop.login("jane", "--company", "acme") as process:
        assert process.stdout is not None
        process.stdout.readline()
        authority.decline()
        _, err = process.communicate(timeout=GENEROUS_SECONDS)
        assert process.returncode == 1
        assert "authorization_declined" in err
    other = Shop(tmp_path / "other", authority, "client-secret")
    for arguments, words in (
        (("jane", "--company", "acme"), "nobody has to sign in"),
        (("joe", "--company", "acme"), "joe"),
    ):
        code, _, err = other.ends(*arguments)
        assert code == 2
        assert words in err
        assert authority.client_secret not in err
