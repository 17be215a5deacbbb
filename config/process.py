"""The ``POSTMETER_`` variables of the process itself: where things are, not what to send with."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config.environment import GROUPS, PREFIX, is_setting
from config.errors import NoSettings, Problem, ProcessInvalid
from config.values import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OTHERS: Final = frozenset({"POSTMETER_INSTALL"})
"""Variables of the tests' own, which may be set while the command runs."""

_SERVICE_LINK: Final = re.compile(
    r"POSTMETER_(?:[A-Z0-9]+_)*?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9]+)*|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)?)"
)
"""What Kubernetes sets in every pod for a Service whose name begins with ``postmeter``."""


def _broker_url(url: SecretStr) -> SecretStr:
    if not re.match(r"(?:embedded:|amqps?://)", url.get_secret_value()):
        raise ValueError('write "embedded:", "amqp://…" or "amqps://…"')
    return url


class ProcessSettings(BaseSettings):
    """Where this process finds things; each field is ``POSTMETER_`` and its name in capitals.

    A file of the secrets directory with that name does as well; a variable wins over it.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    settings: Path | None = Field(
        default=None,
        description="The settings tree. Else the first of ./postmeter, "
        "$XDG_CONFIG_HOME/postmeter and /etc/postmeter that has a system.toml.",
    )
    state: Path | None = Field(
        default=None,
        description="Where the ledger and the inbox lie. Else /var/lib/postmeter for root, "
        "$XDG_STATE_HOME/postmeter for others.",
    )
    secrets: Path | None = Field(
        default=None,
        description="A directory with one file for each secret, named like its variable.",
    )
    attachments: Path | None = Field(
        default=None, description="The folder of attachments that jobs refer to."
    )
    login_key_file: Path | None = Field(
        default=None,
        description="The key that logins by a device code are encrypted with; the same on every "
        "host. Else login.key in the state folder.",
    )
    broker_url: Annotated[SecretStr, AfterValidator(_broker_url)] = Field(
        default=SecretStr("embedded:"),
        description="RabbitMQ (amqp://, amqps://), or embedded: for one machine without it.",
    )
    ledger_url: SecretStr | None = Field(
        default=None,
        description="The ledger's database (sqlite:////path, postgresql://user@host/name). "
        "Else an SQLite file in the state folder.",
    )
    queue_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.-]{0,64}$",
        description="Goes before every queue's name: letters, digits, . _ -",
    )
    queue_type: Literal["quorum", "classic"] = Field(
        default="quorum", description="The type of the queues: quorum, classic."
    )
    processes: int = Field(default=1, ge=1, le=64, description="Worker processes: 1 to 64.")
    keep_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="How long the ledger keeps what is sent, drafted or cancelled: 1 to 3650.",
    )
    grace_seconds: float = Field(
        default=30.0,
        ge=0,
        le=3600,
        description="How long mail in DATA may finish after SIGTERM: 0 to 3600.",
    )
    metrics_host: str = Field(
        default="127.0.0.1", min_length=1, description="The address that metrics are bound to."
    )
    metrics_port: int = Field(
        default=9191, ge=0, le=65535, description="The port of metrics; 0 takes a free one."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="auto (text at a terminal, else json), json, text."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning, error."
    )
    log_addresses: bool = Field(
        default=False, description="Whether logs show whole addresses: true, false."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the base class fixes the signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the variables come as arguments
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env file is read
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The variables, handed in by ``load``, over the files of the secrets directory."""
        return init_settings, file_secret_settings


def environment() -> Mapping[str, str]:
    """The variables of this process: the one place that reads them."""
    return dict(os.environ)


def load(environ: Mapping[str, str]) -> ProcessSettings:
    """Read the process's variables and find its folders.

    Raises:
        ProcessInvalid: a variable is wrong, or unknown.
    """
    problems = [
        Problem(ENVIRONMENT, None, name, "", what) for name, what in _unknown_variables(environ)
    ]
    fields = ProcessSettings.model_fields
    given: dict[str, Any] = {
        name: environ[_variable(name)] for name in fields if _variable(name) in environ
    }
    given.setdefault("settings", _settings_folder(environ))
    given.setdefault("state", _state_folder(environ))
    folder = Path(given["secrets"]) if "secrets" in given else None
    if folder is not None and not folder.is_dir():
        what = f'"{folder}" is no folder'
        problems.append(Problem(ENVIRONMENT, None, _variable("secrets"), "", what))
        folder = None
    try:
        loaded = ProcessSettings(_secrets_dir=folder, **given)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            name = _variable(str(detail["loc"][0]))
            what = f"{fields[str(detail['loc'][0])].description}"
            if str(detail["input"]).startswith(("tcp://", "udp://")):
                what += " (Kubernetes set this for a Service: write enableServiceLinks: false)"
            problems.append(Problem(ENVIRONMENT, None, name, "", f"not valid: {what}"))
    if problems:
        raise ProcessInvalid(tuple(problems))
    return loaded


def settings_root(process: ProcessSettings) -> Path:
    """The settings tree.

    Raises:
        NoSettings: there is none.
    """
    if process.settings is None:
        raise NoSettings(
            "no settings: neither ./postmeter, $XDG_CONFIG_HOME/postmeter nor /etc/postmeter has a "
            "system.toml, and POSTMETER_SETTINGS is not set; `postmeter settings init` writes one"
        )
    return process.settings


def state_root(process: ProcessSettings) -> Path:
    """The state folder, made for this user alone where it is missing.

    Raises:
        ProcessInvalid: it cannot be made.
    """
    folder = process.state
    assert folder is not None, "load sets it"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        what = f'cannot make "{folder}" ({error.strerror})'
        raise ProcessInvalid((Problem(ENVIRONMENT, None, _variable("state"), "", what),)) from None
    return folder


def ledger_url(process: ProcessSettings) -> str:
    """The ledger's database: what was set, else a file in the state folder."""
    if process.ledger_url is not None:
        return process.ledger_url.get_secret_value()
    assert process.state is not None, "load sets it"
    return f"sqlite:///{process.state.absolute() / 'ledger.db'}"


def login_key_file(process: ProcessSettings) -> Path:
    """The key of logins: the file that was set, else one in the state folder."""
    assert process.state is not None, "load sets it"
    return process.login_key_file or process.state.absolute() / "login.key"


def _variable(field: str) -> str:
    return PREFIX + field.upper()


def _settings_folder(environ: Mapping[str, str]) -> str | None:
    config = environ.get("XDG_CONFIG_HOME") or str(_home(environ) / ".config")
    for folder in (Path("postmeter"), Path(config) / "postmeter", Path("/etc/postmeter")):
        if (folder / "system.toml").is_file():
            return str(folder)
    return None


def _state_folder(environ: Mapping[str, str]) -> str:
    if os.geteuid() == 0 and "XDG_STATE_HOME" not in environ:
        return "/var/lib/postmeter"
    state = environ.get("XDG_STATE_HOME") or str(_home(environ) / ".local" / "state")
    return str(Path(state) / "postmeter")


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path("/")


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each ``POSTMETER_`` variable that means nothing, with the nearest name that does."""
    known = {_variable(field) for field in ProcessSettings.model_fields}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known | _OTHERS or is_setting(name):
            continue
        if _SERVICE_LINK.fullmatch(name):
            continue
        group, double, rest = name.removeprefix(PREFIX).partition("__")
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        if double:
            groups = difflib.get_close_matches(group, GROUPS, n=1, cutoff=0.5)
            near = [f"{PREFIX}{each}__{rest}" for each in groups]
        yield name, "no such variable" + (f"; did you mean {near[0]}?" if near else "")
