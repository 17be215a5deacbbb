"""A client of the Graph for tests, for the tests of the Graph itself."""

from __future__ import annotations

from typing import Any

import httpx

JANE = "jane@acme.example"
PROPERTY = "String {8ECCC264-6880-4EBE-992F-8888D2EEAA1D} Name job"


class Client(httpx.Client):
    """An app that knows its manners; ``at`` is Jane's mailbox."""

    at = f"/v1.0/users/{JANE}"

    def message(self, **changed: Any) -> dict[str, Any]:
        """Return a message with everything that a sender gives."""
        value: dict[str, Any] = {
            "subject": "Invoice 7",
            "body": {"contentType": "HTML", "content": "<p>Thank you</p>"},
            "toRecipients": [{"emailAddress": {"name": "Bob", "address": "bob@customer.example"}}],
            "internetMessageId": "<7@acme.example>",
            "singleValueExtendedProperties": [{"id": PROPERTY, "value": "job-7"}],
            "internetMessageHeaders": [{"name": "x-postmeter", "value": "7"}],
        }
        value.update(changed)
        return {name: inner for name, inner in value.items() if inner is not None}

    def create(self, **changed: Any) -> str:
        """Make a draft and return the address of it."""
        reply = self.post(f"{self.at}/messages", json=self.message(**changed))
        assert reply.status_code == 201, reply.text
        return f"{self.at}/messages/{reply.json()['id']}"


def code(reply: httpx.Response) -> tuple[int, str]:
    """Return an error's status and code."""
    return reply.status_code, reply.json()["error"]["code"]
