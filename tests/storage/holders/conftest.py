"""Two nodes that hold the same keys."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.holders.cluster import Cluster


@pytest.fixture
def two(tmp_path: Path, postgresql: str, loop: asyncio.Runner) -> Iterator[Cluster]:
    """Nodes rec1 and rec2, which hold the same keys."""
    cluster = Cluster(tmp_path, postgresql)
    loop.run(cluster.start("rec1", "rec2"))
    yield cluster
    loop.run(cluster.close())
