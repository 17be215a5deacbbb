"""All settings at one moment: what a worker asks for each job."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from config.errors import (
    InvalidContext,
    NoUser,
    Problem,
    UnknownCompany,
    UnknownUser,
    Unresolved,
)
from config.linter import lint
from config.registration import Registration, registration_of
from config.resolve import resolve
from config.rules import held_values, registered, user_held_values
from config.values import SYSTEM, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from config.context import Context
    from config.effective import EffectiveSettings
    from config.layer import Layer

_NAMED = 3


@dataclass(frozen=True, slots=True)
class ContextState:
    """One context as it stands.

    Attributes:
        current: what is in force: the newest that is right, or None where nothing ever was.
        errors: what is wrong with the newest, if anything; the users' apart.
        warnings: what works but should be known.
        users: each user's file in force, or None where nothing ever was right.
        user_errors: what is wrong with each user's newest file.
        user_warnings: the same as ``warnings``, of the users' files.
    """

    current: Context | None
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    users: Mapping[str, Layer | None] = field(default_factory=dict)
    user_errors: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    user_warnings: tuple[Problem, ...] = ()


class Settings:
    """A snapshot; it never changes, and may be shared between threads.

    Args:
        states: every context; ``_system`` is always there.
        shared: the system's file as far as all contexts share it, None where it can't be told.
        problems: errors that hold nobody's mail.
    """

    def __init__(
        self,
        states: Mapping[str, ContextState],
        shared: Layer | None,
        problems: tuple[Problem, ...] = (),
    ) -> None:
        self._states = states
        self._shared = shared
        self._problems = problems
        self._resolved: dict[tuple[str | None, str | None, Kind], EffectiveSettings] = {}

    def resolve(self, company: str | None, user: str | None, kind: Kind) -> EffectiveSettings:
        """What is in force for a job of this company (None: the system), user and kind.

        Raises:
            UnknownCompany: there is no such company (yet).
            InvalidContext: the context or the user has errors and never was right.
            NoUser: no user is named, and there is no ``default_user``.
            UnknownUser: the context has no such user.
        """
        known = self._resolved.get((company, user, kind))
        if known is None:
            known = self._resolve(company, user, kind)
            self._resolved[company, user, kind] = known
        return known

    def contexts(self) -> tuple[str, ...]:
        """Every context's id, the system's first."""
        return (SYSTEM, *sorted(self._states.keys() - {SYSTEM}))

    def users(self, context: str) -> tuple[str, ...]:
        """The users of a context, by id."""
        return tuple(sorted(self._states[context].users))

    def errors_by_context(self) -> dict[str, tuple[Problem, ...]]:
        """All errors; a context without any is not in it, ``_environment`` may be."""
        found: dict[str, list[Problem]] = {}
        for context in self.contexts():
            state = self._states[context]
            for errors in (state.errors, *state.user_errors.values()):
                found.setdefault(context, []).extend(errors)
        for problem in self._problems:
            found.setdefault(problem.context, []).append(problem)
        return {
            context: tuple(dict.fromkeys(errors)) for context, errors in found.items() if errors
        }

    def with_problem(self, problem: Problem) -> Settings:
        """The same settings, with one more error that holds nobody's mail."""
        return Settings(self._states, self._shared, (*self._problems, problem))

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What works but should be known; told when asked, since every user is resolved for it."""
        states = [self._states[context] for context in self.contexts()]
        told = [each for state in states for each in (*state.warnings, *state.user_warnings)]
        return tuple(dict.fromkeys([*told, *lint(self._in_force())]))

    @property
    def context_warnings(self) -> tuple[Problem, ...]:
        """What works in a whole context but is dangerous: cheap to tell, so each start says it."""
        return tuple(each for name in self.contexts() for each in self._states[name].warnings)

    def _in_force(self) -> Iterator[EffectiveSettings]:
        """What is in force for every user and every kind of job, as far as it can be told."""
        for context in self.contexts():
            for user, kind in itertools.product(self.users(context), get_args(Kind)):
                with contextlib.suppress(Unresolved):
                    yield self.resolve(None if context == SYSTEM else context, user, kind)

    @property
    def held(self) -> tuple[Problem, ...]:
        """Every written value that this version accepts but cannot serve."""
        found: dict[Problem, None] = {}
        for context in self.contexts():
            state = self._states[context]
            if state.current is not None:
                found.update(dict.fromkeys(held_values(state.current)))
            for user in state.users.values():
                if user is not None:
                    found.update(dict.fromkeys(user_held_values(user)))
        return tuple(found)

    def registration_keys(self) -> frozenset[str]:
        """The key of every app registration in force, as holds name it."""
        return frozenset(each.key for each in self.registrations())

    def registrations(self) -> tuple[Registration, ...]:
        """Every app registration in force; a company that replicates the system's has the same."""
        currents = (self._states[context].current for context in self.contexts())
        found = (
            registration_of(each.__getitem__) for each in currents if each and registered(each)
        )
        return tuple(dict.fromkeys(found))

    def default_user(self, context: str) -> str | None:
        """Whose Email tab a job of this context gets that names no user."""
        current = self._states[context].current
        return None if current is None else current["smtp.default_user"]

    def _resolve(self, company: str | None, user: str | None, kind: Kind) -> EffectiveSettings:
        context = SYSTEM if company is None else company
        if context not in self._states or company == SYSTEM:
            raise UnknownCompany(f"there is no company {_name(company)} in the settings")
        state = self._states[context]
        if state.current is None:
            raise InvalidContext(_spoken(context), state.errors)
        if kind == "batch" and self._shared is None:
            raise InvalidContext(_spoken(SYSTEM), self._states[SYSTEM].errors)
        if user is None:
            user = self.default_user(context)
            if user is None:
                file = state.current.own.place.file
                raise NoUser(f"the job names no user, and {file} has no smtp.default_user")
        if user not in state.users and state.errors:
            raise InvalidContext(_spoken(context), state.errors)
        if user not in state.users:
            raise UnknownUser(self._unknown_user(context, user))
        layer = state.users[user]
        if layer is None:
            raise InvalidContext(f"{_spoken(context)}/{user}", state.user_errors[user])
        return resolve(state.current, layer, kind, self._shared)

    def _unknown_user(self, context: str, user: str) -> str:
        """``jane is a user of the system, not of acme``."""
        elsewhere = [_spoken(each) for each in self.contexts() if user in self._states[each].users]
        if not elsewhere:
            return f"{_spoken(context)} has no user {_name(user)}"
        named = ", ".join(elsewhere[:_NAMED]) + (" and others" if elsewhere[_NAMED:] else "")
        return f"{user} is a user of {named}, not of {_spoken(context)}"


def sender_allowed(effective: EffectiveSettings, sender: str) -> bool:
    """Whether this user may send as ``sender``, one address without a name.

    ``@example.nz`` stands for every address of exactly that domain. Case does not matter, and a
    domain may be written in Unicode or in A-labels on either side.
    """
    local, at, _ = sender.rpartition("@")
    if not at or not local or "@" in local or any(each in sender for each in ' <>,;"\r\n\t'):
        return False
    wanted = _comparable(sender)
    for pattern in map(_comparable, effective.allowed_from):
        if wanted == pattern or (pattern.startswith("@") and wanted.endswith(pattern)):
            return True
    return False


def _comparable(address: str) -> str:
    local, _, domain = address.rpartition("@")
    with contextlib.suppress(UnicodeError):  # no name of a host equals only itself
        domain = domain.encode("idna").decode()
    return f"{local}@{domain}".casefold()


def _spoken(context: str) -> str:
    return "the system" if context == SYSTEM else context


def _name(text: str | None) -> str:
    """A name from outside, safe in one line."""
    cut = "".join(each if each.isprintable() else "?" for each in text or "")[:64]
    return f'"{cut}"'
