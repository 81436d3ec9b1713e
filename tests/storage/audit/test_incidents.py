"""The file of incidents: what it keeps, what a crash or a full disk leaves of it, and that nothing personal gets in."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from storage.audit import incidents as module
from storage.audit.incidents import OTHER, Incident, IncidentFile, clean

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALL = "0b2e9609-c05c-45ca-b09a-2983508b3d5b"


def incident(number: int, count: int = 1, **facts: Any) -> Incident:
    return Incident(f"run-{number}", "call-refused", NOON, NOON + timedelta(seconds=count), count, facts)


@pytest.fixture
def file(tmp_path: Path) -> IncidentFile:
    return IncidentFile(tmp_path)


def test_a_higher_count_replaces_an_incidents_line(file: IncidentFile, tmp_path: Path) -> None:
    assert file.read() == []
    file.append([incident(1, status=403), incident(2, call=CALL)])
    file.append([incident(1, 7, status=403)])
    assert file.read() == [incident(1, 7, status=403), incident(2, call=CALL)]
    assert (tmp_path / module.FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_torn_line_costs_itself_and_nothing_after_it(file: IncidentFile, tmp_path: Path) -> None:
    file.append([incident(1)])
    path = tmp_path / module.FILE_NAME
    whole = path.read_bytes()
    file.append([incident(2)])
    for cut in range(len(whole), path.stat().st_size):
        path.write_bytes(path.read_bytes()[:cut])
        file.append([incident(3)])
        assert [i.id for i in file.read() if i.id != "run-2"] == ["run-1", "run-3"]
        path.write_bytes(whole)
        file.append([incident(2)])


@pytest.mark.parametrize(
    "line", [b"nonsense", b"{}", b"[]", b"7", b'{"id":"a","kind":"k","first_at":"x","last_at":"x","facts":{}}', b"\xff"]
)
def test_foreign_lines_are_passed_over(file: IncidentFile, tmp_path: Path, line: bytes) -> None:
    (tmp_path / module.FILE_NAME).write_bytes(line + b"\n")
    file.append([incident(1)])
    assert [i.id for i in file.read()] == ["run-1"]


def test_the_file_is_bounded(file: IncidentFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 5)
    monkeypatch.setattr(module, "MAX_BYTES", 2000)
    path = tmp_path / module.FILE_NAME
    largest = 0
    for number in range(100):
        if file.append([incident(number)]):
            file.renew()
        largest = max(largest, path.stat().st_size)
    assert [i.id for i in file.read()] == [f"run-{n}" for n in range(95, 100)]
    assert largest < 2200
    assert [entry.name for entry in tmp_path.iterdir()] == [module.FILE_NAME]


def test_a_full_disk_is_an_error_and_keeps_the_old_file(
    file: IncidentFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.append([incident(1)])

    def full(*_: object) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(module, "write_all", full)
    with pytest.raises(OSError):
        file.renew()
    assert [i.id for i in file.read()] == ["run-1"]
    assert [entry.name for entry in tmp_path.iterdir()] == [module.FILE_NAME]
    monkeypatch.setattr(os, "write", lambda descriptor, data: len(data) // 2)
    with pytest.raises(OSError):
        file.append([incident(2)])


@pytest.mark.parametrize("value", [None, True, 503, CALL, "", "crypto-key", "srtp-required", "m12"])
def test_codes_small_numbers_and_random_ids_are_kept(value: Any) -> None:
    assert clean(value) == value


@pytest.mark.parametrize(
    "value", ["Anna Schmidt", "+493012345", "sip:anna@example.com", "anna@x", "0301234567", "x" * 60, 493012345678, 1.5]
)
def test_nothing_else_is_kept(file: IncidentFile, tmp_path: Path, value: Any) -> None:
    file.append([incident(1, reason=value)])
    assert file.read()[0].facts == {"reason": OTHER}
