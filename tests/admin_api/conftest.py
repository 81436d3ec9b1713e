"""The fixtures of the admin API's tests: one server for a file, and a daemon that knows nothing yet for each test."""

from collections.abc import Iterator

import pytest

from admin_api.calls import render_cache
from tests.in_process.api_service import FakeDaemon, Service


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep no rendered file for later, so that each test hears its own sound."""
    monkeypatch.setattr(render_cache, "SECONDS", 0)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One server for the tests of a file."""
    made = Service(tmp_path_factory.mktemp("api"))
    yield made
    made.close()


@pytest.fixture
def service(shared: Service) -> Iterator[Service]:
    """The server with a desk that knows nothing yet; nothing may have failed unseen."""
    daemon = FakeDaemon()
    shared.daemon.__dict__.update(daemon.__dict__)
    shared.faults.clear()
    yield shared
    assert not shared.faults
