"""A settings tree in a folder of its own, written file by file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from config.watcher import SettingsWatcher

if TYPE_CHECKING:
    from pathlib import Path

    from config.effective import EffectiveSettings
    from config.settings import Settings
    from config.values import Kind

SMTP = '[smtp]\nserver_address = "smtp.example.nz"\ntransport_security = "tls"\n'
JANE = '[email]\naddress = "jane@example.nz"\n'


class SettingsTree:
    """Writes files, and reads the tree as a worker would.

    It begins with a system that has a server, and the user ``jane`` in the system.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("system.toml", SMTP)
        self.write("users/jane.toml", JANE)

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        """Write one file, its folders too."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def company(self, name: str = "acme", text: str = SMTP, user: str = JANE) -> None:
        """Write a company with the user ``jane``."""
        self.write(f"companies/{name}/company.toml", text)
        self.write(f"companies/{name}/users/jane.toml", user)

    def watcher(self, environ: dict[str, str] | None = None, **options: Any) -> SettingsWatcher:
        """Read the tree; only the variables that are handed in exist."""
        return SettingsWatcher(self.root, environ or {}, **options)

    def load(self, environ: dict[str, str] | None = None, **options: Any) -> Settings:
        """A snapshot."""
        return self.watcher(environ, **options).current

    def resolve(
        self,
        company: str | None = None,
        user: str | None = "jane",
        kind: Kind = "send",
        environ: dict[str, str] | None = None,
    ) -> EffectiveSettings:
        """What is in force for one job."""
        return self.load(environ).resolve(company, user, kind)


def lines(settings: Settings, context: str) -> list[str]:
    """The errors of one context as an operator reads them."""
    return [str(problem) for problem in settings.errors_by_context().get(context, ())]
