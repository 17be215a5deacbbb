"""Pure: what the tree says now, and what was in force before → what is in force.

A context, or a user's file, that has errors keeps the last settings that were right. One value of
a file with errors acts all the same: ``allow_microsoft_365`` turned off.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from config.advice import default_user_warnings, user_warnings, warnings
from config.context import KEYS, SYSTEM_ONLY, Context, assemble
from config.layer import Layer, Written
from config.rules import errors, user_errors
from config.settings import ContextState, Settings
from config.values import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.environment import Owner
    from config.errors import Problem
    from config.sources import Reading

_SWITCH: Final = "web.allow_microsoft_365"
_OWN_LIMITS: Final = frozenset(key for key in KEYS if key.startswith("limits.")) - SYSTEM_ONLY
"""Limits of the system's own mail: a mistake in one holds nobody else's."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """A context as it is written, with what its rules say."""

    context: Context
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """What one composition leaves for the next.

    Attributes:
        judged: each context as it was written, so that it is judged only once.
        good: the last of each that was right.
        good_users: the last of each user's file that was right.
        good_system: the last system file whose shared values could be told.
    """

    judged: Mapping[str, _Judged] = field(default_factory=dict)
    good: Mapping[str, Context] = field(default_factory=dict)
    good_users: Mapping[Owner, Layer] = field(default_factory=dict)
    good_system: Layer | None = None


def compose(reading: Reading, before: Memory) -> tuple[Settings, Memory]:
    """Decide what is in force, and what to remember."""
    users: dict[str, list[str]] = {}
    for context, user in reading.layers:
        named = users.setdefault(context, [])
        if user is not None:
            named.append(user)
    composer = _Composer(reading, before)
    system = composer.context(SYSTEM, users.pop(SYSTEM), None)
    for context, names in users.items():
        composer.context(context, names, system)
    return composer.finish()


class _Composer:
    """Gathers what is in force, context by context."""

    def __init__(self, reading: Reading, before: Memory) -> None:
        self._reading = reading
        self._before = before
        self._judged: dict[str, _Judged] = {}
        self._good: dict[str, Context] = {}
        self._good_users: dict[Owner, Layer] = {}
        self._states: dict[str, ContextState] = {}
        self._extra: dict[str, list[Problem]] = {}
        self._nobodys: list[Problem] = []
        contexts = {context for context, _ in reading.layers}
        for problem in reading.problems:
            if problem.context in contexts and problem.user is None:
                self._extra.setdefault(problem.context, []).append(problem)
            else:
                self._nobodys.append(problem)

    def context(self, name: str, users: list[str], system: Layer | None) -> Layer | None:
        """Settle one context with its users; hands back its file that is in force."""
        judged = self._judge(name, self._reading.layers[name, None], system)
        found = (*judged.errors, *self._extra.get(name, ()))
        good = self._before.good.get(name) if found else judged.context
        current = good
        if good is not None:
            self._good[name] = self._renewed(good, system)
            current = _switched_off(self._good[name], judged.context) if found else good
        files = {user: self._reading.layers[name, user] for user in users}
        user_errors_found = {
            user: layer.problems or (tuple(user_errors(current, layer)) if current else ())
            for user, layer in files.items()
        }
        self._states[name] = ContextState(
            current=current,
            errors=found,
            warnings=(
                *judged.warnings,
                *(default_user_warnings(current, users) if current else ()),
            ),
            users={
                user: self._user(layer, user_errors_found[user]) for user, layer in files.items()
            },
            user_errors={user: each for user, each in user_errors_found.items() if each},
            user_warnings=tuple(
                warning
                for layer in files.values()
                for warning in (
                    *layer.warnings,
                    *(user_warnings(current, layer) if current else ()),
                )
            ),
        )
        return None if current is None else current.own

    def _user(self, layer: Layer, found: tuple[Problem, ...]) -> Layer | None:
        """A user's file that is in force."""
        owner = layer.place.context, layer.place.user
        good = self._before.good_users.get(owner) if found else layer
        if good is not None:
            self._good_users[owner] = good
        return good

    def finish(self) -> tuple[Settings, Memory]:
        """Put everything together."""
        system = self._reading.layers[SYSTEM, None]
        told = system.readable and not any(
            problem.key.startswith("limits") and problem.key not in _OWN_LIMITS
            for problem in system.problems
        )
        shared = system if told else self._before.good_system
        memory = Memory(self._judged, self._good, self._good_users, shared)
        return Settings(self._states, shared, tuple(self._nobodys)), memory

    def _judge(self, name: str, layer: Layer, system: Layer | None) -> _Judged:
        """Apply the rules, unless the very same layers were judged before."""
        known = self._before.judged.get(name)
        if known and known.context.own is layer and known.context.system is system:
            self._judged[name] = known
            return known
        context = assemble(layer, system)
        found = layer.problems or tuple(errors(context))
        if context.replicates and system is None:
            found += (
                layer.place.problem("replicate_from_system", "system.toml has errors; see there"),
            )
        judged = _Judged(context, found, (*layer.warnings, *warnings(context)))
        self._judged[name] = judged
        return judged

    def _renewed(self, last: Context, system: Layer | None) -> Context:
        """The last good settings of a company go on replicating what is good in the system."""
        if system is None or last.system is None or last.system is system:
            return last
        renewed = assemble(last.own, system)
        return last if any(errors(renewed)) else renewed


def _switched_off(last: Context, newest: Context) -> Context:
    """The last good settings, without Microsoft 365 where the newest file has it off."""
    layer = newest.own
    if not layer.readable or not last[_SWITCH] or _allows(last, newest):
        return last
    no = Written(False, layer.place.layer, layer.place.file, _SWITCH)  # noqa: FBT003 - a value
    values = {**last.own.values, _SWITCH: (no, *last.own.values.get(_SWITCH, ()))}
    return assemble(replace(last.own, values=values), last.system)


def _allows(last: Context, newest: Context) -> bool:
    """Whether the newest file, errors or not, still has Microsoft 365 on."""
    if newest.own.switch is not None:
        return newest.own.switch
    undecided = any(each.key == "replicate_from_system" for each in newest.own.problems)
    replicates = last.replicates if undecided else newest.replicates
    written = newest.system.values.get(_SWITCH, ()) if newest.system else ()
    return replicates and any(each.value is True for each in written[:1])
