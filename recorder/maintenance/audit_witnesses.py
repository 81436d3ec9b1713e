"""Send the position of each audit log to outside witnesses every minute, so that nobody can roll it back unnoticed.

    file:/PATH                 a line of JSON is appended and synced; PATH on another disk or an append-only share
    syslog:/dev/log            a datagram to the local syslog
    syslog:HOST:PORT           a datagram over UDP (RFC 5424, RFC 5426)
    journald                   a datagram to systemd's journal

Witnesses get a signed checkpoint (docs/formats/audit.md), which holds nothing personal.
"""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from recorder.errors import NotPossible
from storage.files.durable_files import Disk, disk_errors, opened, write_all
from storage.timestamps import rfc3339

JOURNALD = "/run/systemd/journal/socket"
TAG = "recorder-audit"
_PRIORITY = 13 * 8 + 5  # RFC 5424, 6.2.1: facility "log audit", severity "notice"
_TIMEOUT_SECONDS = 2.0


def tell(witness: str, line: bytes) -> None:
    """Send one witness a checkpoint, a line of JSON; raises NotPossible, StorageError."""
    kind, _, place = witness.partition(":")
    if kind == "file":
        with disk_errors("write checkpoints for a witness"):
            _append(Path(place), line.rstrip(b"\n") + b"\n")
        return
    text = line.decode().rstrip("\n")
    try:
        if kind == "journald":
            fields = f"MESSAGE={text}\nPRIORITY=5\nSYSLOG_FACILITY=13\nSYSLOG_IDENTIFIER={TAG}\n"
            _send_local(place or JOURNALD, fields.encode())
        elif place.startswith("/"):
            _send_local(place, f"<{_PRIORITY}>{TAG}: {text}".encode())
        else:
            _send_udp(place, text)
    except OSError as problem:
        raise NotPossible(f"A witness of the audit log cannot be reached: {os.strerror(problem.errno or 0)}.") from None
    except UnicodeError:  # an empty or too long part of a name
        raise NotPossible("A witness of the audit log has an invalid host name.") from None


def _append(path: Path, line: bytes) -> None:
    """Append a durable line, on a new line even after a partial one: the file may be append-only (chattr +a)."""
    fresh = not path.exists()
    with opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT) as fd:
        end = os.fstat(fd).st_size
        torn = bool(end) and os.pread(fd, 1, end - 1) != b"\n"
        write_all(fd, b"\n" + line if torn else line, end)
        os.fdatasync(fd)
    if fresh:
        Disk().sync_folder(path.parent)


def _send_local(path: str, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.settimeout(_TIMEOUT_SECONDS)
        out.sendto(data, path)


def _send_udp(place: str, text: str) -> None:
    host, _, port = place.rpartition(":")
    at = rfc3339(datetime.now(UTC))
    data = f"<{_PRIORITY}>1 {at} {socket.gethostname() or '-'} {TAG} {os.getpid()} checkpoint - {text}".encode()
    (family, kind, protocol, _, address), *_ = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
    with socket.socket(family, kind, protocol) as out:
        out.settimeout(_TIMEOUT_SECONDS)
        out.sendto(data, address)
