"""When the keys were backed up, and when everything was verified."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from recorder.persist.backup_time import backed_up_at, mark, mark_verified, verified_at
from storage.files.durable_files import Disk

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    return tmp_path


def test_the_last_one_counts(data: Path) -> None:
    assert backed_up_at(data) is None
    mark(data, AT, Disk())
    mark(data, (AT + timedelta(days=1)).astimezone(timezone(timedelta(hours=2))), Disk())
    assert backed_up_at(data) == AT + timedelta(days=1)


def test_a_verification_is_another_thing(data: Path) -> None:
    mark_verified(data, AT, Disk())
    assert (verified_at(data), backed_up_at(data)) == (AT, None)
    assert not list((data / "keys").iterdir()), "keys are backed up and restored apart from what was verified"


@pytest.mark.parametrize("text", [b"", b"yesterday", b"2026-03-04T05:06:07", b"\xff\xfe"])
def test_an_unreadable_backup_time_is_unknown(data: Path, text: bytes) -> None:
    (data / "keys" / "backed-up").write_bytes(text)
    assert backed_up_at(data) is None
