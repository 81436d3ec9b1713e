"""Shared fixtures, how coroutines are run, what `make unit` runs, and how hypothesis searches.

A test is marked `unit` if it lies in the folder of a library and asks for no fixture that needs more than Python.
A test there that still needs more carries the mark `system`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import inspect
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from storage.customer.customers import Customer
from tests.daemon.object_stores import STORES, Proxy, Server, object_store
from tests.daemon.postgresql import cluster
from tests.in_process.storage_node import StorageNode, emptied

hypothesis.settings.register_profile("quick", max_examples=100, deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.register_profile("long", max_examples=1_000, deadline=None)  # a round of `make fuzz`
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

SYSTEM = {"interop", "journeys", "page", "surface"}
"""Folders whose tests run the whole daemon, foreign programs or a browser."""
NEEDS = {"chromium", "object_servers", "postgresql", "small_disk"}
"""Fixtures that need root, a program from Debian or a server."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip the folders from which `make unit` runs nothing."""
    of_system = collection_path.parent == Path(__file__).parent and collection_path.name in SYSTEM
    return True if of_system and config.option.markexpr == "unit" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exclude the half a million objects of modules and tests from garbage collection: they live until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make unit` runs, and put the tests that run alone at the end."""
    for item in items:
        if _is_unit(item):
            item.add_marker("unit")
    items.sort(key=_runs_alone)  # stable


def _is_unit(item: pytest.Item) -> bool:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    if folder in SYSTEM or not NEEDS.isdisjoint(getattr(item, "fixturenames", ())):
        return False
    return {"system", "interop", "torture"}.isdisjoint(mark.name for mark in item.iter_markers())


def _runs_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


_turn: list[int] = []
"""The descriptor of this file, held open and locked by each process of pytest-xdist while it runs tests."""


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before pytest-timeout begins to count
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Run tests of a file beside other processes, but tests marked `alone` only while no other process runs any."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    if not _turn:
        _turn.append(os.open(__file__, os.O_RDONLY))
        fcntl.flock(_turn[0], fcntl.LOCK_EX if _runs_alone(item) else fcntl.LOCK_SH)
    try:
        return (yield)
    finally:
        if nextitem is None or (nextitem.path, _runs_alone(nextitem)) != (item.path, _runs_alone(item)):
            os.close(_turn.pop())


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    """Yield an event loop for a test that is a coroutine, and for the fixtures that it asks for."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test in the loop of its fixtures or in its own loop; anyio runs the tests with its mark."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj) or pyfuncitem.get_closest_marker("anyio"):
        return None
    wanted = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    with contextlib.ExitStack() as own:
        loop: Any = pyfuncitem.funcargs.get("loop") or own.enter_context(asyncio.Runner())
        loop.run(pyfuncitem.obj(**wanted))
    return True


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Yield the URL of a private PostgreSQL server on a Unix socket, with {customer} in it."""
    with cluster("-c log_statement=all") as server:
        server.start()
        yield server.url


@pytest.fixture
def first_node(tmp_path: Path, postgresql: str) -> StorageNode:
    """Return the first of several nodes."""
    return StorageNode(tmp_path / "data1", database=postgresql, number=1)


@pytest.fixture
def two_nodes(first_node: StorageNode, loop: asyncio.Runner) -> Iterator[tuple[Customer, Customer]]:
    """Yield a customer without calls as opened by nodes 1 and 2."""
    loop.run(loop.run(emptied(first_node.database, "acme", first_node.data.parent)).close())
    one = loop.run(first_node.open())
    other = loop.run(loop.run(first_node.admit(2)).open())
    yield one, other
    loop.run(other.close())
    loop.run(one.close())


@pytest.fixture(scope="session")
def object_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Yield object stores of both kinds; each test uses its own names in them."""
    with contextlib.ExitStack() as running:
        yield {kind: running.enter_context(object_store(kind, tmp_path_factory.mktemp(kind))) for kind in STORES}


@pytest.fixture(params=STORES)
def object_server(request: pytest.FixtureRequest, object_servers: dict[str, Server]) -> Server:
    """Return the object store of each kind in turn."""
    return object_servers[request.param]


@pytest.fixture
def proxy(object_server: Server) -> Iterator[Proxy]:
    """Yield a proxy in front of the test's object store."""
    with contextlib.closing(Proxy(object_server.port)) as made:
        yield made


@pytest.fixture
def door(object_servers: dict[str, Server]) -> Iterator[Proxy]:
    """Yield a proxy in front of the object store that has versions and locks."""
    with contextlib.closing(Proxy(object_servers["moto"].port)) as made:
        yield made


@pytest.fixture
def prefix() -> str:
    """Return the prefix of the names of a test's objects."""
    return f"{os.urandom(6).hex()}/"
