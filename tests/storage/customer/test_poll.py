"""What each node asks once a second, and what it learns of the clock of the database."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.customer.poll import Poll
from storage.timestamps import DAY_MICROS
from tests.storage.holders.cluster import Cluster

pytestmark = pytest.mark.system


@pytest.fixture
def cluster(tmp_path: Path, postgresql: str, loop: asyncio.Runner) -> Iterator[Cluster]:
    """One node of several."""
    cluster = Cluster(tmp_path, postgresql)
    loop.run(cluster.start("rec1"))
    yield cluster
    loop.run(cluster.close())


async def test_recordings_get_the_day_of_the_database_or_the_next(cluster: Cluster) -> None:
    passed = [1000.0]
    poll = Poll(cluster.nodes["rec1"].database, lambda: passed[0])
    assert poll.recording_day(17) == 17  # nothing is known yet
    today = (await poll.look()).now // DAY_MICROS
    for days, found in ((-3, 0), (-1, 0), (0, 0), (1, 1), (30, 1)):
        assert poll.recording_day(today + days) == today + found
    passed[0] += 2 * 86_400  # the database is away
    assert poll.recording_day(today - 3) == today + 2 and poll.recording_day(today + 3) == today + 3
