"""A customer in this process and the job that makes its exports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recorder.exports.export_job import ExportJob
from storage.customer.customers import Customer
from tests.recorder.export_jobs import FakeRenderer, Parts
from tests.storage.node import StorageNode, Watch


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


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
