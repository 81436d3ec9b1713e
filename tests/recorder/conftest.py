"""What several tests of the daemon stand on."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recorder.runtime.sd_notify import Notifier
from storage.customer.customers import Customer
from tests.capabilities import impossible
from tests.in_process.recorder_node import CONFIG, Stage, stage
from tests.in_process.storage_node import StorageNode, Watch
from tests.recorder.job_parts import Parts


@pytest.fixture
def config() -> str:
    """Return the configuration of the node `one`; a file or a parameter of a test may have another."""
    return CONFIG


@pytest.fixture
def cool_down() -> float:
    """Return the seconds for which a port of `one` rests; a parameter of a test may say another number."""
    return 30.0


@pytest.fixture
def notify(request: pytest.FixtureRequest) -> Notifier:
    """Return the service manager of the node `one`: none, unless a test names a class."""
    made = getattr(request, "param", None)
    return made() if made else Notifier(None)


@pytest.fixture
def one(loop: asyncio.Runner, tmp_path: Path, config: str, notify: Notifier, cool_down: float) -> Iterator[Stage]:
    """Have a node that runs in the loop of the test."""
    running = stage(tmp_path, config, notify=notify, cool_down=cool_down)
    yield loop.run(running.__aenter__())
    loop.run(running.__aexit__(None, None, None))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Have a file system of a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True).returncode:
        impossible("a small file system can be mounted by root only")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def anyio_backend() -> str:
    """Run the tests that are marked with `anyio` on asyncio."""
    return "asyncio"


@pytest.fixture
async def acme(tmp_path: Path) -> AsyncIterator[Customer]:
    """Open a customer on SQLite whose clock is set to now."""
    opened = await StorageNode(tmp_path / "data", Watch(datetime.now(UTC))).open()
    yield opened
    await opened.close()


@pytest.fixture
async def node(tmp_path: Path, acme: Customer) -> AsyncIterator[Parts]:
    """Have what a job takes, and see that none of its tasks failed."""
    made = Parts(tmp_path, acme)
    yield made
    await made.tasks.close()
    assert made.failed == []
