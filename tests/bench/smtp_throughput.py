"""How many mails a second one process renders and delivers to a sink on the same machine.

``python -m tests.bench.smtp_throughput`` prints one line per case; nothing is judged.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from dataclasses import replace
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import uvloop
from pydantic import SecretStr

from tests.support.certificates import certificates
from tests.support.deliveries import CONTENT, Begun, make_mail
from tests.support.jobs_for_mime import make_mime_job
from tests.support.settings import make_settings
from worker.mime import render
from worker.transports.smtp import SmtpTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings

MAILS = 10_000
IN_FLIGHT = 32
TEXT = "Dear Bob,\n\nplease find below what you ordered.\n" + "A line of an invoice, 42.00\n" * 60


def rendering(name: str, once: Callable[[], object], rounds: int = 2000) -> None:
    """Print how long one rendering takes."""
    once()
    started = perf_counter()
    for _ in range(rounds):
        once()
    print(f"{name}: {(perf_counter() - started) / rounds * 1e6:.0f} us a mail")


def library(html: str | None) -> bytes:
    """Write the same mail with the standard library."""
    message = EmailMessage(policy=SMTP.clone(max_line_length=998))
    message["From"] = "Jane Smith <jane@example.nz>"
    message["To"] = "bob@example.nz"
    message["Subject"] = "Hello"
    message["Date"] = "Tue, 24 Nov 2026 00:00:00 +0000"
    message["Message-ID"] = "<1@example.nz>"
    message.set_content(TEXT)
    if html is not None:
        message.add_alternative(html, subtype="html")
    return message.as_bytes()


async def sending(settings: EffectiveSettings) -> float:
    """Deliver all mails, some at a time; return the seconds that took."""
    transport = SmtpTransport()
    mails = iter(
        [replace(make_mail(), content=CONTENT + TEXT.replace("\n", "\r\n").encode())] * MAILS
    )
    begin = Begun()

    async def work() -> None:
        for mail in mails:
            await transport.deliver(mail, settings, begin)

    started = perf_counter()
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    seconds = perf_counter() - started
    await transport.close()
    return seconds


def main() -> None:
    """Print every figure."""
    settings = make_settings()
    for html in (None, f"<p>{TEXT}</p>"):
        job = make_mime_job(text=TEXT, html=html)
        kind = "text" if html is None else "text and html"
        rendering(
            f"direct, {kind}", partial(render, job, settings, message_id="<1@example.nz>", date=0.0)
        )
        rendering(f"library, {kind}", partial(library, html), 500)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = certificates(folder)
        pair = folder / "pair.pem"
        pair.write_bytes(made.key_file.read_bytes() + made.chain_file.read_bytes())
        command = [sys.executable, "-m", "tests.support.smtp_sink", "--record", str(folder / "r")]
        sink = subprocess.Popen(
            [*command, "--certificate", str(pair), "--user", "jane:secret"], stdout=subprocess.PIPE
        )
        try:
            assert sink.stdout is not None
            clear = make_settings(port=int(sink.stdout.readline()))
            secured = replace(
                clear,
                transport_security="tls1.3",
                ca_file=made.ca_file,
                authorisation="required",
                username="jane",
                password=SecretStr("secret"),
            )
            for loop, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
                for kind, used in (("in clear", clear), ("TLS 1.3 and AUTH", secured)):
                    rate = MAILS / run(sending(used))
                    print(f"{loop}, {kind}: {rate:.0f} mails a second")
        finally:
            sink.terminate()
            sink.wait(10)


if __name__ == "__main__":
    main()
