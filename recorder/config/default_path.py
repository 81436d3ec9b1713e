"""Default path of the configuration; imports nothing, because `recorder serve` loads it before everything else."""

from __future__ import annotations

from pathlib import Path

DEFAULT_CONFIG = Path("/etc/recorder/recorder.toml")
