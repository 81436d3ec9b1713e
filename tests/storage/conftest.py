"""What the tests of storage share: real keys in a temporary folder, and both databases."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from storage.database.database import Database
from storage.keys.key_store import CustomerKeys
from storage.keys.root_secret import RootSecret
from tests.in_process import storage_node as node
from tests.in_process.key_files import Data

BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.system)]
WAIT = ("-w", "-t", "100")  # seconds of patience with PostgreSQL on a busy machine


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """A data directory for the keys of a customer."""
    return Data(tmp_path / "data")


@pytest.fixture
def keys(tmp_path: Path) -> CustomerKeys:
    """Keys of a new customer."""
    return CustomerKeys.create(tmp_path / "keys", tmp_path / "customers" / "acme", "acme", RootSecret(bytes(range(32))))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a private PostgreSQL server on a Unix socket, with {customer} in it."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    pytest.importorskip("asyncpg")
    place = Path(tempfile.mkdtemp(prefix="pg-"))
    user = _ordinary_user()
    if user is None:
        shutil.rmtree(place)
        pytest.skip("PostgreSQL refuses to run as root and there is no user postgres or nobody")
    os.chown(place, user.pw_uid, user.pw_gid)
    run = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    try:
        _call([programs / "initdb", "-D", place / "data", "-U", "rec", "-A", "trust", "--no-sync"], place, run)
        options = f"-k {place} -c listen_addresses= -c fsync=off -c log_statement=all"
        start = [programs / "pg_ctl", "-D", place / "data", "-l", place / "log", "-o", options, *WAIT, "start"]
        _call(start, place, run)
        yield f"postgresql+asyncpg://rec@/recorder_{{customer}}?host={place}"
    finally:
        if (place / "data" / "postmaster.pid").exists():
            _call([programs / "pg_ctl", "-D", place / "data", "-m", "immediate", *WAIT, "stop"], place, run)
        shutil.rmtree(place, ignore_errors=True)


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def _ordinary_user() -> pwd.struct_passwd | None:
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def _call(command: list[object], place: Path, run: dict[str, object]) -> None:
    done = subprocess.run(  # type: ignore[call-overload]  # keywords differ between root and others
        [str(part) for part in command],
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        **run,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.decode()[-500:]}")


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest) -> str:
    """A database URL of each kind."""
    return "sqlite" if request.param == "sqlite" else str(request.getfixturevalue("postgresql"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tell every story of a node on both databases, unless it is about SQLite's own files."""
    told = getattr(metafunc.module, "story", None) is node.story
    if told and not list(metafunc.definition.iter_markers("sqlite")):
        metafunc.parametrize("story_database", BOTH, indirect=True)


@pytest.fixture(autouse=True)
def story_database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose the database of `node.story`, and have more patience with it than a recorder between calls has."""
    monkeypatch.setattr("storage.database.engines.CONNECT_SECONDS", 60.0)
    if getattr(request, "param", "sqlite") == "postgresql":
        monkeypatch.setattr(node.Kind, "url", request.getfixturevalue("postgresql"))


@pytest.fixture
def empty(url: str, tmp_path: Path) -> Callable[[], Awaitable[Database]]:
    """Open an empty database of each kind; one of PostgreSQL serves all tests, because making one takes long."""

    async def opened() -> Database:
        return await node.emptied(url, "acme", tmp_path)

    return opened
