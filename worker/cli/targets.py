"""What a person may pause: ``all``, ``company:acme``, ``mailbox:acme/jane``, ``server:…``.

A name that stands for nothing is refused with the nearest one that does: a pause that was mistyped
would let everything go on, and nobody would notice.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from config.errors import ConfigError
from config.values import SYSTEM
from worker.outcome import HoldTarget, TargetKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeVar

    from config.settings import Settings

    F = TypeVar("F", bound=Callable[..., Any])

KINDS: Final = ("send", "batch", "compose")
FORMS: Final = (
    "all, system, company:ID, mailbox:ID/USER, server:HOST:PORT, or what `postmeter holds` shows"
)
_SHOWN: Final = 4
_ID: Final = r"[a-z0-9_][a-z0-9_-]{0,62}"
_WHOLE: Final = {TargetKind.ALL: "", TargetKind.SYSTEM: ""}
_KEYS: Final = {
    TargetKind.COMPANY: _ID,
    TargetKind.ACCOUNT: rf"{_ID}/[a-z0-9][a-z0-9._-]{{0,62}}",
    TargetKind.SERVER: r"\S+:[0-9]{1,5}",
    TargetKind.CREDENTIAL: r"\S+#[0-9a-f]{8}",
    TargetKind.SCOPE: r"\S+",
}
_OF_ONE_KIND: Final = frozenset(
    {TargetKind.ALL, TargetKind.SYSTEM, TargetKind.COMPANY, TargetKind.ACCOUNT}
)


class Written(NamedTuple):
    """A target as a person wrote it.

    Attributes:
        word: the person's word for what it is, as ``mailbox``.
    """

    word: str
    target: HoldTarget
    kind: str | None

    @property
    def whole(self) -> HoldTarget:
        """The target with the kind of its jobs, as it stands in the ledger."""
        return self.target.only(self.kind) if self.kind else self.target


def kind_option(command: F) -> F:
    """Add ``--kind`` to a command."""
    return click.option("--kind", type=click.Choice(KINDS), help="Only jobs of this kind.")(command)


def read_target(text: str, kind: str | None) -> Written:
    """Read a target, whether or not there is such a thing.

    Raises:
        UsageError: it is none, with what may be written.
    """
    word, _, key = text.partition(":")
    try:
        what = TargetKind("account" if word == "mailbox" else word)
    except ValueError:
        raise click.UsageError(f"{text!r} is no target: write {FORMS}") from None
    if what is TargetKind.BATCH:
        company, _, batch_id = key.partition("/")
        raise click.UsageError(
            f"a batch has commands of its own: postmeter batch pause|resume {batch_id or 'BATCH'}"
            f" --company {company or 'ID'}"
        )
    key, kind = _apart(what, key, kind)
    if what is TargetKind.SERVER:
        key = key.lower()
    pattern = _WHOLE.get(what, _KEYS.get(what, ""))
    if re.fullmatch(pattern, key) is None:
        raise click.UsageError(f"{text!r} is no target: write {FORMS}")
    if kind is not None and what not in _OF_ONE_KIND:
        raise click.UsageError(f"--kind goes with all, system, company: and mailbox:, not {text}")
    if what is TargetKind.COMPANY:
        return Written(word, HoldTarget.of_context(key), kind)
    return Written(word, HoldTarget(what, key), kind)


def _apart(what: TargetKind, key: str, kind: str | None) -> tuple[str, str | None]:
    """The key without the kind of jobs at its end, and that kind."""
    head, _, tail = key.rpartition(":")
    if what not in _OF_ONE_KIND or tail not in KINDS:
        return key, kind
    if kind not in {None, tail}:
        raise click.UsageError(f"{key!r} says {tail}, and --kind says {kind}")
    return head, tail


def check_exists(written: Written, settings: Settings | None, held: Iterable[str]) -> None:
    """Refuse what no mail comes under, as far as this machine knows.

    Args:
        settings: those of this machine; None where it has none, and every name is believed.
        held: the targets that something holds already.

    Raises:
        UsageError: there is no such thing; the nearest one that there is, or some of them.
    """
    target = written.target
    if settings is None or not target.key or str(target) in set(held):
        return
    if target.kind is TargetKind.SCOPE:
        raise click.UsageError(
            f"a limit is not paused by its name: write company:ID --kind batch, not {target}"
        )
    names = sorted(set(_keys(target.kind, settings)))
    if target.key in names:
        return
    near = difflib.get_close_matches(target.key, names, n=1, cutoff=0.5)
    some = ", ".join(f"{written.word}:{name}" for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    if near:
        hint = f"did you mean {written.word}:{near[0]}?"
    else:
        hint = f"there is {some}{more}" if names else f"the settings have no {written.word}"
    raise click.UsageError(f"there is no {written.word}:{target.key}; {hint}")


def _keys(what: TargetKind, settings: Settings) -> Iterator[str]:
    """Every key of this kind of target that the settings know."""
    if what is TargetKind.COMPANY:
        yield from (each for each in settings.contexts() if each != SYSTEM)
        return
    for context in settings.contexts():
        for user in settings.users(context):
            if what is TargetKind.ACCOUNT:
                yield f"{context}/{user}"
                continue
            try:
                found = settings.resolve(None if context == SYSTEM else context, user, "batch")
            except ConfigError:
                continue
            yield found.server if what is TargetKind.SERVER else found.credential
