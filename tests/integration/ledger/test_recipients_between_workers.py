"""Several workers count one mailbox's recipients at the same time: none is counted away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from worker.errors import BeginRefused
from worker.ledger import recipients
from worker.ledger.ledger import Ledger
from worker.pace import Budget

SCOPES = tuple(f"mailbox:acme/{name}:recipients" for name in ("jane", "bob"))
LIMIT = 100
WORKERS = 3
BEGINS = 90


def test_workers_together_use_up_a_day_and_no_more(ledger_url: str) -> None:
    """Seven recipients a mail: fourteen mails of each mailbox begin, whoever asks, and no more."""

    def begin(ledger: Ledger, number: int) -> str:
        budget = Budget(SCOPES[number % len(SCOPES)], LIMIT, 7)
        try:
            ledger.call(partial(recipients.spend, budget=budget))
        except BeginRefused:
            return ""
        return budget.scope

    with ExitStack() as opened:
        ledgers = [Ledger(ledger_url) for _ in range(WORKERS)]
        for ledger in ledgers:
            opened.callback(ledger.close)
        threads = opened.enter_context(ThreadPoolExecutor(4 * WORKERS))
        turns = [(ledgers[n % WORKERS], n // WORKERS) for n in range(BEGINS)]
        begun = list(threads.map(begin, *zip(*turns, strict=True)))
        used = ledgers[0].read(recipients.used_by_scope)
    assert [begun.count(scope) for scope in SCOPES] == [LIMIT // 7] * len(SCOPES)
    assert used == dict.fromkeys(SCOPES, LIMIT // 7 * 7)
