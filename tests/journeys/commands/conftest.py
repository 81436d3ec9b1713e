"""A recorder before its first start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.server import Server, server


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[Server]:
    """A place where everything is prepared for a start."""
    with server(tmp_path) as one:
        one.init()
        yield one
