"""The command's side of a trace, with a daemon that says what the test tells it to."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from recorder.config.loader import load
from recorder.config.model import Settings
from recorder.errors import NotPossible
from recorder.trace.client import follow
from recorder.trace.control_socket import short_path
from tests.in_process.command_line import Place

MESSAGE = b'{"way": "received", "text": ""}\n'


def told(settings: Settings, *said: bytes) -> threading.Thread:
    """Say this to the next who asks for a trace, and hang up."""
    listening = socket.socket(socket.AF_UNIX)
    with short_path(settings.node.runtime_dir) as path:
        listening.bind(path)
    listening.listen()

    def serve() -> None:
        with listening, listening.accept()[0] as link:
            link.recv(4096)
            link.sendall(b"".join(said))

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(Place(tmp_path).config, files=False)


def test_a_daemon_that_hangs_up_has_stopped(settings: Settings) -> None:
    daemon = told(settings, MESSAGE, b"no JSON")
    seen: list[dict[str, Any]] = []
    done = follow(settings, 5.0, None, seen.append)
    daemon.join()
    assert (done.messages, len(seen)) == (1, 1) and "stopped or restarted" in done.note
    assert json.loads(MESSAGE) == seen[0]


def test_a_full_disk_is_not_taken_for_the_end_of_the_daemon(settings: Settings) -> None:
    def take(line: dict[str, Any]) -> None:
        raise OSError(28, "No space left on device")

    daemon = told(settings, MESSAGE)
    with pytest.raises(OSError, match="No space"):
        follow(settings, 5.0, None, take)
    daemon.join()


def test_without_a_daemon_it_is_said_how_to_start_it(settings: Settings) -> None:
    with pytest.raises(NotPossible, match="does not run") as raised:
        follow(settings, 5.0, None, lambda line: None)
    assert f"recorder serve --config {settings.source}" in raised.value.hint
