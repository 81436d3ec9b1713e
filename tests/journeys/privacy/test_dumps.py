"""No process that opens keys or media leaves its memory to a core dump, or to others of its user."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

PR_CAPBSET_DROP = 24
CAPABILITIES = 41
READ = "import sys; print(len(open(f'/proc/{sys.argv[1]}/environ', 'rb').read()))"


def without_rights() -> None:
    """Have what is executed next be no more than its user, also where that is root."""
    libc = ctypes.CDLL(None)
    for number in range(CAPABILITIES):
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


def readable(pid: int) -> bool:
    """Return whether another process of the same user may look into this one."""
    line = [sys.executable, "-c", READ, str(pid)]
    return subprocess.run(line, preexec_fn=without_rights, capture_output=True, check=False).returncode == 0


def cores(pid: int) -> list[str]:
    """Give the soft and the hard limit of a core dump."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[4:6] for line in lines if line.startswith("Max core file size"))


@pytest.mark.parametrize(
    "words", [("serve",), ("export", "0a64dd1c-0000-4000-8000-000000000001", "-o", "out.wav"), ("verify",)]
)
def test_a_command_forbids_core_dumps_before_reading_its_config(tmp_path: Path, words: tuple[str, ...]) -> None:
    config = tmp_path / "recorder.toml"
    os.mkfifo(config)
    line = [sys.executable, "-m", "recorder", *words, "--config", str(config)]
    process = subprocess.Popen(
        line, preexec_fn=without_rights, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=Path.cwd()
    )
    try:
        writing = os.open(config, os.O_WRONLY)  # it reads its configuration now
        assert cores(process.pid) == ["0", "0"]
        assert not readable(process.pid)
        os.close(writing)
    finally:
        process.kill()
        process.wait()
