"""Names of variables that stand for keys: ``POSTMETER_COMPANY__ACME__SMTP__PORT``.

Ids are written in capitals with ``-`` and ``.`` as ``_``, so two ids may share a name; a variable
that could mean either is an error. The files of the secrets directory are named in the same way.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from config.company import CompanySettings
from config.errors import Problem
from config.layer import Override, Strength
from config.system import SystemSettings
from config.table import Key, keys
from config.user import UserSettings
from config.values import ENVIRONMENT, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

PREFIX: Final = "POSTMETER_"
_SYSTEM_KEYS: Final = {key.dotted.upper().replace(".", "__"): key for key in keys(SystemSettings)}
_COMPANY_KEYS: Final = {key.dotted.upper().replace(".", "__"): key for key in keys(CompanySettings)}
_USER_KEYS: Final = {key.dotted.removeprefix("email.").upper(): key for key in keys(UserSettings)}
GROUPS: Final = ("SYSTEM", "COMPANY", "USER")

Owner = tuple[str, str | None]
"""A context, and a user of it or None for the context itself."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, or a file of the secrets directory (``file`` is then its path)."""

    name: str
    text: str = field(repr=False)  # it may be a secret
    file: str
    strength: Strength = Strength.ENVIRONMENT


def variable_name(dotted: str, context: str, user: str | None = None) -> str:
    """The variable that stands for a key of a context, or of a user in it."""
    owner = _capitals(context)
    if user is not None:
        name = f"USER__{owner}__{_capitals(user)}__{dotted.removeprefix('email.')}"
    else:
        name = f"SYSTEM__{dotted}" if context == SYSTEM else f"COMPANY__{owner}__{dotted}"
    return PREFIX + name.replace(".", "__").upper()


def is_setting(name: str) -> bool:
    """Whether a variable speaks of the settings tree rather than of the process."""
    return name.startswith(tuple(f"{PREFIX}{group}__" for group in GROUPS))


def assign(
    variables: Iterable[Variable], tree: Mapping[str, Collection[str]]
) -> tuple[dict[Owner, list[Override]], list[Problem]]:
    """Hand each variable to the context or user it speaks of.

    Args:
        variables: those that ``is_setting`` says yes to.
        tree: every context with its users.

    Returns:
        The overrides of each owner, and the variables that name nothing or two things.
    """
    overrides: dict[Owner, list[Override]] = defaultdict(list)
    problems = []
    ids = _Ids(tree)
    for variable in variables:
        meanings = list(ids.meanings(variable.name))
        if len(meanings) == 1:
            owner, key = meanings[0]
            overrides[owner].append(Override(key, variable.text, variable.file, variable.strength))
        else:
            problems.append(ids.problem(variable, [owner for owner, _ in meanings]))
    return overrides, problems


class _Ids:
    """The ids of a tree by the capitals they are written with."""

    def __init__(self, tree: Mapping[str, Collection[str]]) -> None:
        self.contexts: dict[str, list[str]] = defaultdict(list)
        self.users: dict[str, dict[str, list[str]]] = {}
        for context, users in tree.items():
            self.contexts[_capitals(context)].append(context)
            named = self.users[context] = defaultdict(list)
            for user in users:
                named[_capitals(user)].append(user)

    def meanings(self, name: str) -> Iterator[tuple[Owner, Key]]:
        """Everything that a variable can mean."""
        group, _, rest = name.removeprefix(PREFIX).partition("__")
        if group == "SYSTEM" and rest in _SYSTEM_KEYS:
            yield (SYSTEM, None), _SYSTEM_KEYS[rest]
        for context, tail in self._owners(rest) if group != "SYSTEM" else ():
            if group == "COMPANY" and context != SYSTEM and tail in _COMPANY_KEYS:
                yield (context, None), _COMPANY_KEYS[tail]
            for head, key in _splits(tail) if group == "USER" else ():
                if key in _USER_KEYS:
                    for user in self.users[context].get(head, ()):
                        yield (context, user), _USER_KEYS[key]

    def _owners(self, rest: str) -> Iterator[tuple[str, str]]:
        for head, tail in _splits(rest):
            for context in self.contexts.get(head, ()):
                yield context, tail

    def problem(self, variable: Variable, owners: list[Owner]) -> Problem:
        """One line about a variable that means nothing or too much."""
        if owners:
            several = " and ".join("/".join(filter(None, owner)) for owner in owners)
            return Problem(ENVIRONMENT, None, variable.file, "", f"could mean {several}")
        context, near = self._nearest(variable.name)
        what = "no such setting" + (f"; did you mean {near}?" if near else "")
        return Problem(context or ENVIRONMENT, None, variable.file, "", what)

    def _nearest(self, name: str) -> tuple[str | None, str | None]:
        """The context that is meant beyond doubt, and the nearest name that there is."""
        group, _, rest = name.removeprefix(PREFIX).partition("__")
        if group == "SYSTEM":
            return SYSTEM, _joined([group], _close(rest, _SYSTEM_KEYS))
        head, _, tail = rest.partition("__")
        sure = self.contexts.get(head, [])
        context_name = head if sure else _close(head, self.contexts)
        if context_name is None:
            return None, None
        context = self.contexts[context_name][0]
        if group == "COMPANY":
            near = _joined([group, context_name], _close(tail, _COMPANY_KEYS))
            return (context if len(sure) == 1 and context != SYSTEM else None), near
        user, _, key = tail.partition("__")
        user_name = user if user in self.users[context] else _close(user, self.users[context])
        if user_name is None:
            return None, None
        return None, _joined([group, context_name, user_name], _close(key, _USER_KEYS))


def _capitals(identifier: str) -> str:
    name = "system" if identifier == SYSTEM else identifier
    return name.upper().replace("-", "_").replace(".", "_")


def _splits(text: str) -> Iterator[tuple[str, str]]:
    """Every way to cut a name in two at ``__``; ids may hold that themselves."""
    at = text.find("__", 1)
    while at > 0:
        yield text[:at], text[at + 2 :]
        at = text.find("__", at + 1)


def _close(word: str, words: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)), None)


def _joined(parts: list[str], last: str | None) -> str | None:
    return None if last is None else PREFIX + "__".join([*parts, last])
