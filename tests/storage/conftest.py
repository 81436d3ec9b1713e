"""What the tests of storage share: real keys in a temporary folder, and both databases."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.calls.call_index import Calls
from storage.calls.call_row import CallRow
from storage.customer.customers import Customer
from storage.database.database import Database
from storage.keys.key_store import CustomerKeys
from storage.keys.root_secret import RootSecret
from tests.in_process.key_files import Data
from tests.in_process.storage_node import StorageNode, emptied, permit, record

BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.system)]


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """A data directory for the keys of a customer."""
    return Data(tmp_path / "data")


@pytest.fixture
def keys(tmp_path: Path) -> CustomerKeys:
    """Keys of a new customer."""
    return CustomerKeys.create(tmp_path / "keys", tmp_path / "customers" / "acme", "acme", RootSecret(bytes(range(32))))


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest) -> str:
    """A database URL of each kind."""
    return "sqlite" if request.param == "sqlite" else str(request.getfixturevalue("postgresql"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that is marked `both_databases` on each of them."""
    if "node" in metafunc.fixturenames and list(metafunc.definition.iter_markers("both_databases")):
        metafunc.parametrize("database_url", BOTH, indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """The database of `node`: SQLite, or what a test is marked with."""
    return "sqlite" if getattr(request, "param", "sqlite") == "sqlite" else request.getfixturevalue("postgresql")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have more patience with a database than a recorder between calls has."""
    monkeypatch.setattr("storage.database.engines.CONNECT_SECONDS", 60.0)


@pytest.fixture
def node(tmp_path: Path, database_url: str) -> StorageNode:
    """A data directory, which `acme` is opened in."""
    return StorageNode(tmp_path / "data", database=database_url)


@pytest.fixture
def acme(node: StorageNode, loop: asyncio.Runner) -> Iterator[Customer]:
    """A customer without calls, open."""
    if node.database != "sqlite":
        loop.run(loop.run(emptied(node.database, node.settings.name, node.data)).close())
    customer = loop.run(node.open())
    yield customer
    loop.run(customer.close())


@pytest.fixture
def database(url: str, tmp_path: Path, loop: asyncio.Runner) -> Iterator[Database]:
    """An empty database of each kind; one of PostgreSQL serves all tests, because making one takes long."""
    opened = loop.run(emptied(url, "acme", tmp_path))
    yield opened
    loop.run(opened.close())


@pytest.fixture
def calls(database: Database, keys: CustomerKeys) -> Calls:
    """An index of calls in it."""
    return Calls(database, keys, "DE")


@pytest.fixture
def row(acme: Customer, loop: asyncio.Runner) -> CallRow:
    """A call, recorded and indexed."""
    return loop.run(record(acme))


@pytest.fixture
def waiver(acme: Customer, loop: asyncio.Runner) -> None:
    """An active waiver on file, without which nothing is erased on request."""
    loop.run(permit(acme))
