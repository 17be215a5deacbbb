"""What runs in a pod of deploy/kubernetes: its folders filled like a kubelet's, its variables, its probes."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from functools import partial
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from config import process
from config.watcher import SettingsWatcher
from tests.support.command import POSTMETER, run
from tests.support.kubernetes import ROOT, find, render, worker
from tests.support.kubernetes_pod import Pod
from tests.support.rabbitmq import free_port
from tests.support.waiting import GENEROUS_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.kubernetes import Object
    from tests.support.kubernetes_pod import Secrets

SECRET = "POSTMETER_COMPANY__ACME__MICROSOFT_365__CLIENT_SECRET"


def secrets(state: Path, name: str = "production") -> Secrets:
    """What an operator keeps in the cluster; the servers are files of this host."""
    connections = {
        "POSTMETER_BROKER_URL": f"embedded:{state}/inbox.db",
        "POSTMETER_LEDGER_URL": f"sqlite:///{state}/ledger.db",
    }
    if name == "development":
        return {"postmeter-connections": connections}
    accounts = {SECRET: "first", "login.key": "not read before a login"}
    return {"postmeter-connections": connections, "postmeter-accounts": accounts}


def watching(pod: Pod) -> SettingsWatcher:
    """The settings as its worker follows them."""
    folder = pod.path("/run/secrets/postmeter")
    return SettingsWatcher(pod.path("/etc/postmeter"), {}, secrets=folder)


def overlay(name: str) -> list[Object]:
    """What that overlay applies."""
    return render(ROOT / "overlays" / name)


@pytest.mark.parametrize("name", ["development", "production"])
def test_the_pods_settings_have_no_error(name: str, tmp_path: Path) -> None:
    """`postmeter settings check` agrees with the tree that the pod sees, its secrets too."""
    objects = overlay(name)
    pod = Pod(worker(objects), tmp_path)
    pod.mount(objects, secrets(pod.path("/var/lib/postmeter"), name))
    done = run({**pod.environ(), "PATH": "/usr/bin:/bin"}, "settings", "check")
    assert "2 contexts, 1 user: 0 errors, 0 warnings, 0 held" in done.stdout
    assert watching(pod).current.resolve("acme", "jane", "batch").batch_emails_per_min == 30


def test_the_pods_variables_name_its_folders(tmp_path: Path) -> None:
    """The process finds settings, state and both addresses, and no variable is unknown to it."""
    objects = overlay("production")
    pod = Pod(worker(objects), tmp_path)
    kept = secrets(pod.path("/var/lib/postmeter"))
    pod.mount(objects, kept)
    loaded = process.load(pod.environ())
    connections = kept["postmeter-connections"]
    assert process.settings_root(loaded) == pod.path("/etc/postmeter")
    assert process.state_root(loaded) == pod.path("/var/lib/postmeter")
    assert process.login_key_file(loaded).read_text() == "not read before a login"
    assert loaded.broker_url.get_secret_value() == connections["POSTMETER_BROKER_URL"]
    assert process.ledger_url(loaded) == connections["POSTMETER_LEDGER_URL"]


def test_no_pod_starts_without_the_shared_ledger(tmp_path: Path) -> None:
    """Else each pod would make an SQLite ledger of its own, and send a whole limit by itself."""
    objects = overlay("production")
    kept = secrets(tmp_path)
    del kept["postmeter-connections"]["POSTMETER_LEDGER_URL"]
    with pytest.raises(KeyError, match="POSTMETER_LEDGER_URL"):
        Pod(worker(objects), tmp_path).mount(objects, kept)


def test_changes_of_configmaps_and_secrets_reach_a_running_worker(tmp_path: Path) -> None:
    """A limit, a new user and a rotated secret, each by the swap of one link."""
    objects = overlay("production")
    pod = Pod(worker(objects), tmp_path)
    kept = secrets(tmp_path)
    pod.mount(objects, kept)
    watcher = watching(pod)

    data = find(objects, "ConfigMap", "postmeter-company-acme")["data"]
    data["company.toml"] = data["company.toml"].replace("_min = 30", "_min = 20")
    pod.mount(objects, kept)
    assert watcher.poll()
    assert watcher.current.resolve("acme", "jane", "batch").batch_emails_per_min == 20

    source = worker(objects)["volumes"][0]["projected"]["sources"][1]["configMap"]
    source["items"].append({"key": "kim.toml", "path": "companies/acme/users/kim.toml"})
    data["kim.toml"] = data["jane.toml"].replace("jane@", "kim@")
    kept["postmeter-accounts"][SECRET] = "second"
    pod.mount(objects, kept)
    assert watcher.poll()
    assert watcher.current.errors_by_context() == {}
    found = watcher.current.resolve("acme", "kim", "send").registration
    assert found is not None
    assert found.client_secret is not None
    assert found.client_secret.get_secret_value() == "second"


def test_the_upgrade_needs_nothing_but_the_ledgers_address(tmp_path: Path) -> None:
    """The Job's command runs with what its own pod has: no settings, no broker."""
    [job] = render(ROOT / "ledger-upgrade")
    spec = job["spec"]["template"]["spec"]
    pod = Pod(spec, tmp_path)
    pod.mount([job], secrets(pod.path("/var/lib/postmeter")))
    done = run({**pod.environ(), "PATH": "/usr/bin:/bin"}, *spec["containers"][0]["args"])
    assert done.stdout.startswith("upgraded the ledger from nothing to ")


@contextlib.contextmanager
def started(pod: Pod, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The worker as its container starts it."""
    container = worker(overlay("development"))["containers"][0]
    environ = {
        **pod.environ(),
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",  # every pod has it, whatever enableServiceLinks says
        "POSTMETER_METRICS_HOST": "127.0.0.1",
        "POSTMETER_METRICS_PORT": str(port),
    }
    with log.open("wb") as output:
        running = subprocess.Popen(
            [POSTMETER, *container["args"]], env=environ, stdout=output, stderr=output
        )
        try:
            yield running
        finally:
            running.kill()
            running.wait()


def asked(port: int, path: str) -> tuple[int, str]:
    """What a probe gets, which asks for the pod by its address; 0 where nobody listens."""
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            connection.request("GET", path, headers={"Host": "10.244.1.7:9191"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""


def answers(port: int, path: str) -> bool:
    """Whether a probe of that path succeeds."""
    return asked(port, path)[0] == 200


def test_a_pod_from_its_start_to_its_end(tmp_path: Path) -> None:
    """It gets alive and ready by its own probes, follows its ConfigMap, and ends within its grace."""
    objects = overlay("development")
    spec = worker(objects)
    container = spec["containers"][0]
    pod = Pod(spec, tmp_path / "pod")
    kept = secrets(pod.path("/var/lib/postmeter"), "development")
    pod.mount(objects, kept)
    port, log = free_port(), tmp_path / "log"

    def limit() -> str:
        shown = re.search(
            r'^postmeter_limit_emails_per_minute{.*scope="company:acme".*} (.+)$',
            asked(port, "/metrics")[1],
            re.MULTILINE,
        )
        return shown[1] if shown else ""

    with started(pod, port, log) as running:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = container[probe]["httpGet"]["path"]
            wait_until(partial(answers, port, path), f"{probe} of {path}")
        wait_until(lambda: limit() == "30.0", "the limit of the ConfigMap")
        data = find(objects, "ConfigMap", "postmeter-settings")["data"]
        data["system.toml"] = data["system.toml"].replace("_min = 30", "_min = 45")
        pod.mount(objects, kept)
        wait_until(lambda: limit() == "45.0", "the new limit of the ConfigMap")
        running.send_signal(signal.SIGTERM)
        grace = max(GENEROUS_SECONDS, spec["terminationGracePeriodSeconds"])
        assert running.wait(grace) == 0, log.read_text()
    assert "the ledger is a file of this pod" in log.read_text(), (
        "a second pod would double the pace"
    )
