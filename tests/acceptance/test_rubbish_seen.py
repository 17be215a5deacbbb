"""What an operator sees of rubbish: the command shows the ledger's reasons, one line each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.office import as_bytes, good_envelope, raw_id
from worker.ledger.rows import State

if TYPE_CHECKING:
    from tests.support.office import Office

POSTMETER = Path(sys.executable).with_name("postmeter")


def ask(office: Office, *words: str) -> Any:
    """What the installed command answers, in JSON."""
    done = subprocess.run(
        [POSTMETER, *words, "--json"],
        env=office.fleet.environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def test_the_command_lists_reasons_and_shows_the_message(office: Office) -> None:
    """``dead list``, ``dead show`` and ``status`` give the reason word for word."""
    letter = b"Dear Jane, this is no JSON at all."
    office.put(letter)
    held = good_envelope(office.queues.send, company="nobody-yet")
    office.put(as_bytes(held))
    reason = "not JSON: Expecting value at character 0"
    office.wait_for(raw_id(letter), State.DEAD, reason)
    listed = {each["job_id"]: each for each in ask(office, "dead", "list")["jobs"]}
    assert listed[raw_id(letter)]["reason"] == reason
    assert all(each["reason"].isprintable() for each in listed.values())
    shown = ask(office, "dead", "show", raw_id(letter))
    assert (shown["reason"], shown["message"]) == (reason, letter.decode())
    waiting = ask(office, "status", held["message_id"])
    assert waiting["reason"].startswith('there is no company "nobody-yet" in the settings')
