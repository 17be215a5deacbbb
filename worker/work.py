"""What the pump hands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from worker.ledger.rows import Claim


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed job with the settings it goes under."""

    claim: Claim
    settings: EffectiveSettings
