"""The client's wheel, installed alone into an application with its own ``producers`` and ``config``."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from producers.envelope import decode
from producers.inbox import Inbox
from tests.support.rabbitmq import RabbitServer, unique_prefix

REPOSITORY = Path(__file__).parents[2]
APPLICATION = """\
import sys

import config
import producers

from postmeter_client import Email, Producer
from postmeter_client.testing import InMemoryProducer

assert config.MINE and producers.MINE, "the application's own packages were replaced"
assert not {"dramatiq", "sqlalchemy", "worker", "aiosmtplib"} & set(sys.modules)

outbox = InMemoryProducer()
outbox.send(Email("jane@example.org", "Hello", text="x"))
assert len(outbox.outbox) == 1

with Producer(sys.argv[1], company="acme") as producer:
    print(producer.send(Email("jane@example.org", "Hello", text="from the application")).job_id)
    print(producer.batch(Email(f"u{n}@example.org", "Hi", text="x") for n in range(100)).confirmed)
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built offline from a copy, so that nothing is left in the tree."""
    copy = tmp_path_factory.mktemp("client") / "producers"
    shutil.copytree(
        REPOSITORY / "producers",
        copy,
        ignore=shutil.ignore_patterns("__pycache__", "dist", "build"),
    )
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--no-isolation",
            "--outdir",
            str(copy / "dist"),
            str(copy),
        ],
        check=True,
        capture_output=True,
    )
    assert len(list((copy / "dist").glob("*.tar.gz"))) == 1
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture
def application(tmp_path: Path, wheel: Path) -> Path:
    """An application with its own ``producers`` and ``config``, and the wheel beside it."""
    for package in ("producers", "config"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("MINE = True\n", "utf-8")
    (tmp_path / "main.py").write_text(APPLICATION, "utf-8")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-index",
            "--target",
            str(tmp_path / "site"),
            str(wheel),
        ],
        check=True,
        capture_output=True,
    )
    site = tmp_path / "site"
    for dependency in ("pika", "pydantic", "pydantic_core", "annotated_types", "typing_inspection"):
        _link(site, dependency)
    (site / "typing_extensions.py").symlink_to(_origin("typing_extensions"))
    return tmp_path


def _origin(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def _link(site: Path, package: str) -> None:
    (site / package).symlink_to(_origin(package).parent, target_is_directory=True)


def run(application: Path, url: str, **variables: str) -> list[str]:
    """Run the application with nothing on its path but itself, the wheel and its dependencies."""
    done = subprocess.run(
        [sys.executable, "-S", "-W", "error", "main.py", url],
        cwd=application,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(application / "site"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_is_in_the_wheel(wheel: Path) -> None:
    """One package under the client's name, typed, with its schemas, and two dependencies."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith("METADATA"))).decode()
        schema = json.loads(archive.read("postmeter_client/schema/job.v1.json"))
    tops = {name.split("/")[0] for name in names}
    assert tops == {"postmeter_client", wheel.name.split("-py3")[0] + ".dist-info"}
    assert {"postmeter_client/__init__.py", "postmeter_client/py.typed"} < set(names)
    ours = {path.name for path in (REPOSITORY / "producers").glob("*.py")}
    assert {n.split("/")[1] for n in names if n.endswith(".py")} == ours
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert [line.split()[1].split("<")[0].split(">")[0] for line in required] == [
        "pika",
        "pydantic",
    ]
    assert schema["title"] == "Postmeter job, version 1"


def test_an_application_publishes_without_a_broker(application: Path) -> None:
    """From an application that has packages of the same names, into an embedded inbox."""
    path = application / "inbox.db"
    job_id, count = run(application, f"embedded:{path}")
    inbox = Inbox(path)
    (taken,) = inbox.take("postmeter.send", 10, "test")
    assert decode(taken.body, "postmeter.send").id == job_id
    assert inbox.depth("postmeter.batch") == int(count) == 100
    inbox.close()


@pytest.mark.rabbitmq
def test_an_application_publishes_to_rabbitmq(application: Path, rabbitmq: RabbitServer) -> None:
    """The same application, with only the address changed."""
    prefix = unique_prefix("client")
    job_id, count = run(application, rabbitmq.url, POSTMETER_QUEUE_PREFIX=prefix)
    (body,) = rabbitmq.messages(f"{prefix}postmeter.send")
    assert decode(body, f"{prefix}postmeter.send").id == job_id
    assert len(rabbitmq.messages(f"{prefix}postmeter.batch")) == int(count) == 100
    rabbitmq.delete_queues(*(f"{prefix}postmeter.{name}" for name in ("send", "batch", "dead")))
