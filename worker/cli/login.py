"""``postmeter login``: a person signs in for an account, in any browser, with a code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import render
from worker.cli.failures import Exit, Failed

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from config.values import Kind
    from worker.auth.asking import Asking, Resource
    from worker.auth.device_code import Code
    from worker.cli.installation import Installation

_KINDS: Final[tuple[Kind, ...]] = ("send", "batch", "compose")


@click.command()
@click.argument("user")
@click.option("--company", help="Whose user it is; left out, the system's.")
@click.option("--forget", is_flag=True, help="Delete the login instead.")
@render.json_option
@click.pass_obj
def login(
    here: Installation, user: str, *, company: str | None, forget: bool, as_json: bool
) -> None:
    """Sign in to Microsoft 365 for an account.

    For accounts whose [microsoft_365] has grant = "device-code". Shows an address and a code, and
    waits until somebody has entered the code there and signed in. What comes of it is kept
    encrypted in the ledger, for every worker; mail that was held for want of it goes at once.
    With --json, two lines: the code, then who has signed in.
    """
    settings = _settings(here, user, company)
    if forget:
        _forget(here, settings[0], as_json=as_json)
        return
    _sign_in(here, _wanted(settings), settings[0].mailbox, as_json=as_json)


def _settings(here: Installation, user: str, company: str | None) -> list[EffectiveSettings]:
    """What is in force for each kind of job that goes by an app registration.

    Raises:
        Failed: none does, or nobody has to sign in.
    """
    from config.errors import NoSettings

    current = here.settings()
    if current is None:
        raise NoSettings("no settings here: POSTMETER_SETTINGS names the tree")
    every = [current.resolve(company, user, kind) for kind in _KINDS]
    found = [each for each in every if each.registration is not None]
    account = every[0].account
    if not found:
        what = "uses neither OAuth2 nor Microsoft 365, or its [microsoft_365] is not complete"
        raise Failed(f"{account} {what}", Exit.USAGE)
    app = found[0].registration
    assert app is not None, "chosen so"
    if app.grant != "device-code":
        what = f'grant = "{app.grant}" in [microsoft_365]: nobody has to sign in'
        raise Failed(f"{account} has {what}", Exit.USAGE)
    return found


def _wanted(settings: list[EffectiveSettings]) -> list[Asking]:
    """The tokens that the account's mail needs, the one for most of it first."""
    from worker.auth.asking import Asking

    resources: list[Resource] = [
        "graph" if each.transport == "microsoft-365" else "smtp" for each in settings
    ]
    return [Asking.of(settings[0], resource) for resource in dict.fromkeys(resources)]


def _sign_in(here: Installation, asked: list[Asking], mailbox: str, *, as_json: bool) -> None:
    from worker.auth.device_code import DeviceFlow
    from worker.auth.failures import EXPECTED, held
    from worker.auth.logins import Logins
    from worker.auth.sealing import Sealer, Unreadable
    from worker.outcome import HoldTarget, TargetKind

    first, *others = asked
    target = str(HoldTarget(TargetKind.CREDENTIAL, first.credential))
    sealer = Sealer(here.login_key_file)
    # First of all: nobody shall sign in where it could not be kept.
    with here.ledger() as ledger, DeviceFlow(first) as flow:
        try:
            sealer.seal(first.account, "")
            _tell_code(flow.begin(), as_json=as_json)
            person = flow.wait()
            lacking = [each for each in others if not flow.also(each)]
            Logins(ledger, sealer).sign_in(first.account, flow.cache, held=[target])
        except Unreadable as error:
            raise Failed(str(error)) from None
        except EXPECTED as error:
            raise Failed(held(error, first).reason) from None
    _tell_person(first, person, mailbox, lacking, as_json=as_json)


def _tell_code(code: Code, *, as_json: bool) -> None:
    if as_json:
        _emit({"address": code.address, "code": code.code, "seconds": code.seconds})
        return
    render.sentence(f"Open {code.address} in any browser, enter the code {code.code}, and sign in.")
    render.sentence(f"The code is good for {render.duration(code.seconds)}; waiting …")


def _tell_person(
    asking: Asking, person: str, mailbox: str, lacking: list[Asking], *, as_json: bool
) -> None:
    from worker.auth.asking import NAMES

    names = [NAMES[each.resource] for each in lacking]
    if as_json:
        _emit(
            {
                "account": asking.account,
                "signed_in_as": person,
                "mailbox": mailbox,
                "without_consent_for": names,
            }
        )
        return
    render.sentence(f"{asking.account}: signed in as {person or 'somebody without a name'}")
    if person and person.casefold() != mailbox.casefold():
        render.sentence(f"That is not {mailbox}: the mailbox must let this person send for it.")
    for name in names:
        render.sentence(f"Without consent for {name}: an administrator can give it for all.")


def _emit(document: dict[str, Any]) -> None:
    """Print one document as one line, so that whoever reads along has the code at once."""
    click.echo(json.dumps(document, ensure_ascii=False))


def _forget(here: Installation, settings: EffectiveSettings, *, as_json: bool) -> None:
    from worker.ledger import logins

    with here.ledger() as ledger:
        was = ledger.call(lambda c, _: logins.forget(c, settings.account))
    if as_json:
        render.emit({"account": settings.account, "forgotten": was})
    else:
        said = "the login is deleted; a token that a worker has is good until it ends"
        render.sentence(f"{settings.account}: {said if was else 'nobody had signed in'}")
