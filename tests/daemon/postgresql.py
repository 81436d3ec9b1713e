"""A PostgreSQL server of this machine in a folder of its own that a test may stop and start."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WAIT = ("-w", "-t", "100")  # seconds that a busy machine may take


class Cluster:
    """Reached by a Unix socket only."""

    def __init__(self, place: Path, programs: Path, user: pwd.struct_passwd | None, options: str) -> None:
        self.place, self._programs, self._options = place, programs, options
        #: Whom it runs as, for subprocess.
        self.user: dict[str, Any] = {}
        if user is not None:
            self.user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.url = f"postgresql+asyncpg://rec@/recorder_{{customer}}?host={place}"
        self._call("initdb", "-D", place / "data", "-U", "rec", "-A", "trust", "--no-sync")

    @property
    def log(self) -> Path:
        """What the server wrote about what it was asked."""
        return self.place / "log"

    def give(self, path: Path) -> None:
        """Make a file one of whom it runs as."""
        if self.user:
            os.chown(path, self.user["user"], self.user["group"])

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-k {self.place} -c listen_addresses= -c fsync=off {self._options}"
        self._call("pg_ctl", "-D", self.place / "data", "-l", self.log, "-o", options, *WAIT, "start")

    def stop(self) -> None:
        """Stop it at once, whoever is connected."""
        if (self.place / "data" / "postmaster.pid").exists():
            self._call("pg_ctl", "-D", self.place / "data", "-m", "immediate", *WAIT, "stop")

    def ask(self, database: str, statement: str) -> str:
        """Return what psql prints for a statement."""
        words = [str(self._programs / "psql"), "-h", str(self.place), "-U", "rec", "-d", database, "-Atc", statement]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    def _call(self, program: str, *words: object) -> None:
        line = [str(self._programs / program), *map(str, words)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self.place}
        subprocess.run(line, check=True, **quiet, **self.user)


@contextmanager
def cluster(options: str = "") -> Iterator[Cluster]:
    """Make a cluster that does not run yet, with some more options; skip the test where there is no PostgreSQL."""
    pytest.importorskip("asyncpg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    user = _ordinary_user()
    place = Path(tempfile.mkdtemp(prefix="pg-"))
    if user is not None:
        os.chown(place, user.pw_uid, user.pw_gid)
    one = Cluster(place, found[-1].parent, user, options)
    try:
        yield one
    finally:
        one.stop()
        shutil.rmtree(place, ignore_errors=True)


def _ordinary_user() -> pwd.struct_passwd | None:
    """Return whom PostgreSQL runs as if we are root, which it refuses."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL refuses to run as root and there is no user postgres or nobody")
