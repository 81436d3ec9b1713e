"""A customer in this process, the job that makes its exports, and the render workers that were started."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recorder.exports.export_job import ExportJob
from storage.customer.customers import Customer
from tests.in_process.storage_node import StorageNode, Watch
from tests.recorder.export_jobs import FakeRenderer, Parts


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def workers() -> AsyncIterator[Callable[[], list[int]]]:
    """Return what lists the processes started since, and wait for their end; a browser of another file may live on."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    before = set(listing.read_text().split())

    def alive() -> list[int]:
        return [int(child) for child in listing.read_text().split() if child not in before]

    yield alive
    async with asyncio.timeout(30):
        while alive():
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.02)  # until the loop has noticed


@pytest.fixture
def renderer() -> FakeRenderer:
    return FakeRenderer()


@pytest.fixture
async def acme(tmp_path: Path) -> AsyncIterator[Customer]:
    opened = await StorageNode(tmp_path / "data", watch=Watch(datetime.now(UTC))).open()
    yield opened
    await opened.close()


@pytest.fixture
async def node(tmp_path: Path, acme: Customer) -> AsyncIterator[Parts]:
    made = Parts({"acme": acme}, tmp_path)
    yield made
    await made.tasks.close()
    assert made.failed == []


@pytest.fixture
async def job(node: Parts, renderer: FakeRenderer) -> ExportJob:
    return node.job(renderer)
