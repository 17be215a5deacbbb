"""Live reload: the next good edit acts, a bad one changes nothing but one switch."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

import config.sources
import config.watcher
from config.errors import InvalidContext, UnknownCompany
from config.secret_files import signature
from config.sources import Source
from config.watcher import PATHS_PER_POLL
from tests.support.settings_tree import JANE, SMTP, lines

if TYPE_CHECKING:
    from pathlib import Path

    from config.secret_files import Signature
    from config.watcher import SettingsWatcher
    from tests.support.settings_tree import SettingsTree

ALLOWED = (
    '[microsoft_365]\ngrant = "managed-identity"\n[web]\nallow_microsoft_365 = true\n'
    '[mail_options]\nsend_mailer = "microsoft-365"\n'
) + SMTP


def later() -> float:
    """A clock for which every file has long been settled."""
    return time.time() + 60


def port(watcher: SettingsWatcher, company: str | None = "acme") -> int:
    """The port in force."""
    return watcher.current.resolve(company, "jane", "send").port


def test_an_edit_takes_effect(tree: SettingsTree) -> None:
    """A changed file, a new company and a removed one are seen by the next poll."""
    watcher = tree.watcher()
    tree.company(text=SMTP + "port = 26\n")
    assert watcher.poll()
    assert port(watcher) == 26
    tree.write("companies/acme/company.toml", SMTP + "port = 27\n")
    assert watcher.poll()
    assert port(watcher) == 27
    (tree.root / "companies/acme").rename(tree.root / "companies/globex")
    assert watcher.poll()
    assert port(watcher, "globex") == 27
    with pytest.raises(UnknownCompany):
        port(watcher)


def test_nothing_is_read_when_nothing_has_changed(
    tree: SettingsTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll of a settled tree only looks at signatures."""
    tree.company()
    watcher = tree.watcher(clock=later)
    snapshot = watcher.current
    monkeypatch.setattr(Source, "read", lambda _: pytest.fail("read without a change"))
    assert not watcher.poll()
    assert watcher.current is snapshot


def test_a_file_changed_within_one_tick_is_read_once_more(tree: SettingsTree) -> None:
    """Same size, same inode, same time stamp: what was read just after a change is not trusted."""
    tree.write("system.toml", SMTP + "port = 26\n")
    watcher = tree.watcher()
    path = tree.root / "system.toml"
    before = path.stat()
    path.write_text(SMTP + "port = 27\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watcher.poll()
    assert port(watcher, None) == 27
    assert not watcher.poll()


def test_a_bad_edit_keeps_the_last_good_settings(tree: SettingsTree) -> None:
    """The errors are reported, the mail goes on, and the next good edit acts."""
    tree.company(text=SMTP + "port = 26\n")
    watcher = tree.watcher()
    tree.write("companies/acme/company.toml", SMTP + "port = 0\n")
    assert watcher.poll()
    assert lines(watcher.current, "acme") == [
        "companies/acme/company.toml: smtp.port: 0: write 1 to 65535"
    ]
    assert port(watcher) == 26
    tree.write("companies/acme/company.toml", "[smtp\n")
    assert watcher.poll()
    assert port(watcher) == 26
    tree.write("companies/acme/company.toml", SMTP + "port = 27\n")
    assert watcher.poll()
    assert lines(watcher.current, "acme") == []
    assert port(watcher) == 27


def test_a_bad_user_keeps_the_last_good_file(tree: SettingsTree) -> None:
    """The same for one user; one who never was right is held."""
    watcher = tree.watcher()
    tree.write("users/jane.toml", JANE + "cc = 5\n")
    tree.write("users/bob.toml", JANE + "cc = 5\n")
    assert watcher.poll()
    assert watcher.current.resolve(None, "jane", "send").cc == ()
    with pytest.raises(InvalidContext):
        watcher.current.resolve(None, "bob", "send")
    assert len(lines(watcher.current, "_system")) == 2


def test_a_broken_company_still_follows_the_system(tree: SettingsTree) -> None:
    """Replication is live even while the company's own file waits for a correction."""
    tree.company(text="replicate_from_system = true\n")
    watcher = tree.watcher()
    tree.write("companies/acme/company.toml", "replicate_from_system = 1\n")
    tree.write("system.toml", SMTP + "port = 26\n")
    assert watcher.poll()
    assert port(watcher) == 26


@pytest.mark.parametrize(
    "edit",
    [
        "port = 0\n[web]\nallow_microsoft_365 = false\n",
        'port = 0\n[web]\nallow_microsoft_365 = "false"\n',
        "port = 0\n",
        '[mail_options]\nsend_mailer = "microsoft-365"\n',
    ],
)
def test_turning_microsoft_365_off_acts_at_once(tree: SettingsTree, edit: str) -> None:
    """Also in a file with other errors, by leaving the key out, and where it is still chosen."""
    tree.company(text=ALLOWED)
    watcher = tree.watcher()
    assert watcher.current.resolve("acme", "jane", "send").transport == "microsoft-365"
    tree.write("companies/acme/company.toml", SMTP + edit)
    assert watcher.poll()
    assert lines(watcher.current, "acme")
    with pytest.raises(InvalidContext) as caught:
        watcher.current.resolve("acme", "jane", "send")
    assert "mail_options.send_mailer" in str(caught.value)
    assert "web.allow_microsoft_365" in str(caught.value)
    assert watcher.current.resolve("acme", "jane", "batch").transport == "smtp"


def test_turning_microsoft_365_off_in_the_system_reaches_companies(tree: SettingsTree) -> None:
    """A replicated permission ends with the system's, even from a file with errors."""
    tree.write("system.toml", ALLOWED)
    tree.company(
        text='replicate_from_system = true\n[mail_options]\nsend_mailer = "microsoft-365"\n'
    )
    watcher = tree.watcher()
    assert watcher.current.resolve("acme", "jane", "send").transport == "microsoft-365"
    tree.write("system.toml", SMTP + "port = 0\n[web]\nallow_microsoft_365 = false\n")
    assert watcher.poll()
    with pytest.raises(InvalidContext, match=r"web\.allow_microsoft_365"):
        watcher.current.resolve("acme", "jane", "send")


def test_secret_and_certificate_files_are_watched(tree: SettingsTree) -> None:
    """A rotated secret, a mended mode and a new certificate file need no edit of the TOML."""
    tree.write("users/jane.toml", JANE + 'password_file = "jane.secret"\n')
    path = tree.write("users/jane.secret", "one", 0o644)
    watcher = tree.watcher(clock=later)
    assert len(lines(watcher.current, "_system")) == 1
    path.chmod(0o600)
    assert watcher.poll()
    first = watcher.current.resolve(None, "jane", "send").credential
    tree.write("users/jane.secret", "longer")
    assert watcher.poll()
    assert watcher.current.resolve(None, "jane", "send").credential != first


def test_the_secrets_folder_is_watched(tree: SettingsTree, tmp_path: Path) -> None:
    """A secret mounted later is found."""
    folder = tmp_path / "run"
    folder.mkdir()
    watcher = tree.watcher(secrets=folder, clock=later)
    (folder / "POSTMETER_USER__SYSTEM__JANE__PASSWORD").write_text("hunter2")
    assert watcher.poll()
    assert watcher.current.resolve(None, "jane", "send").password is not None


def test_kubernetes_swaps_a_link(tree: SettingsTree, tmp_path: Path) -> None:
    """A ConfigMap's files are links through ``..data``; the swap of that one link is an edit."""
    mount = tmp_path / "mount"
    for version, number in (("..1", 26), ("..2", 27)):
        (mount / version / "users").mkdir(parents=True)
        (mount / version / "system.toml").write_text(f"{SMTP}port = {number}\n")
        (mount / version / "users/jane.toml").write_text(JANE)
    (mount / "..data").symlink_to("..1")
    (mount / "system.toml").symlink_to("..data/system.toml")
    (mount / "users").symlink_to("..data/users")
    tree.root = mount
    watcher = tree.watcher(clock=later)
    assert port(watcher, None) == 26
    (mount / "..tmp").symlink_to("..2")
    (mount / "..tmp").rename(mount / "..data")
    assert watcher.poll()
    assert port(watcher, None) == 27


def test_a_tree_that_goes_away_changes_nothing(tree: SettingsTree) -> None:
    """A lost mount is reported once, and forgotten when it is back."""
    watcher = tree.watcher()
    away = tree.root.with_name("away")
    tree.root.rename(away)
    assert watcher.poll()
    assert not watcher.poll()
    assert "cannot read the settings" in lines(watcher.current, "_environment")[0]
    assert port(watcher, None) == 25
    away.rename(tree.root)
    assert watcher.poll()
    assert watcher.current.errors_by_context() == {}


def test_a_system_file_that_goes_away_changes_nothing(tree: SettingsTree) -> None:
    """At the start that ends the worker; later the last good settings stay."""
    watcher = tree.watcher()
    (tree.root / "system.toml").unlink()
    assert watcher.poll()
    assert lines(watcher.current, "_system") == ["system.toml: this file is missing"]
    assert port(watcher, None) == 25


def test_an_unlistable_users_folder_holds(
    tree: SettingsTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users who cannot be seen are not taken for removed ones, whose mail would die."""
    tree.company()
    listed = config.sources._listed

    def broken(folder: Path, watched: dict[Path, object]) -> list[Path]:
        if folder == tree.root / "companies/acme/users":
            raise PermissionError(13, "Permission denied")
        return listed(folder, watched)  # type: ignore[arg-type] # the test's own narrower view

    monkeypatch.setattr(config.sources, "_listed", broken)
    settings = tree.load()
    with pytest.raises(InvalidContext, match=r"companies/acme/users: cannot list this folder"):
        settings.resolve("acme", "jane", "send")


def test_a_poll_of_many_companies_is_bounded(
    tree: SettingsTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One poll looks at a part of the files, and an edit anywhere is found within a few polls."""
    for number in range(600):
        tree.company(f"c{number}")
    watcher = tree.watcher(clock=later)
    looked: list[Path] = []

    def counted(path: Path) -> Signature | None:
        looked.append(path)
        return signature(path)

    monkeypatch.setattr(config.watcher, "signature", counted)
    assert not watcher.poll()
    assert len(looked) <= PATHS_PER_POLL + 2
    tree.write("companies/c555/company.toml", SMTP + "port = 26\n")
    polls = 4 * 600 // PATHS_PER_POLL + 1
    assert any(watcher.poll() for _ in range(polls))
    assert port(watcher, "c555") == 26


def test_a_signature_tells_states_apart(tmp_path: Path) -> None:
    """Content, mode and inode count; what is missing has none."""
    path = tmp_path / "x"
    assert signature(path) is None
    path.write_text("a")
    first = signature(path)
    path.chmod(0o600)
    assert signature(path) != first
    assert signature(tmp_path / "\0") is None
