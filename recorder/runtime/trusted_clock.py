"""The time by which retention decides: the wall clock, trusted only as far as it agrees with the kernel's seconds.

The first reading after a boot is trusted and kept in the runtime directory with the boot's id, so that a clock that was
changed while the daemon was not running is not trusted after a restart. A clock that runs ahead of the trusted time
erases nothing early. A clock that was set back is used as it is, because calls recorded now carry its times.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from storage.retention.policy import TrustedClock
from storage.timestamps import from_text, to_text

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class WallClock:
    """The time by which one node decides; each reading advances it."""

    def __init__(self, file: Path, boot: str, wall: datetime, passed: float) -> None:
        """Continue from the file if it is of this boot; `passed` counts seconds since the boot, including sleep."""
        self._file = file
        self._boot = boot
        kept = _kept(file, boot)
        self._known = kept is not None
        self._clock = kept or TrustedClock(wall, passed)

    @classmethod
    def of(cls, runtime_dir: Path) -> WallClock:
        """Return the clock of this machine."""
        return cls(runtime_dir / "clock", boot_id(), *readings())

    def read(self, wall: datetime, passed: float) -> datetime:
        """Return the time by which to decide."""
        self._clock = self._clock.advance(wall, passed)
        return min(self._clock.wall, wall)

    def keep(self) -> None:
        """Write the trusted time to the file, once a boot; without the file a restart trusts the wall clock again."""
        if self._known:
            return
        known = {"boot": self._boot, "wall": to_text(self._clock.wall), "passed": self._clock.monotonic}
        draft = self._file.with_name(self._file.name + ".part")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, json.dumps(known).encode())
        finally:
            os.close(descriptor)
        draft.rename(self._file)
        self._known = True


def readings() -> tuple[datetime, float]:
    """Read the wall clock and the seconds since the boot, including sleep."""
    return datetime.now(UTC), time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return the id of this boot, "" if the system has none: then nothing of an earlier run is trusted."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _kept(file: Path, boot: str) -> TrustedClock | None:
    try:
        known = json.loads(file.read_bytes())
        if not boot or known["boot"] != boot:
            return None
        return TrustedClock(from_text(known["wall"]), float(known["passed"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
