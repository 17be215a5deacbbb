"""What to send with: the settings of the system, its companies and their users."""

from config.effective import EffectiveSettings, Provenance
from config.errors import (
    ConfigError,
    InvalidContext,
    NoSettings,
    NoUser,
    Problem,
    ProcessInvalid,
    UnknownCompany,
    UnknownUser,
    Unresolved,
)
from config.settings import Settings, sender_allowed
from config.watcher import SettingsWatcher

__all__ = [
    "ConfigError",
    "EffectiveSettings",
    "InvalidContext",
    "NoSettings",
    "NoUser",
    "Problem",
    "ProcessInvalid",
    "Provenance",
    "Settings",
    "SettingsWatcher",
    "UnknownCompany",
    "UnknownUser",
    "Unresolved",
    "sender_allowed",
]
