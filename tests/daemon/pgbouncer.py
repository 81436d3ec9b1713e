"""A PgBouncer in front of a test's PostgreSQL server, reached like the server over a Unix socket."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.postgresql import Cluster

CONFIG = """
[databases]
* = host={server}
[pgbouncer]
listen_addr =
listen_port = 5432
unix_socket_dir = {place}
auth_type = trust
auth_file = {place}/users
pool_mode = transaction
default_pool_size = {connections}
max_prepared_statements = 0
server_login_retry = 1
query_wait_timeout = 5
logfile = {place}/log
{more}
"""
"""Two server connections for all of ours, and no support for prepared statements, as before version 1.21."""

PATIENCE = 60.0


class PgBouncer:
    """A PgBouncer that a test can stop and start."""

    def __init__(self, place: Path, server: Cluster, more: str, connections: int) -> None:
        self._server, self._place = server, place
        self._process: subprocess.Popen[bytes] | None = None
        self._config = {"place": place, "more": more, "connections": connections}
        self.url = f"postgresql+asyncpg://rec@/recorder_{{customer}}?host={place}"
        (place / "users").write_text('"rec" ""\n')
        self._write()
        for path in (place, *place.iterdir()):
            server.give(path)

    def _write(self) -> None:
        (self._place / "pgbouncer.ini").write_text(CONFIG.format(server=self._server.place, **self._config))

    def switch(self, server: Cluster) -> None:
        """Connect to another server from now on, as after a fail-over."""
        self._server = server
        self._write()
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    @property
    def log(self) -> str:
        """The text of its log."""
        return (self._place / "log").read_text()

    def start(self) -> None:
        """Start it and wait until it listens."""
        line = ["pgbouncer", str(self._place / "pgbouncer.ini")]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self._place}
        self._process = subprocess.Popen(line, **quiet, **self._server.user)
        end = time.monotonic() + PATIENCE
        while not (self._place / ".s.PGSQL.5432").exists():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("PgBouncer did not start")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it at once, despite open connections."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            for left in ("log", ".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
                (self._place / left).unlink(missing_ok=True)


@contextmanager
def pgbouncer(server: Cluster, more: str = "", connections: int = 2) -> Iterator[PgBouncer]:
    """Run a PgBouncer in front of a server, with more lines of configuration; skip the test if it is not installed."""
    if shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    place = Path(tempfile.mkdtemp(prefix="pgb-"))
    one = PgBouncer(place, server, more, connections)
    try:
        one.start()
        yield one
    finally:
        one.stop()
        shutil.rmtree(place, ignore_errors=True)
