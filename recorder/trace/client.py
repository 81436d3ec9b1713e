"""The command's side of a trace: ask the running daemon for SIP messages, and hand its lines to a function."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from recorder.config.installation import Installation
from recorder.config.model import Settings
from recorder.errors import NotPossible
from recorder.trace.control_socket import MAX_LINE, short_path

GRACE_SECONDS = 10.0
"""How long the daemon may take, after the time of the trace is over, to say so."""

ENDS = {
    "time": "", "client": "", "size": "The trace has reached its largest size.",
    "stop": "The recorder has stopped or restarted; the trace ends there.",
}  # fmt: skip
"""Why a trace ended, in words."""


_CREDENTIALS = struct.Struct("=iII")  # struct ucred: process, user, group


@dataclass(slots=True)
class Traced:
    """Result of a trace."""

    messages: int = 0
    """Messages that were shown."""
    skipped: int = 0
    """Messages that were not shown because there were too many."""
    note: str = ""
    """Why the trace ended before its time; "" if it did not."""


def follow(settings: Settings, seconds: float, source: str | None, take: Callable[[dict[str, Any]], None]) -> Traced:
    """Trace for this many seconds, and call `take` with each line of the daemon; Ctrl-C ends it. Raises NotPossible."""
    done = Traced()
    with _connected(settings) as link:
        link.settimeout(seconds + GRACE_SECONDS)
        link.sendall(json.dumps({"seconds": seconds, "source": source}).encode() + b"\n")
        try:
            with link.makefile("rb") as lines:
                while found := _next(lines):
                    if "end" in found:
                        return _ended(found)
                    done.messages += found["way"] != "note"
                    take(found)
        except KeyboardInterrupt:
            return done
    done.note = ENDS["stop"]
    return done


def _next(lines: BinaryIO) -> dict[str, Any] | None:
    """Return the daemon's next line; None if there is none. An error that `take` raises is not about the daemon."""
    try:
        line = lines.readline(MAX_LINE)
        return dict(json.loads(line)) if line else None
    except (OSError, ValueError):
        return None


def daemon_pid(settings: Settings) -> int | None:
    """Return the process id of the running daemon; None if there is none, or this user may not connect to it."""
    try:
        with _connected(settings) as link:
            found = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            return int(_CREDENTIALS.unpack(found)[0]) or None
    except (NotPossible, OSError):
        return None


def _ended(found: dict[str, Any]) -> Traced:
    if found["end"] == "busy":
        raise NotPossible("Too many traces are running already.", "Wait until one of them has ended.")
    return Traced(found["messages"], found["skipped"], ENDS.get(found["end"], ""))


def _connected(settings: Settings) -> socket.socket:
    how = Installation.of(settings.source)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with short_path(settings.node.runtime_dir) as path:
            link.connect(path)
    except PermissionError:
        link.close()
        raise NotPossible("Only root and the recorder's user may trace.", f"Run sudo {how.command('trace')}.") from None
    except OSError:
        link.close()
        raise NotPossible(
            "The recorder does not run, or has only just started.",
            f"Run {how.status}." if how.service else f"Start it: {how.command('serve')}",
        ) from None
    return link


def text_of(line: dict[str, Any]) -> str:
    """Return a line of the daemon as text: time and addresses, then the message, indented."""
    arrow = {"sent": f"to {line['peer']}", "received": f"from {line['peer']}"}.get(line["way"], line["peer"])
    over = f" over {line['transport']}, here {line['local']}" if "transport" in line else ""
    head = f"{line['time']} {line['way']} {arrow}{over}" if over else f"{line['time']} {arrow}"
    if line["way"] == "note":
        return f"{head}: {line['text']}\n"
    return f"{head}\n" + "".join(f"    {each}".rstrip() + "\n" for each in line["text"].splitlines()) + "\n"
