"""A fleet that sends through the Graph for tests, with tokens from the authority for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.fleet import Fleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.authority import Authority

COMPANY = "acme"


@dataclass(slots=True)
class GraphFleet(Fleet):
    """Workers of one company whose users send by Microsoft 365.

    Args:
        graph_url: where Graph is; ``graph_ca_file`` says who vouches for it.
        users: how many mailboxes there are, each of which Graph counts on its own.
        more_settings: further lines of system.toml, in tables of their own.
    """

    graph_url: str = ""
    graph_ca_file: Path | None = None
    authority: Authority | None = None
    users: int = 4
    more_settings: str = ""

    def write_settings(
        self, limits: dict[str, int | None] | None = None, view: int | None = None
    ) -> None:
        """Write the tree; there are no limits but Graph's own."""
        del limits, view
        assert self.authority is not None
        assert self.graph_ca_file is not None
        both = self.root / "authorities.pem"
        both.write_bytes(self.authority.ca_file.read_bytes() + self.graph_ca_file.read_bytes())
        app = self.authority.toml(graph_url=self.graph_url, ca_file=str(both))
        tree = self._tree(0)
        self._put(
            tree / "system.toml",
            "[web]\nallow_microsoft_365 = true\n"
            '[mail_options]\ncompose = "microsoft-365"\nsend_batch = "microsoft-365"\n'
            'send_mailer = "microsoft-365"\n'
            f'[delivery]\non_unknown = "{self.on_unknown}"\n'
            f'reply_timeout = "{self.reply_timeout}"\n{app}{self.more_settings}',
        )
        company = tree / "companies" / COMPANY
        self._put(company / "company.toml", "replicate_from_system = true\n")
        for user in self.user_names:
            self._put(
                company / "users" / f"{user}.toml",
                f'[email]\naddress = "{user}@acme.example"\nmailbox_emails_per_min = 100000\n',
            )

    @property
    def user_names(self) -> list[str]:
        """The users, by name."""
        return [f"user{number}" for number in range(self.users)]

    def address(self, user: str) -> str:
        """The mailbox of a user."""
        return f"{user}@acme.example"
