"""deploy/Dockerfile as text: linted, closed to what it need not see, and without anybody's addresses."""

from __future__ import annotations

import fnmatch
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from worker import healthcheck

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text("utf-8")
IGNORED = (ROOT / "deploy/Dockerfile.dockerignore").read_text("utf-8").splitlines()
INSTRUCTIONS = [
    line
    for line in re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines()
    if line and not line.startswith("#")
]


def lint(text: str) -> str:
    """What hadolint says of a Dockerfile."""
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--failure-threshold", "style", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == bool(done.stdout), done.stderr
    return done.stdout


def reaches_the_builder(path: str) -> bool:
    """Whether the ignore file lets a path through: the last rule that matches it decides."""
    through = True
    for rule in IGNORED:
        if rule and not rule.startswith("#"):
            pattern = rule.removeprefix("!").removeprefix("**/")
            parts = path.split("/")
            names = ["/".join(parts[: i + 1]) for i in range(len(parts))]
            names += parts if "**/" in rule else []
            if any(fnmatch.fnmatchcase(name, pattern) for name in names):
                through = rule.startswith("!")
    return through


def test_hadolint() -> None:
    """The linter has nothing to say."""
    assert lint(DOCKERFILE) == ""


@pytest.mark.parametrize(
    ("whole", "broken", "rule"),
    [
        ('ENTRYPOINT ["postmeter"]', "ENTRYPOINT postmeter", "DL3025"),
        ("USER 10001:10001", "USER root", "DL3002"),
        ("WORKDIR /source", "WORKDIR source", "DL3000"),
        (" --no-install-recommends", "", "DL3015"),
        ("FROM ${BASE} AS base", "FROM debian:latest AS base", "DL3007"),
        ("apt-get install --yes", "apt-get install", "DL3014"),
    ],
)
def test_hadolint_sees(whole: str, broken: str, rule: str) -> None:
    """The linter, as it is called here, does find what is broken on purpose."""
    assert whole in DOCKERFILE
    assert rule in lint(DOCKERFILE.replace(whole, broken))


def test_all_that_is_copied_reaches_the_builder() -> None:
    """Each path that the Dockerfile copies is in the tree and past the ignore file."""
    copied = [
        path
        for line in INSTRUCTIONS
        if line.startswith("COPY ") and "--from" not in line
        for path in shlex.split(line)[1:-1]
    ]
    assert {"worker", "config", "producers", "requirements.txt"} <= set(copied)
    assert [path for path in copied if not (ROOT / path).exists()] == []
    assert [path for path in copied if not reaches_the_builder(path)] == []


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        "deploy/compose/secrets/postgres-password",
        "deploy/compose.yaml",
        "tests/conftest.py",
        "requirements-dev.txt",
        "worker/__pycache__/app.cpython-311.pyc",
        "config/jane.secret",
    ],
)
def test_nothing_else_reaches_it(path: str) -> None:
    """Secrets, history, tests and caches stay away from the builder, whoever copies what."""
    assert not reaches_the_builder(path)


def test_it_names_nobodys_servers() -> None:
    """No index, proxy or mirror is written down: they come with the secret pip.conf, or not at all."""
    assert re.findall(r"https?://\S+", "\n".join(INSTRUCTIONS)) == []
    assert "--require-hashes" in DOCKERFILE
    assert "--mount=type=secret,id=pip.conf" in DOCKERFILE


def test_it_is_in_step_with_the_project() -> None:
    """Version, description and licence are the project's; the health check asks for a page there is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"ARG VERSION={project['version']}" in INSTRUCTIONS
    assert f'title="{project["name"]}"' in DOCKERFILE
    assert f'description="{project["description"]}"' in DOCKERFILE
    assert f'licenses="{project["license"]}"' in DOCKERFILE
    assert f'"worker.healthcheck", "{healthcheck.PATHS[0]}"' in DOCKERFILE
