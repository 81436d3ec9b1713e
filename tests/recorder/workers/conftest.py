"""What several tests of the media workers need."""

from __future__ import annotations

from typing import Any

import pytest

from recorder.workers import pool, worker_handle


@pytest.fixture
def started_workers(monkeypatch: pytest.MonkeyPatch) -> list[worker_handle.Process]:
    """Every worker process in the order in which main started it."""
    started: list[worker_handle.Process] = []

    def spawn(*given: Any) -> worker_handle.Process:
        started.append(worker_handle.spawn(*given))
        return started[-1]

    monkeypatch.setattr(pool, "spawn", spawn)
    return started
