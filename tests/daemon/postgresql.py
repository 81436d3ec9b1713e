"""A PostgreSQL server in its own folder that a test can stop and start, and a standby that follows it."""

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

WAIT = ("-w", "-t", "100")  # seconds; a busy machine is slow
PATIENCE = 60.0


class Cluster:
    """A server that is reached over a Unix socket only.

    With `primary`, it is an asynchronous standby of that server, which is Patroni's default. With `archive`, every
    segment of the write-ahead log is kept in the folder of that name.
    """

    def __init__(
        self, place: Path, programs: Path, user: pwd.struct_passwd | None, options: str,
        primary: Cluster | None = None, archive: bool = False,
    ) -> None:  # fmt: skip
        self.place, self.programs, self._options, self._primary = place, programs, options, primary
        self.archive = place / "archive"
        #: The user it runs as, as arguments of subprocess.
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
        """The file of its log, which may contain statements."""
        return self.place / "log"

    def give(self, path: Path) -> None:
        """Give a file to the user that the server runs as."""
        if self.user:
            os.chown(path, self.user["user"], self.user["group"])

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-k {self.place} -c listen_addresses= -c fsync=off {self._options}"
        self._call("pg_ctl", "-D", self.place / "data", "-l", self.log, "-o", options, *WAIT, "start")

    def copy(self, folder: Path, *words: str) -> None:
        """Make a base backup of the running server."""
        self._call("pg_basebackup", "-h", self.place, "-U", "rec", "-D", folder, "-c", "fast", "--no-sync", *words)

    def caught_up(self) -> None:
        """Wait until this standby has everything that the primary has committed so far."""
        if self._primary is not None:
            self._until(f"select pg_last_wal_replay_lsn() >= '{self._primary.written()}'")

    def written(self) -> str:
        """Return the current end of its write-ahead log."""
        return self.ask("postgres", "select pg_current_wal_lsn()")

    def detach(self) -> None:
        """Stop replication to this standby: later commits are lost when it is promoted."""
        self.ask("postgres", "alter system set primary_conninfo = ''")
        self.ask("postgres", "select pg_reload_conf()")
        self._until("select count(*) = 0 from pg_stat_wal_receiver")

    def promote(self) -> None:
        """Promote this standby, whatever the state of the primary."""
        self.ask("postgres", "select pg_promote()")
        self._until("select not pg_is_in_recovery()")

    def _until(self, question: str) -> None:
        end = time.monotonic() + PATIENCE
        while self.ask("postgres", question) != "t":
            if time.monotonic() > end:
                raise TimeoutError(question)
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server at once, despite open connections."""
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
    """Make a stopped cluster with more options; skip the test if PostgreSQL is not installed."""
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
    """Return the user that runs PostgreSQL if we are root, because it refuses to run as root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL refuses to run as root and there is no user postgres or nobody")
