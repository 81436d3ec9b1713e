"""The job that makes the exports of a customer, and the render workers that were started."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from recorder.exports.export_job import ExportJob
from tests.recorder.export_jobs import FakeRenderer, job_of
from tests.recorder.job_parts import Parts


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
async def job(node: Parts, renderer: FakeRenderer) -> ExportJob:
    return job_of(node, renderer)
