"""The system, or one company: which of the values written for it is in force, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from config.company import CompanySettings
from config.effective import Loser, Provenance
from config.layer import Layer, Written, shown
from config.office365 import USER_SETS, is_of_the_registration, smtp_sets
from config.system import SystemSettings
from config.table import Key, keys
from config.user import UserSettings
from config.values import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from config.office365 import Preset

KEYS: Final[dict[str, Key]] = {
    key.dotted: key
    for model in (SystemSettings, CompanySettings, UserSettings)
    for key in keys(model)
}
"""Every key there is, by its dotted name."""

SYSTEM_ONLY: Final = frozenset(
    {key.dotted for key in keys(SystemSettings)} - {key.dotted for key in keys(CompanySettings)}
)
"""The keys that a company does not have: its jobs come under the system's."""

_REGISTRATION: Final = "microsoft_365."
_MODEL: Final = "smtp.authentication_model"
_WEIGHT: Final = "limits.weight"


@dataclass(frozen=True, slots=True)
class Picked:
    """The value in force of one key, and those that are not, each with the reason."""

    written: Written
    lost: tuple[tuple[Written, str], ...] = ()

    @property
    def value(self) -> Any:
        """The value itself."""
        return self.written.value

    def provenance(self) -> Provenance:
        """The same for whoever asks where the value comes from."""
        winner = self.written
        losers = tuple(
            Loser(each.layer, f"{each.file}: {each.key}", shown(KEYS[winner.key], each.value), why)
            for each, why in self.lost
            if each.layer != "default"
        )
        return Provenance(winner.layer, winner.file or None, winner.key, losers)


@dataclass(frozen=True, slots=True)
class Context:
    """One context's layers, put together.

    Attributes:
        own: its own file.
        system: the system's file; None for the system itself, and where that has no settings.
        values: for each key of a context, what is in force.
    """

    own: Layer
    system: Layer | None
    values: Mapping[str, Picked]

    @property
    def id(self) -> str:
        """``_system`` or the company's id."""
        return self.own.place.context

    @property
    def replicates(self) -> bool:
        """Whether values left out are the system's."""
        return _replicates(self.own)

    def __getitem__(self, dotted: str) -> Any:
        return self.values[dotted].value

    def with_oauth2_by(self, choice: Written) -> Mapping[str, Picked]:
        """The values for a user who chose OAuth2 where the context did not.

        The user's file has no keys of ``[smtp]`` that could win, so OAuth2 replaces what the
        context wrote; only variables, by which an operator overrides everything, stay.
        """
        sets = _set_by(
            choice, smtp_sets(self["microsoft_365.cloud"], self["microsoft_365.smtp_host"])
        )
        changed = {_MODEL: Picked(choice, self._lost(_MODEL, "the user's choice wins"))}
        for dotted, written in sets.items():
            if self.values[dotted].written.layer != "environment":
                changed[dotted] = Picked(written, self._lost(dotted, "the user chose oauth2"))
        return {**self.values, **changed}

    def _lost(self, dotted: str, why: str) -> tuple[tuple[Written, str], ...]:
        picked = self.values[dotted]
        return ((picked.written, why), *picked.lost)


def assemble(own: Layer, system: Layer | None) -> Context:
    """Put a context together from its own file and the system's."""
    others = frozenset() if own.place.context == SYSTEM else SYSTEM_ONLY
    dotted_keys = [
        dotted for dotted in KEYS if dotted not in others and not dotted.startswith("email.")
    ]
    model = _pick(_MODEL, own, system, {}, oauth2_in_own=False)
    values: dict[str, Picked] = {}
    sets: Mapping[str, Written] = {}
    oauth2_in_own = model.written in own.values.get(_MODEL, ())
    if model.value == "oauth2":
        cloud, host = (
            _pick(f"{_REGISTRATION}{name}", own, system, {}, oauth2_in_own=False).value
            for name in ("cloud", "smtp_host")
        )
        sets = _set_by(model.written, smtp_sets(cloud, host))
    for dotted in dotted_keys:
        values[dotted] = _pick(dotted, own, system, sets, oauth2_in_own=oauth2_in_own)
    return Context(own, system, values)


def pick_alone(dotted: str, layer: Layer | None, preset: Preset | None = None) -> Picked:
    """What is in force of a key that only one file can have: a user's, or one of the system.

    Args:
        dotted: the key.
        layer: that file.
        preset: who sets the limits of this mailbox beside the user, if anybody does.
    """
    chain = list(_own(layer, dotted)) if layer else []
    if preset is not None and dotted in USER_SETS:
        written = Written(USER_SETS[dotted], preset.layer, preset.file, dotted)
        chain.append((written, "the user's own value wins"))
    return _first((*chain, _default(dotted)))


def _pick(
    dotted: str,
    own: Layer,
    system: Layer | None,
    sets: Mapping[str, Written],
    *,
    oauth2_in_own: bool,
) -> Picked:
    """The order: own values, what OAuth2 set in the own file, the system's, OAuth2 there, default."""
    chain: list[tuple[Written, str]] = list(_own(own, dotted))
    set_by = [(sets[dotted], "keys written in the same file win")] if dotted in sets else []
    replicated = list(_replicated(dotted, own, system))
    active = [each for each in replicated if each[1] == _REPLICATED]
    why = "choosing oauth2 replaces replicated values" if oauth2_in_own and set_by else _REPLICATED
    active = [(written, why) for written, _ in active]
    chain += [*set_by, *active] if oauth2_in_own else [*active, *set_by]
    picked = _first((*chain, _default(dotted)))
    idle = tuple(each for each in replicated if each[1] != _REPLICATED)
    return Picked(picked.written, (*picked.lost, *idle))


_REPLICATED: Final = "the company's own value wins"


def _own(layer: Layer, dotted: str) -> Iterator[tuple[Written, str]]:
    for written in layer.values.get(dotted, ()):
        yield written, "environment wins over secret files, and these over TOML"


def _replicated(dotted: str, own: Layer, system: Layer | None) -> Iterator[tuple[Written, str]]:
    """The system's values as a company sees them: each with the reason why it may lose."""
    if system is None or dotted not in system.values:
        return
    why = _REPLICATED
    if not _replicates(own):
        why = "replicate_from_system is not on"
    elif dotted == _WEIGHT:
        why = "a weight is the context's own"
    elif is_of_the_registration(dotted) and any(map(is_of_the_registration, own.values)):
        why = "the company has a [microsoft_365] of its own"
    for written in system.values[dotted]:
        yield Written(written.value, "system", written.file, dotted), why


def _replicates(own: Layer) -> bool:
    return any(each.value is True for each in own.values.get("replicate_from_system", ())[:1])


def _set_by(choice: Written, sets: Mapping[str, Any]) -> dict[str, Written]:
    return {dotted: Written(value, "oauth2", choice.file, dotted) for dotted, value in sets.items()}


def _default(dotted: str) -> tuple[Written, str]:
    return Written(KEYS[dotted].default, "default", "", dotted), ""


def _first(chain: Iterable[tuple[Written, str]]) -> Picked:
    (winner, _), *lost = chain
    return Picked(winner, tuple(lost))
