"""The container image: built by buildah from a Debian of debootstrap's, and run as an engine would."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from config.process import ProcessSettings
from tests.support import images
from tests.support.compose import environment
from tests.support.containers import USER, Container
from tests.support.rabbitmq import RabbitServer, free_port, unique_prefix
from tests.support.smtp_sink import SmtpSink, read_record
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgresql import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SYSTEM = """\
[smtp]
server_address = "127.0.0.1"
port = 1025
transport_security = "none"
authorisation = "none"
"""
JANE = '[email]\naddress = "jane@example.nz"\n'
MAIL = ("send", "--user", "jane", "--to", "kim@example.org", "--subject", "Hello", "--text", "Hi")
TOOLS = ("cc", "gcc", "git", "pip", "pip3", "pip3.11", "curl", "wget")
HEALTH = ("python", "-m", "worker.healthcheck")


@dataclass(frozen=True)
class Image:
    """What was built."""

    root: Path
    configuration: dict[str, Any]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image, built from a copy of the tree that holds secrets too."""
    if not images.available():
        pytest.skip(images.MISSING)
    # Not in pytest's folder, which is searched for secrets after the run: the tests' own are in the tree.
    with tempfile.TemporaryDirectory(prefix="postmeter-image-", dir="/var/tmp") as name:
        buildah = images.Buildah(Path(name))
        buildah.base()
        buildah.build(images.copy_tree(Path(name) / "tree"))
        yield Image(buildah.unpack(), buildah.configuration())


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A small settings tree, as an operator would mount it: of root, readable by all."""
    folder = tmp_path / "settings"
    (folder / "users").mkdir(parents=True)
    (folder / "system.toml").write_text(SYSTEM)
    (folder / "users/jane.toml").write_text(JANE)
    return folder


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    """A mail server that can be started in a container's network."""
    started = Sink(tmp_path / "accepted")
    yield started
    started.close()


class Sink:
    """A mail server in a container's network, and the record of what it took."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._process: subprocess.Popen[str] | None = None

    def start(self, container: Container, *, delay_seconds: float = 0.0, seed: int = 1) -> None:
        """Listen on port 1025."""
        program = (sys.executable, "-m", "tests.support.smtp_sink", "--port", "1025")
        options = (
            "--record",
            str(self._record),
            "--delay",
            f"{delay_seconds}",
            "--seed",
            f"{seed}",
        )
        self._process = subprocess.Popen(
            container.in_its_network(*program, *options),
            cwd=images.REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "1025\n"

    def recipients(self) -> list[str]:
        """Who the mails were to that it accepted."""
        return [mail.recipient for mail in read_record(self._record)]

    def close(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


def start(image: Image, settings: Path, tmp_path: Path, *command: str) -> Container:
    """Run the image."""
    log = tmp_path / "container.log"
    return Container(image.root, image.configuration, settings, log, command=command or None)


def test_what_the_image_asks_for(image: Image) -> None:
    """User, command, signal, port, health check and labels are those that deployments rely on."""
    asked = image.configuration
    assert asked["User"] == "10001:10001"
    assert (asked["Entrypoint"], asked["Cmd"]) == (["postmeter"], ["worker"])
    assert asked["StopSignal"] == "SIGTERM"
    assert asked["ExposedPorts"] == {"9191/tcp": {}}
    assert list(asked["Volumes"]) == ["/var/lib/postmeter"]
    assert asked["Healthcheck"]["Test"] == ["CMD", *HEALTH, "/healthz"]
    project = tomllib.loads((images.REPOSITORY / "pyproject.toml").read_text())["project"]
    labels = asked["Labels"]
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert labels["org.opencontainers.image.description"] == project["description"]
    variables = dict(each.split("=", 1) for each in asked["Env"])
    ours = {name for name in variables if name.startswith("POSTMETER_")}
    assert ours <= {f"POSTMETER_{field.upper()}" for field in ProcessSettings.model_fields}
    assert variables["POSTMETER_METRICS_HOST"] == "0.0.0.0"  # noqa: S104 - a container's network is its own
    assert variables["POSTMETER_LOG_FORMAT"] == "json"


def test_nothing_is_the_users_but_its_state(image: Image) -> None:
    """The worker can change no program, no setting and no file of the system; nothing runs as another."""
    of_the_user, writable, privileged = [], [], []
    for folder, folders, files in os.walk(image.root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)  # noqa: PTH118 - a hundred thousand of them
            found, shown = os.lstat(path), path.removeprefix(str(image.root))
            if stat.S_ISLNK(found.st_mode) or shown.startswith("/dev/"):
                continue
            if USER in {found.st_uid, found.st_gid}:
                of_the_user.append(shown)
            if found.st_mode & stat.S_IWOTH:
                writable.append(shown)
            if stat.S_ISREG(found.st_mode) and found.st_mode & (stat.S_ISUID | stat.S_ISGID):
                privileged.append(shown)
    assert of_the_user == ["/var/lib/postmeter"]
    assert set(writable) <= {"/tmp", "/var/tmp", "/run/lock"}  # noqa: S108 - of the image, and sticky
    assert privileged == []


def test_only_what_runs_is_in_it(image: Image) -> None:
    """No secret, no test, no history, no compiler, no pip and no cache; the code is there, compiled."""
    names = {path.relative_to(image.root).as_posix() for path in image.root.rglob("*")}
    ends = {name.rpartition("/")[2] for name in names}
    assert not ends & {"pip", "hatchling", "pip.conf", ".git", "jane.secret", "postgres-password"}
    assert (
        not {f"{folder}/{name}" for folder in ("usr/bin", "opt/postmeter/bin") for name in TOOLS}
        & names
    )
    assert not ends & {"test_image.py", "requirements-dev.txt", "compose.yaml"}
    assert not [name for name in names if name.endswith(".whl")]
    assert not [name for name in names if name.startswith(("var/lib/apt/lists/", "var/log/"))]
    packages = "opt/postmeter/lib/python3.11/site-packages"
    assert {f"{packages}/worker/app.py", f"{packages}/config/settings.py"} <= names
    runbook = {page.name for page in (images.REPOSITORY / "docs/runbook").glob("*.md")}
    assert "PostmeterLimitExceeded.md" in runbook
    assert {f"{packages}/worker/telemetry/runbook/{page}" for page in runbook} <= names
    compiled = image.root / packages / "worker/__pycache__/app.cpython-311.pyc"
    # PEP 552, unchecked hash: it counts whatever date a layer gives to the source, and is the same each time.
    assert compiled.read_bytes()[4:8] == bytes([1, 0, 0, 0])
    kept = subprocess.run(
        ["grep", "-rlF", images.UNWANTED.strip(), image.root / "opt", image.root / "etc"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert kept.stdout == ""


def test_a_command_on_a_read_only_root(image: Image, settings: Path, tmp_path: Path) -> None:
    """The image's program says its version, and can write nowhere but to its state and /tmp."""
    with start(image, settings, tmp_path, "--version") as container:
        assert container.wait() == 0
        assert container.log.read_text() == "postmeter 0.1.0\n"
    with start(image, settings, tmp_path) as container:
        tried = container.execute(
            *("sh", "-c"),
            "id -u; for folder in / /etc /opt/postmeter /usr/bin /etc/postmeter /run /run/secrets/postmeter /home;"
            " do touch $folder/x && echo wrote $folder; done;"
            " touch /tmp/x /var/lib/postmeter/x && echo well; grep ^CapEff: /proc/self/status",
        )
        assert tried.stdout.split() == ["10001", "well", "CapEff:", "0000000000000000"]


def test_a_worker_from_start_to_end(
    image: Image, settings: Path, sink: Sink, tmp_path: Path
) -> None:
    """It becomes ready, sends a mail, and after SIGTERM finishes the mail in hand and exits 0."""
    with start(image, settings, tmp_path) as container:
        sink.start(container, delay_seconds=5.0, seed=2)  # the first reply takes 4.8 s
        container.wait_for(*HEALTH, "/readyz")
        assert container.execute(*HEALTH).returncode == 0
        sent = container.execute("postmeter", *MAIL, "--json")
        assert sent.returncode == 0, sent.stderr
        job = json.loads(sent.stdout)["job_id"]
        container.wait_for("sh", "-c", f"postmeter status {job} --json | grep -q .data.")
        assert sink.recipients() == []
        assert container.stop() == 0
        assert sink.recipients() == ["kim@example.org"]
        lines = [json.loads(line) for line in container.log.read_text().splitlines()]
        assert [line["event"] for line in lines if line.get("job_id") == job] == ["sent"]


def test_the_health_check_fails(image: Image, settings: Path, tmp_path: Path) -> None:
    """Its exit code is 1 where the worker hangs, and where none is."""
    with start(image, settings, tmp_path) as container:
        container.wait_for(*HEALTH, "/readyz")
        container.signal_all(signal.SIGSTOP)
        hung = container.execute(*HEALTH, "/healthz")
        container.signal_all(signal.SIGCONT)
        assert (hung.returncode, "timed out" in hung.stdout) == (1, True), hung
        container.wait_for(*HEALTH, "/readyz")
        assert container.stop() == 0
    with Container(
        image.root,
        {**image.configuration, "Entrypoint": ["sleep"]},
        settings,
        tmp_path / "none.log",
        command=["60"],
    ) as container:
        none = container.execute(*HEALTH)
        assert (none.returncode, "refused" in none.stdout) == (1, True), none


def test_settings_that_are_wrong_end_it_with_2(
    image: Image, settings: Path, tmp_path: Path
) -> None:
    """No restart can mend a settings tree without a system.toml: the exit code says so, and a sentence."""
    (settings / "system.toml").unlink()
    with start(image, settings, tmp_path) as container:
        assert container.wait() == 2
        assert "system.toml" in container.log.read_text()


def test_it_follows_the_settings(image: Image, settings: Path, sink: Sink, tmp_path: Path) -> None:
    """A company that is added to the mounted tree can send at once, without a restart."""
    with start(image, settings, tmp_path) as container:
        sink.start(container)
        container.wait_for(*HEALTH, "/readyz")
        folder = settings / "companies/acme/users"
        folder.mkdir(parents=True)
        (folder / "kim.toml").write_text('[email]\naddress = "kim@acme.example.nz"\n')
        (folder.parent / "company.toml").write_text("replicate_from_system = true\n")
        to = ("--to", "lee@example.org", "--subject", "Hello", "--text", "Hi", "--wait", "60")
        sent = container.execute("postmeter", "send", "--company", "acme", "--user", "kim", *to)
        assert sent.returncode == 0, sent.stdout + sent.stderr
        wait_until(lambda: sink.recipients() == ["lee@example.org"], "the mail's arrival")
        assert container.stop() == 0


def test_workers_with_servers(
    image: Image, settings: Path, rabbitmq: RabbitServer, postgresql: PostgresServer, tmp_path: Path
) -> None:
    """As compose.yaml has it: the shared variables, secrets as files, a ledger made first, two workers."""
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    database = postgresql.new_database()
    (secrets / "POSTMETER_BROKER_URL").write_text(f"{rabbitmq.url}\n")
    (secrets / "POSTMETER_LEDGER_URL").write_text(database.replace("+psycopg", "") + "\n")
    shared = environment(images.REPOSITORY / "deploy/postmeter.env")
    prefix = {"POSTMETER_QUEUE_PREFIX": unique_prefix(), "POSTMETER_METRICS_HOST": "127.0.0.1"}

    def run(name: str, *command: str) -> Container:
        return Container(
            image.root,
            image.configuration,
            settings,
            tmp_path / f"{name}.log",
            command=command or None,
            environ={**shared, **prefix, "POSTMETER_METRICS_PORT": str(free_port())},
            secrets=secrets,
            own_network=False,
        )

    with run("ledger", "ledger", "upgrade") as once:
        assert once.wait() == 0, once.log.read_text()
        assert "upgraded the ledger from nothing" in once.log.read_text()
    with SmtpSink(tmp_path / "accepted") as sink, run("one") as one, run("two") as two:
        text = SYSTEM.replace("port = 1025", f"port = {sink.port}\nbatch_emails_per_min = 60")
        (settings / "system.toml").write_text(text)
        for worker in (one, two):
            worker.wait_for(*HEALTH, "/readyz")
        sent = one.execute("postmeter", *MAIL, "--wait", "60")
        assert sent.returncode == 0, sent.stdout + sent.stderr
        seen = json.loads(two.execute("postmeter", "status", "--json").stdout)
        assert len(seen["workers"]) == 2
        assert (one.stop(), two.stop()) == (0, 0)
    assert [mail.recipient for mail in read_record(tmp_path / "accepted")] == ["kim@example.org"]
    password = urlsplit(rabbitmq.url).password
    assert password
    assert password not in "".join(log.read_text() for log in tmp_path.glob("*.log"))
    postgresql.drop_database(database)


def test_an_end_at_the_start(image: Image, settings: Path, tmp_path: Path) -> None:
    """A SIGTERM while it still starts ends it: process 1 gets none that it has not asked for."""
    with start(image, settings, tmp_path) as container:
        wait_until(lambda: container.handles(signal.SIGTERM), "the handling of SIGTERM")
        assert container.stop() in {0, 128 + signal.SIGTERM}
