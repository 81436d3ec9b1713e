"""Each kind of witness hears a checkpoint as it takes such things, and one that does not answer is named."""

from __future__ import annotations

import errno
import os
import re
import socket
from pathlib import Path

import pytest

from recorder.errors import NotPossible
from recorder.maintenance.audit_witnesses import tell
from recorder.maintenance.proof_check import witnessed
from storage.errors import DiskFailed

LINE = b'{"customer":"acme","n":1,"hash":"ab","size":9,"at":"2026-03-01T12:00:00.000000Z","signature":"00"}\n'


def test_a_file_gets_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    tell(f"file:{path}", LINE)
    path.write_bytes(path.read_bytes() + LINE[:20])
    tell(f"file:{path}", LINE)
    assert path.read_bytes() == LINE + LINE[:20] + b"\n" + LINE
    assert len(witnessed(path.read_bytes())) == 2
    with pytest.raises(DiskFailed):
        tell(f"file:{tmp_path}/none/marks.jsonl", LINE)


def test_a_file_that_takes_nothing_back_is_only_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, before = tmp_path / "marks.jsonl", os.open
    path.write_bytes(LINE[:20])

    def opened(place: Path, flags: int, *more: int) -> int:  # as the kernel does after chattr +a
        if flags & (os.O_WRONLY | os.O_RDWR) and not flags & os.O_APPEND:
            raise PermissionError(errno.EPERM, "append-only")
        return before(place, flags, *more)

    def cut(*_: int) -> None:
        raise PermissionError(errno.EPERM, "append-only")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", opened)
        patched.setattr(os, "ftruncate", cut)
        tell(f"file:{path}", LINE)
    assert path.read_bytes() == LINE[:20] + b"\n" + LINE


LOCAL = [
    ("syslog", rb"<109>recorder-audit: \{.*\}"),
    ("journald", rb"MESSAGE=\{.*\}\nPRIORITY=5\nSYSLOG_FACILITY=13\nSYSLOG_IDENTIFIER=recorder-audit\n"),
]
RFC_5424 = rb"<109>1 \d{4}-\d\d-\d\dT[\d:.]+Z \S+ recorder-audit \d+ checkpoint - \{.*\}"


@pytest.mark.parametrize(("kind", "expected"), LOCAL)
def test_local_services_get_a_datagram(tmp_path: Path, kind: str, expected: bytes) -> None:
    path = tmp_path / "socket"
    with pytest.raises(NotPossible):
        tell(f"{kind}:{path}", LINE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(path))
        tell(f"{kind}:{path}", LINE)
        heard = service.recv(4096)
    assert re.fullmatch(expected, heard) and [mark.head.n for mark in witnessed(heard)] == [1]


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "[::1]")])
def test_a_remote_syslog_gets_rfc_5424(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as service:
        service.bind((host.strip("[]"), 0))
        service.settimeout(5)
        tell(f"syslog:{host}:{service.getsockname()[1]}", LINE)
        heard = service.recv(4096)
    assert re.fullmatch(RFC_5424, heard) and [mark.head.n for mark in witnessed(heard)] == [1]


@pytest.mark.parametrize("host", ["nobody.invalid", "syslog..example", "x" * 70 + ".example"])
def test_a_host_name_that_does_not_resolve_is_an_error(host: str) -> None:
    with pytest.raises(NotPossible):
        tell(f"syslog:{host}:514", LINE)
