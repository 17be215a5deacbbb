"""Daily caps and weights: ranges, layers, replication, and what a mistake in them holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.errors import InvalidContext
from tests.support.settings_tree import JANE, SMTP, lines

if TYPE_CHECKING:
    from tests.support.settings_tree import SettingsTree

REPLICATING = "replicate_from_system = true\n"


def test_nothing_is_limited_by_the_day_and_all_weigh_one(tree: SettingsTree) -> None:
    """What nobody writes limits nothing and favours nobody."""
    settings = tree.resolve(kind="batch")
    assert (settings.batch_emails_per_day, settings.all_batch_emails_per_day) == (None, None)
    assert settings.mailbox_emails_per_day is None
    assert (settings.company_weight, settings.user_weight) == (1, 1)
    assert settings.provenance["company_weight"].layer == "default"


def test_every_number_comes_from_where_it_is_written(tree: SettingsTree) -> None:
    """The context's, the user's and the system's own, each with layer, file and key."""
    tree.write("system.toml", SMTP + "[limits]\nall_batch_emails_per_day = 50000\n")
    tree.company(
        text=SMTP + "[limits]\nbatch_emails_per_day = 5000\nweight = 3\n",
        user=JANE + "mailbox_emails_per_day = 10000\nweight = 2\n",
    )
    settings = tree.resolve("acme", kind="batch")
    expected = {
        "batch_emails_per_day": (5000, "company", "limits.batch_emails_per_day"),
        "all_batch_emails_per_day": (50_000, "system", "limits.all_batch_emails_per_day"),
        "mailbox_emails_per_day": (10_000, "user", "email.mailbox_emails_per_day"),
        "company_weight": (3, "company", "limits.weight"),
        "user_weight": (2, "user", "email.weight"),
    }
    files = {
        "company": "companies/acme/company.toml",
        "system": "system.toml",
        "user": "companies/acme/users/jane.toml",
    }
    for name, (value, layer, key) in expected.items():
        provenance = settings.provenance[name]
        assert getattr(settings, name) == value
        assert (provenance.layer, provenance.file, provenance.key) == (layer, files[layer], key)


def test_a_days_cap_is_replicated_as_a_number_and_a_weight_is_not(tree: SettingsTree) -> None:
    """The system may be favoured without every company that replicates being so."""
    tree.write("system.toml", SMTP + "[limits]\nbatch_emails_per_day = 5000\nweight = 9\n")
    tree.company(text=REPLICATING)
    settings = tree.resolve("acme", kind="batch")
    assert settings.batch_emails_per_day == 5000
    assert settings.provenance["batch_emails_per_day"].layer == "system"
    assert settings.company_weight == 1
    assert [
        (each.layer, each.value, each.why) for each in settings.provenance["company_weight"].losers
    ] == [("system", "9", "a weight is the context's own")]
    assert tree.resolve(kind="batch").company_weight == 9


def test_variables_win(tree: SettingsTree) -> None:
    """An operator can weigh and cap without touching a file."""
    tree.company(text=SMTP + "[limits]\nweight = 3\n")
    environ = {
        "POSTMETER_COMPANY__ACME__LIMITS__WEIGHT": "5",
        "POSTMETER_COMPANY__ACME__LIMITS__BATCH_EMAILS_PER_DAY": "700",
        "POSTMETER_USER__ACME__JANE__WEIGHT": "4",
        "POSTMETER_USER__ACME__JANE__MAILBOX_EMAILS_PER_DAY": "90",
    }
    settings = tree.resolve("acme", kind="batch", environ=environ)
    assert (settings.company_weight, settings.user_weight) == (5, 4)
    assert (settings.batch_emails_per_day, settings.mailbox_emails_per_day) == (700, 90)


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("weight = 0", "limits.weight: 0: write 1 to 1000"),
        ("weight = 1001", "limits.weight: 1001: write 1 to 1000"),
        ("weight = 1.5", "limits.weight: 1.5: write 1 to 1000"),
        ('weight = "2"', 'limits.weight: "2": write 1 to 1000, without quotes'),
        (
            "batch_emails_per_day = 0",
            "limits.batch_emails_per_day: 0: write 1 to 1000000; leave the key out for no limit",
        ),
        ("all_batch_emails_per_min = 600", "limits.all_batch_emails_per_min: no such key"),
    ],
)
def test_mistakes_are_one_line(tree: SettingsTree, written: str, line: str) -> None:
    """What is wrong, and what may be written; the ceiling is the system's alone."""
    tree.company(text=f"{SMTP}[limits]\n{written}\n")
    (found,) = lines(tree.load(), "acme")
    assert found.startswith(f"companies/acme/company.toml: {line}")


@pytest.mark.parametrize("written", ["weight = 0", "batch_emails_per_day = 0"])
def test_a_mistake_about_the_systems_own_mail_holds_no_company(
    tree: SettingsTree, written: str
) -> None:
    """Only what all contexts share could hold all of them."""
    tree.write("system.toml", f"{SMTP}[limits]\n{written}\nall_batch_emails_per_min = 600\n")
    tree.company()
    settings = tree.load()
    assert settings.resolve("acme", "jane", "batch").all_batch_emails_per_min == 600
    with pytest.raises(InvalidContext):
        settings.resolve(None, "jane", "batch")


@pytest.mark.parametrize(
    "written", ["all_batch_emails_per_day = 0", "all_batch_emails_per_mim = 600"]
)
def test_a_mistake_about_what_all_share_holds_all_batches(tree: SettingsTree, written: str) -> None:
    """A ceiling that cannot be told, or may have been meant, lets no batch through."""
    tree.write("system.toml", f"{SMTP}[limits]\n{written}\n")
    tree.company()
    settings = tree.load()
    with pytest.raises(InvalidContext):
        settings.resolve("acme", "jane", "batch")
    assert settings.resolve("acme", "jane", "send").transport == "smtp"
