"""Settings: flag, then `ORCH_*`, then the project file `orch.yaml` (searched upward), then the user's file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Settings:
    """All settings of one call."""

    def __init__(self, flags: Mapping[str, Any]) -> None:
        self._flags = flags

    @classmethod
    def of(cls, flags: Mapping[str, Any]) -> Settings:
        """Return the settings under these flags."""
        return cls(flags)

    @property
    def home(self) -> Path:
        """The orch home."""
        return Path(self._flags.get("home") or "~/.orch").expanduser()
