"""What is asked for: the resources and scopes of each cloud, and whose token serves whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from pydantic import SecretStr

from config.registration import AUTHORITIES
from config.values import Cloud
from tests.support.registrations import app
from tests.support.tokens import oauth_settings
from worker.auth.asking import Asking
from worker.auth.grants import authority_of
from worker.holding import targets_of

if TYPE_CHECKING:
    from worker.auth.asking import Resource


@pytest.mark.parametrize(
    ("cloud", "authority", "smtp", "graph"),
    [
        (
            "global",
            "https://login.microsoftonline.com/contoso.test",
            "https://outlook.office365.com/.default",
            "https://graph.microsoft.com/.default",
        ),
        (
            "us-gov",
            "https://login.microsoftonline.us/contoso.test",
            "https://outlook.office365.us/.default",
            "https://graph.microsoft.us/.default",
        ),
        (
            "us-dod",
            "https://login.microsoftonline.us/contoso.test",
            "https://outlook-dod.office365.us/.default",
            "https://dod-graph.microsoft.us/.default",
        ),
        (
            "china",
            "https://login.chinacloudapi.cn/contoso.test",
            "https://partner.outlook.cn/.default",
            "https://microsoftgraph.chinacloudapi.cn/.default",
        ),
        (
            "custom",
            "https://login.example.test:8443/contoso.test",
            "https://outlook.office365.com/.default",
            "https://graph.example.test/.default",
        ),
    ],
)
def test_each_cloud_has_its_addresses(cloud: str, authority: str, smtp: str, graph: str) -> None:
    """Tokens of one cloud do not serve in another (learn.microsoft.com/graph/deployments)."""
    settings = oauth_settings(app(cloud))
    assert authority_of(app(cloud)) == authority
    assert Asking.of(settings, "smtp").scopes == [smtp]
    assert Asking.of(settings, "graph").scopes == [graph]


def test_every_cloud_is_known() -> None:
    """A cloud that can be written has an authority, but for the one that names its own."""
    assert set(AUTHORITIES) == set(get_args(Cloud)) - {"custom"}


@pytest.mark.parametrize(
    ("resource", "scopes"),
    [
        ("smtp", ["https://outlook.office.com/SMTP.Send"]),
        (
            "graph",
            [
                "https://graph.microsoft.com/Mail.ReadWrite",
                "https://graph.microsoft.com/Mail.Send",
            ],
        ),
    ],
)
def test_a_person_consents_to_named_permissions(resource: Resource, scopes: list[str]) -> None:
    """Delegated permissions are asked for by name; SMTP.Send goes by outlook.office.com."""
    assert Asking.of(oauth_settings(app(grant="device-code")), resource).scopes == scopes


def test_an_application_has_one_token_for_all_its_mailboxes() -> None:
    """Two users share it; two resources do not."""
    jane, john = (oauth_settings(app(), user) for user in ("jane", "john"))
    assert Asking.of(jane, "smtp").key == Asking.of(john, "smtp").key
    assert Asking.of(jane, "smtp").key != Asking.of(jane, "graph").key
    assert Asking.of(jane, "smtp").label == "_app/app-1"


def test_a_person_has_a_token_of_her_own() -> None:
    """With a device code each account has its own, and its own hold."""
    jane, john = (oauth_settings(app(grant="device-code"), user) for user in ("jane", "john"))
    assert Asking.of(jane, "smtp").key != Asking.of(john, "smtp").key
    assert Asking.of(jane, "smtp").label == "acme/jane"
    assert Asking.of(jane, "smtp").command == "postmeter login jane --company acme"


@pytest.mark.parametrize(
    "changes",
    [{"client_secret": SecretStr("new")}, {"tenant_id": "b.test"}, {"ca_file": Path("b.pem")}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_change_of_the_registration_asks_anew(changes: dict[str, Any]) -> None:
    """What was had with the old secret, tenant or trust serves nobody else."""
    old, new = (oauth_settings(each) for each in (app(), app(**changes)))
    assert Asking.of(old, "smtp").key != Asking.of(new, "smtp").key


def test_nothing_shows_a_secret() -> None:
    """Neither what is asked nor the registration says more than the registration's key."""
    asking = Asking.of(oauth_settings(app(client_secret=SecretStr("hush-hush"))), "smtp")
    assert "hush-hush" not in repr((asking, asking.registration, asking.key))


def test_mail_stands_under_the_holds_of_its_tokens() -> None:
    """What can be held for want of a token concerns the mail of every account that needs one."""
    targets = targets_of(oauth_settings(app()))
    assert "server:login.microsoftonline.com:443" in targets
    assert f"credential:{app().key}" in targets
    by_machine = app(grant="managed-identity")
    assert not [t for t in targets_of(oauth_settings(by_machine)) if "login" in t]


def test_without_a_registration_nothing_can_be_asked() -> None:
    """That is a fault of the caller."""
    with pytest.raises(ValueError, match="acme/jane has no app registration"):
        Asking.of(oauth_settings(app(), registration=None), "smtp")


def test_holds_name_where_tokens_come_from() -> None:
    """With the port, as any server; a managed identity has none."""
    assert app("global").authority_server == "login.microsoftonline.com:443"
    assert app("custom").authority_server == "login.example.test:8443"
    assert app(grant="managed-identity").authority_server == ""
    assert app("us-dod").graph_server == "dod-graph.microsoft.us:443"
