"""Start order and what is loaded when; the whole of it runs in tests/journeys."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.errors import NotPossible
from recorder.observe import logs
from recorder.service.daemon import Daemon, adopt, sip_settings
from recorder.service.serve import raise_descriptors
from recorder.workers.pool import Workers
from tests.in_process.recorder_node import CONFIG, configured


def test_stored_sockets_are_adopted_and_other_files_closed(tmp_path: Path) -> None:
    with socket.socket() as kept:
        file = os.open(tmp_path, os.O_RDONLY)
        found = adopt({"sip0": [os.dup(kept.fileno()), file]})
        assert [len(group) for group in found.values()] == [1]
        for each in found["sip0"]:
            each.close()
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(file)


def test_a_port_in_use_is_reported_before_any_process_starts(tmp_path: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        settings = configured(tmp_path, CONFIG.replace("udp:127.0.0.1:5060", f"udp:127.0.0.1:{port}"))
        before = len(os.listdir("/proc/self/fd"))

        async def story() -> None:
            with pytest.raises(NotPossible, match=str(port)):
                await Daemon(settings, logs.get(), {}, {}, Workers.configured(settings)).run()

        asyncio.run(story())
        assert len(os.listdir("/proc/self/fd")) <= before  # fewer: what an earlier test forgot was collected
        assert not list((tmp_path / "run").glob("worker-*"))


def test_the_sip_side_knows_what_the_configuration_says_of_it(tmp_path: Path) -> None:
    text = CONFIG.replace("max_calls = 5", 'max_calls = 5\nadvertise = "198.51.100.9"')
    knobs = sip_settings(configured(tmp_path, text + 'siprec = "plain"\n'))
    assert (knobs.contact_host, knobs.plain_calls, knobs.max_dialogs) == ("198.51.100.9", True, 110)
    assert sip_settings(configured(tmp_path / "two")).contact_host == ""


def test_as_many_descriptors_as_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        raise_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        pytest.param(
            "recorder.service.serve",
            "asyncio sqlalchemy fastapi uvicorn av typer",
            id="before the media ports of live calls are bound",
        ),
        pytest.param(
            "recorder.service.serve, recorder.service.daemon",
            "sqlalchemy starlette uvicorn pydantic storage.customer.wiring admin_api.assembly.app"
            " argon2 jinja2 joserfc fido2 segno httpx2",
            id="before calls are taken",
        ),
    ],
)
def test_nothing_heavy_is_imported_too_early(modules: str, heavy: str) -> None:
    """What a recording needs is loaded in a third of the time that all takes; service.background has the rest."""
    code = f"import sys, {modules}; print([m for m in sys.modules if m in sys.argv])"
    command = [sys.executable, "-c", code, *heavy.split()]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
