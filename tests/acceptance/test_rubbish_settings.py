"""A good job that no settings serve: held with a sentence, and it goes by itself once they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.office import as_bytes, good_envelope, new_id
from worker.ledger.rows import State

if TYPE_CHECKING:
    from tests.support.office import Office

ROBOT = '[email]\naddress = "robot@acme.example"\n'
MENDED = "replicate_from_system = true\n"
DESKTOP = "needs a worker on the user's Windows desktop, which this version does not have"
UNSERVED = [
    (
        '[mail_options]\ncompose = "simple-mapi"\n',
        "compose",
        '{file}: mail_options.compose = "simple-mapi" '
        + DESKTOP
        + '; write "accredo-mailer" or "microsoft-365"',
    ),
    (
        '[mail_options]\nsend_mailer = "outlook"\n',
        "send",
        '{file}: mail_options.send_mailer = "outlook" '
        + DESKTOP
        + '; write "smtp" or "microsoft-365"',
    ),
    (
        '[mail_options]\nsend_batch = "full-mapi"\n',
        "batch",
        '{file}: mail_options.send_batch = "full-mapi" '
        + DESKTOP
        + '; write "smtp" or "microsoft-365"',
    ),
    (
        'replicate_from_system = false\n[smtp]\ndefault_user = "robot"\n',
        "send",
        (
            "{file}: mail_options.send_mailer = autodetect finds no way to send: write "
            "smtp.server_address, or web.allow_microsoft_365 = true and a [microsoft_365]"
        ),
    ),
]
"""What a company's file says, the job's kind, the sentence."""
BROKEN = {
    "[smtp\n": "this file is not TOML: Expected ']' at the end of a table declaration"
    " (at line 2, column 6)",
    "[smtp]\nport = 70000\n": "smtp.port: 70000: write 1 to 65535",
    "[smtp]\nprot = 25\n": "smtp.prot: no such key; did you mean smtp.port?",
}
"""What a company's file says, and what is wrong with it."""


def publish(office: Office, **fields: Any) -> str:
    """Publish a good job with these fields; its id."""
    kind = fields.setdefault("kind", "send")
    if kind == "batch":
        fields |= {"batch_id": new_id(), "batch_index": 0}
    queue = office.queues.queue_for(kind)
    envelope = good_envelope(queue, **fields)
    office.put(as_bytes(envelope), queue)
    return str(envelope["message_id"])


def company(office: Office, text: str) -> str:
    """Make a company that replicates, unless its text says otherwise; its name."""
    name = f"c{new_id()}"
    office.settings_file(f"companies/{name}/users/robot.toml", ROBOT)
    whole = text if text.startswith("replicate") else MENDED + text
    office.settings_file(f"companies/{name}/company.toml", whole)
    return name


def waits(office: Office, company_name: str, job_id: str, sentence: str) -> None:
    """Wait until a job waits for this sentence, untried."""
    reason = sentence.format(name=company_name, file=f"companies/{company_name}/company.toml")
    row = office.wait_for(job_id, State.WAITING, reason)
    assert row.attempts == 0
    assert row.reason.isprintable()


def test_what_this_version_does_not_serve_is_held(office: Office) -> None:
    """The sentence names file, key, value and what to write; written, the jobs go by themselves."""
    held = {}
    for text, kind, sentence in UNSERVED:
        name = company(office, text)
        held[name] = (publish(office, company=name, kind=kind), kind, sentence)
    assert office.delivers_promptly()
    for name, (job_id, _, sentence) in held.items():
        waits(office, name, job_id, sentence)
    for name in held:
        office.settings_file(f"companies/{name}/company.toml", MENDED)
    for job_id, kind, _ in held.values():
        state = State.DRAFTED if kind == "compose" else State.SENT
        office.wait_for(job_id, state)


def test_a_broken_company_holds_its_mail_alone(office: Office) -> None:
    """The sentence names the line to mend; mended, the job goes by itself."""
    held = {}
    for text, problem in BROKEN.items():
        name = company(office, text)
        held[name] = (publish(office, company=name), problem)
    assert office.delivers_promptly()
    for name, (job_id, problem) in held.items():
        waits(office, name, job_id, "the settings of {name} have errors: {file}: " + problem)
    for name in held:
        office.settings_file(f"companies/{name}/company.toml", MENDED)
    for job_id, _ in held.values():
        office.wait_for(job_id, State.SENT)


def test_a_job_without_a_user_waits_for_the_key(office: Office) -> None:
    """No user and no ``default_user``: held for a sentence with file and key, sent once it is set."""
    server = (
        'replicate_from_system = false\n[smtp]\nserver_address = "127.0.0.1"\n'
        f'port = {office.fleet.sink.port}\ntransport_security = "none"\n'
    )
    name = company(office, server)
    file = f"companies/{name}/company.toml"
    job_id = publish(office, company=name)
    assert office.delivers_promptly()
    office.wait_for(
        job_id, State.WAITING, f"the job names no user, and {file} has no smtp.default_user"
    )
    office.settings_file(file, f'{server}default_user = "robot"\n')
    office.wait_for(job_id, State.SENT)


def test_a_company_that_comes_too_late_finds_its_mail_dead(office: Office) -> None:
    """An unknown company and unknown users: held for the wait, then dead, each with its sentence."""
    stranger = f"c{new_id()}"
    waiting = {
        publish(office, company=stranger): f'there is no company "{stranger}" in the settings',
        publish(office, company="acme", user="jane"): 'acme has no user "jane"',
        publish(office, company="acme", user="root"): "root is a user of the system, not of acme",
    }
    for job_id, reason in waiting.items():
        office.wait_for(job_id, State.WAITING, reason)
    assert office.delivers_promptly()
    for job_id, reason in waiting.items():
        row = office.wait_for(job_id, State.DEAD, f"{reason}; it did not come within 8 s")
        assert row.body is not None
        assert row.updated_at - row.accepted_at >= 8.0


def test_a_company_that_comes_in_time_gets_its_mail_sent(office: Office) -> None:
    """Settings follow the application: a job that came before its company waits for it."""
    name = f"c{new_id()}"
    job_id = publish(office, company=name)
    office.wait_for(job_id, State.WAITING, f'there is no company "{name}" in the settings')
    office.settings_file(f"companies/{name}/users/robot.toml", ROBOT)
    office.settings_file(f"companies/{name}/company.toml", MENDED)
    office.wait_for(job_id, State.SENT)
    assert office.delivers_promptly()
