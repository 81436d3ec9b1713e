"""Where things lie unless somebody says otherwise; no import, for `recorder serve` starts through here."""

from __future__ import annotations

from pathlib import Path

DEFAULT_CONFIG = Path("/etc/recorder/recorder.toml")
