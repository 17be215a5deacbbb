"""TOML tree, environment, secret files → layers: the one module that walks the tree.

A file is read again only when its signature, or that of a file it points at, has changed.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from config.company import CompanySettings
from config.environment import PREFIX, Owner, Variable, assign, is_setting
from config.errors import NoSettings, Problem
from config.layer import Layer, Override, Place, Strength, build, unreadable
from config.secret_files import Files, Signature, signature
from config.system import SystemSettings
from config.user import UserSettings
from config.values import COMPANY_ID, ENVIRONMENT, SYSTEM, USER_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from config.table import Table
    from config.values import LayerName

SYSTEM_FILE: Final = "system.toml"
COMPANY_FILE: Final = "company.toml"
_SETTLED_SECONDS: Final = 2.0
"""A file changed less than this before it was read may change again without a new time stamp
(coarse clocks of file systems), so it is read once more."""
_UNSETTLED: Final[Signature] = (-1, -1, -1, -1)
"""No file's signature, so that the next poll looks again."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that the tree said at one moment.

    Attributes:
        layers: one for each file, by its owner; a file that cannot be read has one with a problem.
        problems: what belongs to no file: wrong names, variables that mean nothing.
        watched: every path whose change calls for another reading.
    """

    layers: Mapping[Owner, Layer]
    problems: tuple[Problem, ...]
    watched: Mapping[Path, Signature | None]


@dataclass(slots=True)
class _Tree:
    """Where the files are."""

    places: dict[Owner, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, context: str, user: str | None, layer: LayerName, root: Path, path: Path) -> None:
        file = path.relative_to(root).as_posix()
        self.places[context, user] = Place(context, user, layer, file, path)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A layer with what it was read from."""

    seen: Mapping[Path, Signature | None]
    overrides: list[Override]
    layer: Layer
    settled: bool


class Source:
    """Reads a settings tree, and reads it again at little cost.

    Args:
        root: the tree.
        environ: the variables of the process; only ``POSTMETER_`` ones are looked at.
        secrets: a folder with one file for each secret, named like its variable.
        clock: seconds since the epoch, as file systems stamp.
    """

    def __init__(
        self,
        root: Path,
        environ: Mapping[str, str],
        *,
        secrets: Path | None,
        clock: Callable[[], float],
    ) -> None:
        self.root = root
        self._secrets = secrets
        self._clock = clock
        self._kept: dict[Owner, _Kept] = {}
        self._variables = [
            Variable(name, text, name) for name, text in sorted(environ.items()) if is_setting(name)
        ]

    def read(self) -> Reading:
        """Read what has changed.

        Raises:
            NoSettings: the tree is not there or cannot be listed.
        """
        watched: dict[Path, Signature | None] = {}
        try:
            tree = self._scan(watched)
        except OSError as error:
            raise NoSettings(f"{self.root}: cannot read the settings ({error.strerror})") from None
        users: dict[str, list[str]] = {context: [] for context, _ in tree.places}
        for context, user in tree.places:
            if user is not None:
                users[context].append(user)
        variables, problems = self._secret_variables(watched)
        overrides, unknown = assign([*self._variables, *variables], users)
        kept = {
            owner: self._read(owner, place, overrides.get(owner, []))
            for owner, place in tree.places.items()
        }
        self._kept = kept
        for each in kept.values():
            watched.update(each.seen)
        return Reading(
            layers={owner: each.layer for owner, each in kept.items()},
            problems=(*tree.problems, *problems, *unknown),
            watched={
                path: seen if self._settled(seen) else _UNSETTLED for path, seen in watched.items()
            },
        )

    def _scan(self, watched: dict[Path, Signature | None]) -> _Tree:
        """Find the files; each folder is stamped before it is listed."""
        tree = _Tree()
        watched[self.root] = signature(self.root)
        list(os.scandir(self.root))
        tree.add(SYSTEM, None, "system", self.root, self.root / SYSTEM_FILE)
        self._scan_users(tree, SYSTEM, self.root / "users", watched)
        # An unreadable companies/ ends the reading: its companies must not look as if removed.
        for path in _listed(self.root / "companies", watched):
            if not path.is_dir():
                continue
            if not COMPANY_ID.fullmatch(path.name) or path.name == SYSTEM:
                what = "no id of a company: write a-z, 0-9, then also _ -"
                tree.problems.append(self._misnamed(ENVIRONMENT, path, what))
                continue
            watched[path] = signature(path)
            tree.add(path.name, None, "company", self.root, path / COMPANY_FILE)
            self._scan_users(tree, path.name, path / "users", watched)
        return tree

    def _scan_users(
        self, tree: _Tree, context: str, folder: Path, watched: dict[Path, Signature | None]
    ) -> None:
        try:
            listed = _listed(folder, watched)
        except OSError as error:
            name = folder.relative_to(self.root).as_posix()
            what = f"cannot list this folder ({error.strerror})"
            tree.problems.append(Problem(context, None, name, "", what))
            return
        for path in listed:
            if path.suffix != ".toml":
                continue
            if USER_ID.fullmatch(path.stem):
                tree.add(context, path.stem, "user", self.root, path)
            else:
                what = "no id of a user: write a-z, 0-9, then also . _ -"
                tree.problems.append(self._misnamed(context, path, what))

    def _misnamed(self, context: str, path: Path, what: str) -> Problem:
        name = path.relative_to(self.root).as_posix()
        return Problem(context, path.stem, re.sub(r"[^\x20-\x7e]", "?", name), "", what)

    def _read(self, owner: Owner, place: Place, overrides: list[Override]) -> _Kept:
        """The layer of one file, from memory where nothing that it was read from has changed."""
        kept = self._kept.get(owner)
        if (
            kept
            and kept.settled
            and kept.overrides == overrides
            and all(signature(path) == seen for path, seen in kept.seen.items())
        ):
            return kept
        files = Files(self._secrets)
        files.seen[place.path] = signature(place.path)
        layer = _decode(place, overrides, files)
        if kept and kept.layer == layer:
            layer = kept.layer
        return _Kept(files.seen, overrides, layer, all(map(self._settled, files.seen.values())))

    def _settled(self, seen: Signature | None) -> bool:
        changed_seconds = seen[1] / 1e9 if seen else 0.0
        return abs(self._clock() - changed_seconds) > _SETTLED_SECONDS

    def _secret_variables(
        self, watched: dict[Path, Signature | None]
    ) -> tuple[list[Variable], list[Problem]]:
        """The files of the secrets directory that speak of the tree."""
        variables: list[Variable] = []
        problems: list[Problem] = []
        files = Files()
        for path in _listed(self._secrets, watched) if self._secrets else ():
            name = path.name.upper()
            if not name.startswith(PREFIX) or not is_setting(name):
                continue
            try:
                text = files.mounted_secret(path)
            except ValueError as error:
                problems.append(Problem(ENVIRONMENT, None, str(path), "", str(error)))
            else:
                variables.append(Variable(name, text, str(path), Strength.SECRET_FILE))
        watched.update(files.seen)
        return variables, problems


def _listed(folder: Path, watched: dict[Path, Signature | None]) -> list[Path]:
    """What a folder holds, by name, hidden names left out; nothing where there is no folder."""
    watched[folder] = signature(folder)
    if watched[folder] is None:
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _decode(place: Place, overrides: list[Override], files: Files) -> Layer:
    try:
        raw: dict[str, Any] = tomllib.loads(place.path.read_bytes().decode())
    except FileNotFoundError:
        return unreadable(place, "this file is missing")
    except OSError as error:
        return unreadable(place, f"cannot read this file ({error.strerror})")
    except UnicodeDecodeError:
        return unreadable(place, "this file is not UTF-8 text")
    except RecursionError:
        return unreadable(place, "this file is not TOML: nested too deeply")
    except ValueError as error:  # TOMLDecodeError, and int() for a number of 5,000 digits
        return unreadable(place, f"this file is not TOML: {error}")
    return build(place, _model(place), raw, overrides, files)


def _model(place: Place) -> type[Table]:
    if place.user is not None:
        return UserSettings
    return SystemSettings if place.context == SYSTEM else CompanySettings
