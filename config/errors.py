"""Every error of settings, in one tree outside the worker's own: settings are a person's to mend.

::

    ConfigError
    ├── NoSettings          there is no tree, or system.toml cannot be read: exit 2
    ├── ProcessInvalid      a POSTMETER_ variable of the process is wrong or unknown: exit 2
    └── Unresolved          one job's settings cannot be told; the others go on
        ├── UnknownCompany  no such folder yet: wait, settings follow the application
        ├── UnknownUser     the context has no such user
        ├── NoUser          the job names no user and the context has no default_user
        └── InvalidContext  the context, or this user of it, has errors
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One error or warning: where it is, and what is wrong there, in one line.

    Attributes:
        context: whose mail it holds: a company id, ``_system``, or ``_environment`` for nobody's.
        user: the user whose mail alone it holds, or None for the whole context.
        file: the file, relative to the tree, or the name of the environment variable.
        key: the dotted key in that file; empty where the file itself is wrong.
        what: the rest of the line; never a secret.
    """

    context: str
    user: str | None
    file: str
    key: str
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.key, self.what) if part)


class ConfigError(Exception):
    """The root; each one's text is one line for an operator."""


class NoSettings(ConfigError):
    """There is no settings tree, or its ``system.toml`` cannot be read."""


class ProcessInvalid(ConfigError):
    """The variables of the process are wrong.

    Attributes:
        problems: all of them.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


class Unresolved(ConfigError):
    """The settings of one job cannot be told."""


class UnknownCompany(Unresolved):
    """The tree has no such company (yet)."""


class UnknownUser(Unresolved):
    """The context has no such user; the text says where the user does exist."""


class NoUser(Unresolved):
    """The job names no user, and the context has no ``default_user``."""


class InvalidContext(Unresolved):
    """The context, or this user of it, has errors and no settings in force.

    Attributes:
        problems: all of them.
    """

    def __init__(self, name: str, problems: tuple[Problem, ...]) -> None:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"the settings of {name} have errors: {problems[0]}{more}")
        self.problems = problems
