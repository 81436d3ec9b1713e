"""A PostgreSQL server in a folder of its own that a test may stop and start, and a standby that follows it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WAIT = ("-w", "-t", "100")  # seconds that a busy machine may take
PATIENCE = 60.0


class Cluster:
    """Reached by a Unix socket only.

    With `primary` it is a standby of that server, which replicates to it asynchronously, as Patroni's default is. With
    `archive` every segment of the write-ahead log is kept in the folder of that name.
    """

    def __init__(
        self, place: Path, programs: Path, user: pwd.struct_passwd | None, options: str,
        primary: Cluster | None = None, archive: bool = False,
    ) -> None:  # fmt: skip
        self.place, self.programs, self._options, self._primary = place, programs, options, primary
        self.archive = place / "archive"
        #: Whom it runs as, for subprocess.
        self.user: dict[str, Any] = {}
        if user is not None:
            self.user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.url = f"postgresql+asyncpg://rec@/recorder_{{customer}}?host={place}"
        if archive:
            self.archive.mkdir()
            self.give(self.archive)
            self._options += f" -c archive_mode=on -c archive_command='cp %p {self.archive}/%f'"
        if primary is None:
            self._call("initdb", "-D", place / "data", "-U", "rec", "-A", "trust", "--no-sync")
        else:
            primary.copy(place / "data", "-R")

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

    def copy(self, folder: Path, *words: str) -> None:
        """Make a base backup of it while it runs."""
        self._call("pg_basebackup", "-h", self.place, "-U", "rec", "-D", folder, "-c", "fast", "--no-sync", *words)

    def caught_up(self) -> None:
        """Wait until a standby has everything that was committed before."""
        if self._primary is not None:
            self._until(f"select pg_last_wal_replay_lsn() >= '{self._primary.written()}'")

    def written(self) -> str:
        """Return the end of its write-ahead log."""
        return self.ask("postgres", "select pg_current_wal_lsn()")

    def detach(self) -> None:
        """Let a standby hear no more: what is committed from now on is lost when it is promoted."""
        self.ask("postgres", "alter system set primary_conninfo = ''")
        self.ask("postgres", "select pg_reload_conf()")
        self._until("select count(*) = 0 from pg_stat_wal_receiver")

    def promote(self) -> None:
        """Make a standby the primary, whatever the other one does."""
        self.ask("postgres", "select pg_promote()")
        self._until("select not pg_is_in_recovery()")

    def _until(self, question: str) -> None:
        end = time.monotonic() + PATIENCE
        while self.ask("postgres", question) != "t":
            if time.monotonic() > end:
                raise TimeoutError(question)
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once, whoever is connected."""
        if (self.place / "data" / "postmaster.pid").exists():
            self._call("pg_ctl", "-D", self.place / "data", "-m", "immediate", *WAIT, "stop")

    def ask(self, database: str, statement: str) -> str:
        """Return what psql prints for a statement."""
        words = [str(self.programs / "psql"), "-h", str(self.place), "-U", "rec", "-d", database, "-Atc", statement]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    def _call(self, program: str, *words: object) -> None:
        line = [str(self.programs / program), *map(str, words)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self.place}
        subprocess.run(line, check=True, **quiet, **self.user)


@contextmanager
def cluster(options: str = "", primary: Cluster | None = None, *, archive: bool = False) -> Iterator[Cluster]:
    """Make a cluster that does not run yet, with some more options; skip the test where there is no PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    user = _ordinary_user()
    place = Path(tempfile.mkdtemp(prefix="pg-"))
    if user is not None:
        os.chown(place, user.pw_uid, user.pw_gid)
    one = Cluster(place, found[-1].parent, user, options, primary, archive)
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
