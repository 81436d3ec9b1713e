"""PostgreSQL over TLS and behind PgBouncer, as docs/postgresql.md says."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.database.database import Database, DatabaseAway
from storage.database.schema import days
from tests.daemon.pgbouncer import pgbouncer
from tests.daemon.postgresql import Cluster, cluster

NOW = datetime(2026, 3, 1, tzinfo=UTC)

pytestmark = pytest.mark.system


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def make_pair(key: Path, public: Path) -> None:
    """Make a certificate for `localhost` that is its own authority."""
    line = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost".split()
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*line, *names, "-keyout", str(key), "-out", str(public)], check=True, capture_output=True)


@pytest.fixture
def reached() -> Iterator[tuple[Cluster, int, Path]]:
    """Run a server that speaks TLS for `localhost`; return it with its port and its certificate."""
    port = free_port()
    with cluster(f"-c listen_addresses=127.0.0.1 -c port={port} -c ssl=on") as server:
        data = server.log.parent / "data"
        make_pair(data / "server.key", data / "server.crt")
        for name in ("server.key", "server.crt"):
            os.chown(data / name, data.stat().st_uid, data.stat().st_gid)
        server.start()
        yield server, port, data / "server.crt"


async def opened(url: str, folder: Path, statement: str) -> str:
    """Open a database, write a row, and return what it answers to a statement."""
    database = await Database.open(url, "acme", folder, NOW)
    try:
        async with database.writing() as connection:
            rows = (await connection.execute(sa.select(days.c.day))).all()
            await connection.execute(days.insert(), {"day": len(rows), "leaf": 1, "calls": 1})
        async with database.reading() as connection:
            return str((await connection.execute(sa.text(statement))).scalar())
    finally:
        await database.close()


async def test_the_servers_certificate_must_fit_authority_and_host(
    reached: tuple[Cluster, int, Path], tmp_path: Path
) -> None:
    _, port, certificate = reached
    url = f"postgresql+asyncpg://rec@localhost:{port}/recorder_{{customer}}?sslmode=verify-full&sslrootcert="
    shown = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert await opened(f"{url}{certificate}", tmp_path, shown) == "TLSv1.3"
    other = tmp_path / "other.crt"
    make_pair(tmp_path / "other.key", other)
    with pytest.raises(DatabaseAway, match="not accepted"):
        await opened(f"{url}{other}", tmp_path, shown)
    with pytest.raises(DatabaseAway, match="not accepted"):
        await opened(f"{url}{certificate}".replace("localhost", "127.0.0.1"), tmp_path, shown)


async def test_statements_are_not_compiled(reached: tuple[Cluster, int, Path], tmp_path: Path) -> None:
    assert await opened(reached[0].url + f"&port={reached[1]}", tmp_path, "SHOW jit") == "off"


@pytest.mark.parametrize(("mode", "connections"), [("session", 20), ("transaction", 2)])
async def test_pgbouncer_needs_no_option(tmp_path: Path, mode: str, connections: int) -> None:
    """In transaction pooling there are more transactions than connections, and each may get another one."""
    with cluster() as server:
        server.start()
        await opened(server.url, tmp_path, "SHOW jit")  # makes the database
        with pgbouncer(server, f"pool_mode = {mode}", connections) as between:
            assert await opened(between.url, tmp_path, "SHOW jit") == "off"
            database = await Database.open(between.url, "acme", tmp_path, NOW)

            async def write(number: int) -> int:
                async with database.writing() as connection:
                    await connection.execute(days.insert(), {"day": 1000 + number, "leaf": 1, "calls": 1})
                async with database.reading() as connection:
                    query = sa.select(sa.func.count()).where(days.c.day == 1000 + number)
                    return int(await connection.scalar(query) or 0)

            assert await asyncio.gather(*(write(number) for number in range(30))) == [1] * 30
            await database.close()


async def test_the_writable_one_of_two_servers_is_used(reached: tuple[Cluster, int, Path], tmp_path: Path) -> None:
    _, port, _ = reached
    hosts = f"host=127.0.0.1:{free_port()}&host=127.0.0.1:{port}"  # at the first nobody listens
    url = f"postgresql+asyncpg://rec@/recorder_{{customer}}?{hosts}&target_session_attrs=read-write"
    assert await opened(url, tmp_path, "SHOW transaction_read_only") == "off"
