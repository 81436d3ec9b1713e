"""What a daemon has recorded, by its own command."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.daemon.server import Server

PATIENCE = 30.0


def calls(daemon: Server, count: int = 1) -> list[dict[str, Any]]:
    """Every call the daemon knows, once so many are over and none is running."""
    end = time.monotonic() + PATIENCE
    while True:
        listed: list[dict[str, Any]] = json.loads(daemon.run("calls", "--json").stdout)["items"]
        over = [call for call in listed if call["state"] != "recording"]
        if count <= len(over) == len(listed) or time.monotonic() > end:
            return listed


def the_call(daemon: Server, session: str) -> dict[str, Any]:
    """The call of a session once it is over; the command line reads the index, which is written once in a moment."""
    end = time.monotonic() + PATIENCE
    while True:
        found = [call for call in calls(daemon, 0) if call["session_id"] == session]
        if [call["state"] for call in found] == ["complete"] or time.monotonic() > end:
            (call,) = found
            return call
        time.sleep(0.05)
