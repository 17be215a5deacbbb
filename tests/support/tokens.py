"""Settings and tokens for tests against ``tests.support.authority``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from config.registration import SMTP_RESOURCES, Registration
from tests.support.settings import make_settings
from worker.auth.logins import Logins
from worker.auth.sealing import Sealer
from worker.auth.sources import Sources
from worker.auth.tokens import MsalTokens
from worker.ledger.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from config.effective import EffectiveSettings
    from tests.support.authority import Authority


def registration(
    authority: Authority, grant: str = "client-secret", **changes: Any
) -> Registration:
    """Make the app registration that the authority knows."""
    by_secret = grant == "client-secret"
    fields: dict[str, Any] = {
        "tenant_id": authority.tenant,
        "client_id": authority.client_id,
        "grant": grant,
        "client_secret": SecretStr(authority.client_secret) if by_secret else None,
        "certificate_file": None,
        "certificate_version": "",
        "cloud": "custom",
        "authority_url": authority.url,
        "graph_url": "https://graph.example.test",
        "smtp_resource": SMTP_RESOURCES["global"],
        "ca_file": authority.ca_file,
    }
    return Registration(**(fields | changes))


def oauth_settings(app: Registration, user: str = "jane", **changes: Any) -> EffectiveSettings:
    """Make settings of a user of acme who logs in with OAuth2."""
    return make_settings(
        **{
            "user": user,
            "username": f"{user}@acme.test",
            "authentication_model": "oauth2",
            "authorisation": "required",
            "transport_security": "tls",
            "registration": app,
        }
        | changes
    )


@dataclass(slots=True)
class Desk:
    """One process's tokens over a ledger of its own, and what they told; for a ``with`` block.

    Attributes:
        now: the steady clock, in seconds; a test moves it.
        ends: when whose token for what ends, by (owner, resource).
    """

    folder: Path
    patience_seconds: float = 60.0
    now: float = 1000.0
    ends: dict[tuple[str, str], float] = field(default_factory=dict)
    ledger: Ledger = field(init=False)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(self.ledger_url)
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.close()

    @property
    def ledger_url(self) -> str:
        """Where the ledger is."""
        return f"sqlite:///{self.folder / 'ledger.db'}"

    @property
    def key_file(self) -> Path:
        """The key of logins."""
        return self.folder / "login.key"

    @property
    def logins(self) -> Logins:
        """The logins in the ledger."""
        return Logins(self.ledger, Sealer(self.key_file))

    def tokens(self) -> MsalTokens:
        """Those of a process that has just started."""
        return MsalTokens(
            lambda: Sources(self.logins),
            note_token=lambda owner, resource, end: self.ends.__setitem__((owner, resource), end),
            clock=lambda: self.now,
            patience_seconds=self.patience_seconds,
        )
