"""The control address of a Graph for tests: what it saw, and how it shall misbehave, as JSON.

``GET /_graphd/state`` and ``POST /_graphd/faults`` (see ``graphd_faults.schedule_of``; null: behave)
need no token, and are neither counted nor spoilt.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.support.graphd_faults import schedule_of
from tests.support.graphd_views import sent_mails
from tests.support.graphd_wire import Reply

if TYPE_CHECKING:
    from tests.support.graphd_service import Service
    from tests.support.graphd_wire import Request


def control(service: Service, request: Request) -> Reply:
    """Serve a request for the control address; the service's lock is held."""
    if request.operation == "control-state":
        return Reply(200, state(service))
    value = json.loads(request.body)
    service.schedules[:] = [] if value is None else [schedule_of(value)]
    return Reply(204)


def state(service: Service) -> dict[str, Any]:
    """Return what a test asks of it."""
    boxes = service.mailboxes.values()
    mails = {
        box.address: [
            mail.as_json() for sent in (True, False) for mail in sent_mails(box, sent=sent)
        ]
        for box in boxes
    }
    return {
        "violations": service.violations,
        "requests": [asdict(seen) for seen in service.seen],
        "deliveries": [asdict(delivery) for box in boxes for delivery in box.deliveries],
        "mails": mails,
        "most_per_application": service.flight.applications,
        "most_per_mailbox": service.flight.mailboxes,
    }
