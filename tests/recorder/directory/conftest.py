"""A customer of a storage node; the tests are coroutines of asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.customer.customers import Customer
from tests.in_process.storage_node import StorageNode


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def acme(tmp_path: Path) -> AsyncIterator[Customer]:
    opened = await StorageNode(tmp_path / "data").open()
    yield opened
    await opened.close()
