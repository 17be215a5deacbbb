"""What is asked for: which resource, in whose name, and by which words in each cloud; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.effective import EffectiveSettings
    from config.registration import Registration

Resource = Literal["smtp", "graph"]

NAMES: Final[Mapping[Resource, str]] = {"smtp": "SMTP", "graph": "Microsoft Graph"}
_SMTP_OF_PERSONS: Final[Mapping[str, str]] = {
    "https://outlook.office365.com": "https://outlook.office.com"
}
"""Where the permission SMTP.Send goes by another address than SMTP.SendAsApp
(learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth)."""


@dataclass(frozen=True, slots=True, repr=False)
class Asking:
    """One token that is wanted.

    Attributes:
        registration: the application.
        resource: what the token is for.
        account: ``acme/jane``.
        credential: the account's credential, as holds name it.
        command: what a person types to sign in for the account.
    """

    registration: Registration
    resource: Resource
    account: str
    credential: str
    command: str

    @classmethod
    def of(cls, settings: EffectiveSettings, resource: Resource) -> Asking:
        """What a job under these settings needs.

        Raises:
            ValueError: they have no app registration.
        """
        if settings.registration is None:
            raise ValueError(f"{settings.account} has no app registration")
        company = f" --company {settings.company}" if settings.company else ""
        return cls(
            registration=settings.registration,
            resource=resource,
            account=settings.account,
            credential=settings.credential,
            command=f"postmeter login {settings.user}{company}",
        )

    @property
    def by_person(self) -> bool:
        """Whether a person has to sign in, so that the token speaks for one account alone."""
        return self.registration.grant == "device-code"

    @property
    def owner(self) -> str:
        """Whose tokens these are, as the key of a credential: the application's, or the account's."""
        return self.credential if self.by_person else self.registration.key

    @property
    def label(self) -> str:
        """The owner without its fingerprint: ``_app/<client id>``, ``acme/jane``."""
        return self.owner.rpartition("#")[0]

    @property
    def key(self) -> tuple[str, str, str]:
        """Equal where one token serves both."""
        return self.owner, self.address, str(self.registration.ca_file or "")

    @property
    def address(self) -> str:
        """The resource itself."""
        registration = self.registration
        return registration.graph_url if self.resource == "graph" else registration.smtp_resource

    @property
    def scopes(self) -> list[str]:
        """What is asked for: everything the app was given, or what a person has to consent to."""
        if not self.by_person:
            return [f"{self.address}/.default"]
        if self.resource == "graph":
            return [f"{self.address}/Mail.ReadWrite", f"{self.address}/Mail.Send"]
        return [f"{_SMTP_OF_PERSONS.get(self.address, self.address)}/SMTP.Send"]
