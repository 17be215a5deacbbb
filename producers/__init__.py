"""What applications import to send email through Postmeter, and the wire contract.

::

    from postmeter_client import Email, Producer

    with Producer("amqp://user:password@rabbitmq/", company="acme") as producer:
        producer.send(Email("jane@example.org", "Hello", text="Hello Jane"))
"""

from .batches import BatchReceipt
from .client import Producer, Receipt
from .csv_batch import CsvBatch, CsvProblem, read_csv
from .emails import Email
from .errors import (
    BatchAborted,
    BrokerUnavailable,
    InboxUnusable,
    InvalidCsv,
    InvalidEnvelope,
    InvalidJob,
    InvalidTemplate,
    JobTooLarge,
    NotConfirmed,
    ProducerClosed,
    ProducerError,
    TopologyMismatch,
    Unroutable,
)
from .job import Attachment, Job
from .templates import Template
from .topology import Topology

__all__ = [
    "Attachment",
    "BatchAborted",
    "BatchReceipt",
    "BrokerUnavailable",
    "CsvBatch",
    "CsvProblem",
    "Email",
    "InboxUnusable",
    "InvalidCsv",
    "InvalidEnvelope",
    "InvalidJob",
    "InvalidTemplate",
    "Job",
    "JobTooLarge",
    "NotConfirmed",
    "Producer",
    "ProducerClosed",
    "ProducerError",
    "Receipt",
    "Template",
    "Topology",
    "TopologyMismatch",
    "Unroutable",
    "read_csv",
]
