"""Faults injected into one server: its disk fails, stalls or turns read-only, its clock is set (see trouble.c)."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("trouble.c")
FIELDS = {"write_errno": (0, "i"), "sync_errno": (4, "i"), "syncfs_fails": (8, "i"), "fsync_fails": (12, "i")}
FIELDS |= {"stalled": (16, "i"), "slow_us": (20, "i"), "ahead": (24, "q"), "hit": (32, "q")}
SIZE = 40


class Trouble:
    """The faults of a daemon; every change takes effect at once."""

    def __init__(self, folder: Path, library: Path, under: Path) -> None:
        self._file = folder / "trouble"
        self._file.write_bytes(bytes(SIZE))
        with self._file.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)
        self.environment = {"LD_PRELOAD": str(library), "TROUBLE": str(self._file), "TROUBLE_UNDER": str(under)}

    def set(self, **fields: int) -> None:
        """Change the faults."""
        for name, value in fields.items():
            at, form = FIELDS[name]
            struct.pack_into(form, self._map, at, value)

    @property
    def hit(self) -> int:
        """Return how many system calls failed or had to wait."""
        at, form = FIELDS["hit"]
        return int(struct.unpack_from(form, self._map, at)[0])


@pytest.fixture(scope="session")
def troublemaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the compiled library."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("a C compiler is needed to make the disk fail (apt-get install gcc libc6-dev)")
    made = tmp_path_factory.mktemp("trouble") / "trouble.so"
    line = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", str(made), str(SOURCE), "-ldl"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return made
