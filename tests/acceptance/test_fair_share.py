"""Fair turns of real workers: the order in which a receiving server gets two companies' mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producers import Email
from tests.support.fleet import Company
from tests.support.office import open_office
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.office import Office

CEILING = {"POSTMETER_SYSTEM__LIMITS__ALL_BATCH_EMAILS_PER_MIN": "600"}
PROCESSES = 2
DEEP, SMALL = 5_000, 10
UNDER_WAY = 30
"""So many mails of the deep batch have left when the small one comes."""


def publish(desk: Office, company: str, count: int) -> None:
    """Publish a company's batch; the recipients tell whose it is."""
    emails = [
        Email(f"kim{n}@{company}.customers.example", "Invoice", text="Your invoice.")
        for n in range(count)
    ]
    desk.producer.batch(emails, company=company)


def in_order(desk: Office) -> list[str]:
    """Whose batch mail the server has accepted, in its order."""
    domains = (arrival.recipient.rpartition("@")[2] for arrival in desk.fleet.arrivals())
    return [
        name for name in (domain.partition(".")[0] for domain in domains) if name != "customers"
    ]


def test_ten_mails_go_every_other_place_beside_five_thousand(tmp_path: Path) -> None:
    """Company small's ten leave in turn with deep's five thousand, under one ceiling of 600."""
    companies = tuple(Company(name, None) for name in ("acme", "deep", "small"))
    with open_office(
        tmp_path, companies=companies, processes=PROCESSES, more_environ=CEILING
    ) as desk:
        publish(desk, "deep", DEEP)
        wait_until(lambda: in_order(desk).count("deep") >= UNDER_WAY, "the deep batch")
        publish(desk, "small", SMALL)
        wait_until(lambda: in_order(desk).count("small") == SMALL, "the small batch")
        order = in_order(desk)
        first = order.index("small")
        last = len(order) - 1 - order[::-1].index("small")
        between = order[first:last].count("deep")
        # One a turn, what each process had in hand, and what overtook on the way to the server.
        assert between <= SMALL + 2 * PROCESSES + 4
        assert order.count("deep") < DEEP
