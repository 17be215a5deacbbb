"""Which value is in force: contexts, replication, gates, environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.errors import InvalidContext, NoUser, UnknownCompany, UnknownUser
from config.settings import sender_allowed
from tests.support.settings_tree import JANE, SMTP, lines

if TYPE_CHECKING:
    from tests.support.settings_tree import SettingsTree


def test_a_company_is_not_a_fallback_of_the_system(tree: SettingsTree) -> None:
    """Without replication nothing of the system reaches a company."""
    tree.write("system.toml", SMTP + "port = 587\nbatch_emails_per_min = 30\n")
    tree.company(text=SMTP)
    settings = tree.resolve("acme", kind="batch")
    assert settings.port == 25
    assert settings.batch_emails_per_min is None
    assert settings.provenance["port"].layer == "default"
    assert [each.why for each in settings.provenance["port"].losers] == [
        "replicate_from_system is not on"
    ]


def test_replication_copies_what_is_left_out(tree: SettingsTree) -> None:
    """A replicating company has the system's values but its own where it writes them."""
    tree.write("system.toml", SMTP + "port = 587\nbatch_emails_per_min = 30\n")
    tree.company(text="replicate_from_system = true\n[smtp]\nport = 2525\n")
    settings = tree.resolve("acme", kind="batch")
    assert (settings.server, settings.batch_emails_per_min) == ("smtp.example.nz:2525", 30)
    assert settings.provenance["batch_emails_per_min"].layer == "system"
    assert settings.provenance["batch_emails_per_min"].file == "system.toml"
    port = settings.provenance["port"]
    assert (port.layer, port.file) == ("company", "companies/acme/company.toml")
    assert [(each.layer, each.value) for each in port.losers] == [("system", "587")]


def test_a_registration_is_replicated_whole_or_not_at_all(tree: SettingsTree) -> None:
    """A company with a tenant of its own never gets the system's client secret."""
    table = '[microsoft_365]\ntenant_id = "t"\nclient_id = "c"\nclient_secret = "s"\n'
    tree.write("system.toml", SMTP + table)
    own = '[microsoft_365]\ntenant_id = "other"\nclient_id = "d"\n'
    tree.company(text="replicate_from_system = true\n" + own)
    (line,) = lines(tree.load(), "acme")
    assert line.endswith("microsoft_365.client_secret: missing: grant = client-secret needs it")


def test_environment_wins_over_everything(tree: SettingsTree) -> None:
    """A variable beats the file, and provenance names it and what it beat."""
    tree.write("system.toml", SMTP + "port = 587\n")
    settings = tree.resolve(environ={"POSTMETER_SYSTEM__SMTP__PORT": "2525"})
    port = settings.provenance["port"]
    assert settings.port == 2525
    assert (port.layer, port.file) == ("environment", "POSTMETER_SYSTEM__SMTP__PORT")
    assert [(each.where, each.value) for each in port.losers] == [("system.toml: smtp.port", "587")]


@pytest.mark.parametrize("option", ["compose", "send_batch", "send_mailer"])
@pytest.mark.parametrize("gate", ["true", "false"])
def test_a_users_choice_counts_only_through_an_open_gate(
    tree: SettingsTree, option: str, gate: str
) -> None:
    """The choice is taken with the gate open, and ignored with a reason when it is closed."""
    tree.write("system.toml", f"{SMTP}[mail_options]\n{option}_allow_user_selection = {gate}\n")
    tree.write("users/jane.toml", f'{JANE}{option} = "outlook"\n')
    settings = tree.resolve()
    provenance = settings.provenance[option]
    if gate == "true":
        assert getattr(settings, option) == "outlook"
        assert provenance.layer == "user"
    else:
        assert getattr(settings, option) != "outlook"
        assert [(each.value, each.why) for each in provenance.losers] == [
            ('"outlook"', f"mail_options.{option}_allow_user_selection is not on")
        ]


def test_an_illegal_choice_is_an_error_behind_a_closed_gate_too(tree: SettingsTree) -> None:
    """A closed gate hides a choice, not a mistake."""
    tree.write("users/jane.toml", JANE + 'send_batch = "simple-mapi"\n')
    (line,) = lines(tree.load(), "_system")
    assert line.startswith('users/jane.toml: email.send_batch: "simple-mapi": write one of smtp,')


def test_jobs_without_a_user_get_the_default_user(tree: SettingsTree) -> None:
    """``default_user`` stands in; without it the text names the key."""
    with pytest.raises(NoUser) as caught:
        tree.resolve(user=None)
    assert str(caught.value) == "the job names no user, and system.toml has no smtp.default_user"
    tree.write("system.toml", SMTP + 'default_user = "jane"\n')
    assert tree.resolve(user=None).account == "_system/jane"


def test_a_default_user_who_is_not_there_warns(tree: SettingsTree) -> None:
    """The check says it before the first job does, also where the name is replicated."""
    tree.write("system.toml", SMTP + 'default_user = "jane"\n')
    tree.company(text="replicate_from_system = true\n")
    assert tree.load().warnings == ()
    (tree.root / "companies/acme/users/jane.toml").unlink()
    assert [str(each) for each in tree.load().warnings] == [
        'system.toml: smtp.default_user: "jane": acme has no such user'
    ]


def test_a_user_of_another_context_is_named_as_such(tree: SettingsTree) -> None:
    """The operator reads where the user does exist."""
    tree.company()
    (tree.root / "companies/acme/users/jane.toml").unlink()
    settings = tree.load()
    with pytest.raises(UnknownUser, match=r"^jane is a user of the system, not of acme$"):
        settings.resolve("acme", "jane", "send")
    with pytest.raises(UnknownUser, match=r'^acme has no user "bob"$'):
        settings.resolve("acme", "bob", "send")


@pytest.mark.parametrize("company", ["zed", "_system", "", "../acme", "ACME", "a\nb"])
def test_what_is_no_company_is_unknown(tree: SettingsTree, company: str) -> None:
    """No id, however odd, resolves to anything or breaks the line."""
    tree.company()
    with pytest.raises(UnknownCompany) as caught:
        tree.resolve(company)
    assert "\n" not in str(caught.value)


def test_a_bad_company_leaves_the_others_alone(tree: SettingsTree) -> None:
    """Errors hold one context's mail, and all of them are told at once."""
    tree.company("bad", text='name = ""\n[smtp]\nport = "25"\npassword = "hunter2"\n')
    tree.company("good")
    settings = tree.load()
    assert settings.resolve("good", "jane", "batch").transport == "smtp"
    with pytest.raises(InvalidContext) as caught:
        settings.resolve("bad", "jane", "send")
    assert [str(problem) for problem in caught.value.problems] == [
        'companies/bad/company.toml: smtp.port: "25": write 1 to 65535, without quotes',
        "companies/bad/company.toml: smtp.password: no such key",
        'companies/bad/company.toml: name: "": write something or no key',
    ]
    assert str(caught.value).endswith("(and 2 more)")


def test_a_bad_user_leaves_the_other_users_alone(tree: SettingsTree) -> None:
    """An error in a user's file holds that user's mail only."""
    tree.write("users/bob.toml", '[email]\naddress = "Bob <bob@example.nz>"\n')
    settings = tree.load()
    assert settings.resolve(None, "jane", "send").address == "jane@example.nz"
    with pytest.raises(InvalidContext, match=r"^the settings of the system/bob have errors: "):
        settings.resolve(None, "bob", "send")


def test_batches_wait_while_the_shared_ceiling_cannot_be_told(tree: SettingsTree) -> None:
    """A wrong [limits] must not let batches through without their ceiling; single mail goes on."""
    tree.write("system.toml", SMTP + "[limits]\nall_batch_emails_per_min = 0\n")
    tree.company()
    settings = tree.load()
    assert settings.resolve("acme", "jane", "send").transport == "smtp"
    with pytest.raises(InvalidContext, match=r"limits\.all_batch_emails_per_min: 0: write 1 to"):
        settings.resolve("acme", "jane", "batch")


def test_the_shared_ceiling_reaches_every_context(tree: SettingsTree) -> None:
    """[limits] is the system's, and in force for companies that do not replicate."""
    tree.write("system.toml", SMTP + "[limits]\nall_batch_emails_per_min = 600\n")
    tree.company()
    assert tree.resolve("acme", kind="batch").all_batch_emails_per_min == 600


@pytest.mark.parametrize(("override", "signature"), [("false", "Jane\nAcme Ltd"), ("true", "Jane")])
def test_signatures_follow_the_rule_of_the_page(
    tree: SettingsTree, override: str, signature: str
) -> None:
    """The user's followed by the company's, or the user's alone."""
    tree.company(
        text=SMTP + '[mail_options]\nsignature = "Acme Ltd"\n',
        user=f'{JANE}signature = "Jane"\noverride_company_signature = {override}\n',
    )
    assert tree.resolve("acme").signature == signature


@pytest.mark.parametrize(
    ("sender", "allowed"),
    [
        ("jane@example.nz", True),
        ("Jane@Example.NZ", True),
        ("sales@shop.example", True),
        ("other@shop.example", False),
        ("anyone@acme.example", True),
        ("anyone@sub.acme.example", False),
        ("anyone@xn--mller-kva.example", True),
        ("Jane <jane@example.nz>", False),
        ("eve@evil.example@acme.example", False),
        ("@acme.example", False),
        ("acme.example", False),
    ],
)
def test_senders(tree: SettingsTree, sender: str, *, allowed: bool) -> None:
    """Own address, the user's list and the context's list; nothing that only looks like them."""
    domains = '[delivery]\nallowed_from = ["@acme.example", "@müller.example"]\n'
    tree.company(text=SMTP + domains, user=JANE + 'allowed_from = ["sales@shop.example"]\n')
    assert sender_allowed(tree.resolve("acme"), sender) is allowed


def test_defaults_are_the_pages(tree: SettingsTree) -> None:
    """What nobody writes is what the settings page and the design say."""
    settings = tree.resolve()
    assert (settings.port, settings.authorisation, settings.tls_mode) == (25, "none", "auto")
    assert (settings.authentication_model, settings.connection_timeout_ms) == ("basic", 30000)
    assert (settings.compose, settings.send_batch) == ("accredo-mailer", "smtp")
    assert (settings.send_mailer, settings.transport) == ("autodetect", "smtp")
    assert (settings.on_unknown, settings.retry_for_seconds) == ("resend", 345600.0)
    assert (settings.verify_certificate, settings.allow_microsoft_365) == (True, False)
    assert settings.held_reason is None
