"""config/recorder.service as it is under a real systemd: restart, kill, watchdog, upgrade, stop, with calls running."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.machine import machine


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_torture_the_unit_under_a_real_systemd(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        words = ["/opt/recorder/.venv/bin/python", "-m", "pytest", "-p", "no:cacheprovider", "-v", "-x", "--tb=short"]
        done = one.call(*words, "tests/journeys/crashes/systemd_unit_checks.py", seconds=540)
    print(done.stdout)
    assert done.returncode == 0
