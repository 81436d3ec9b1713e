"""A clock that is set while the recorder runs, or while it is away, brings no erasure forward."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recorder.runtime.trusted_clock import WallClock, boot_id, readings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BOOT = "b" * 32


@pytest.mark.parametrize("jump", [timedelta(days=-7), timedelta(days=30), timedelta(days=3650)])
def test_a_clock_jump_gains_no_more_than_the_time_passed(tmp_path: Path, jump: timedelta) -> None:
    clock = WallClock(tmp_path / "clock", BOOT, NOON, 100.0)
    for hours in range(1, 50):
        passed = timedelta(hours=hours)
        decided = clock.read(NOON + passed + jump, 100.0 + passed.total_seconds())
        assert decided <= NOON + passed
        assert decided == min(NOON + passed, NOON + passed + jump)
    assert clock.read(NOON + timedelta(days=3), 100.0 + 259_200) == NOON + timedelta(days=3)


def test_a_restart_with_a_set_clock_trusts_the_kernel(tmp_path: Path) -> None:
    WallClock(tmp_path / "clock", BOOT, NOON, 100.0).keep()
    again = WallClock(tmp_path / "clock", BOOT, NOON + timedelta(days=3650), 160.0)
    assert again.read(NOON + timedelta(days=3650), 160.0) == NOON + timedelta(seconds=60)
    again.keep()
    assert (tmp_path / "clock").stat().st_mode & 0o777 == 0o600


def test_a_clock_creeping_ahead_gains_at_most_a_minute(tmp_path: Path) -> None:
    WallClock(tmp_path / "clock", BOOT, NOON, 0.0).keep()
    decided = NOON
    for reading in range(1, 500):
        clock = WallClock(tmp_path / "clock", BOOT, decided + timedelta(seconds=60), float(reading))
        for _ in range(3):
            decided = clock.read(decided + timedelta(seconds=59), float(reading))
        assert decided <= NOON + timedelta(seconds=reading + 60)


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"boot":"' + BOOT.encode() + b'","wall":"x","passed":1}', b"[]"])
def test_another_boot_or_a_damaged_file_begins_anew(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "clock").write_bytes(damage)
    assert WallClock(tmp_path / "clock", BOOT, NOON, 5.0).read(NOON, 5.0) == NOON
    WallClock(tmp_path / "clock", BOOT, NOON, 5.0).keep()
    later = NOON + timedelta(days=9)
    for boot in ("c" * 32, ""):
        assert WallClock(tmp_path / "clock", boot, later, 1.0).read(later, 1.0) == later


def test_this_machine_has_both_clocks(tmp_path: Path) -> None:
    wall, passed = readings()
    assert wall.tzinfo is UTC and passed > 0 and len(boot_id()) in (0, 36)
    clock = WallClock.of(tmp_path)
    assert abs(clock.read(*readings()) - wall) < timedelta(minutes=1)
