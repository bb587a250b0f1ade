"""The settings: a table of variables, how their values are read, the directories they name."""

from pipeline.settings.settings import (
    Settings,
    SettingsError,
    Transformer,
    Transport,
    settings_table,
)

__all__ = ["Settings", "SettingsError", "Transformer", "Transport", "settings_table"]
