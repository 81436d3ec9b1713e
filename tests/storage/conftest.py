"""What the tests of storage share: real keys in a temporary folder, and both databases."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from storage.database.database import Database
from storage.keys.key_store import CustomerKeys
from storage.keys.root_secret import RootSecret
from tests.daemon.postgresql import cluster
from tests.in_process import storage_node as node
from tests.in_process.key_files import Data

BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.system)]


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
    with cluster("-c log_statement=all") as server:
        server.start()
        yield server.url


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
