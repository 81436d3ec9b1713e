"""Incidents: bounded, counted, shown to whom they belong, and still there after a restart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recorder.observe import incidents as module
from recorder.observe.incidents import Incidents
from storage.audit import incidents as files

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def started(tmp_path: Path) -> Callable[[], Incidents]:
    """What each start of a daemon opens."""
    (tmp_path / "customers" / "acme").mkdir(parents=True)
    return lambda: Incidents(lambda: NOON, tmp_path)


def kinds(one: Incidents, customer: str = "acme") -> list[str]:
    return [i["kind"] for i in one.of(customer)]


@pytest.mark.parametrize(
    ("pauses", "found"),
    [
        ((30, 90), [("12:02:00", 1), ("12:00:30", 2)]),
        ((-3600,), [("12:00:00", 1), ("11:00:00", 1)]),  # the clock was set back
    ],
)
def test_the_same_again_is_counted_and_later_it_is_a_new_one(
    pauses: tuple[int, ...], found: list[tuple[str, int]]
) -> None:
    now, counted = [NOON], []
    one = Incidents(lambda: now[0], count=counted.append)
    one.add("call-refused", "acme", status=403)
    for pause in pauses:
        now[0] += timedelta(seconds=pause)
        one.add("call-refused", "acme", status=403)
    assert [(i["last_at"][11:19], i["count"]) for i in one.of("acme")] == found
    assert counted == ["call-refused"] * (1 + len(pauses))


def test_a_flood_evicts_only_its_own_customers_incidents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 100)
    one = Incidents(lambda: NOON)
    one.add("call-interrupted", "other")
    one.add("worker-died", None)
    for number in range(210):
        one.add("x", "acme", number=number)
    assert [i["number"] for i in one.of("acme") if i["kind"] == "x"] == list(range(209, 109, -1))
    assert kinds(one, "other") == ["worker-died", "call-interrupted"] and "call-interrupted" not in kinds(one)


def test_incidents_survive_the_process_at_once(started: Callable[[], Incidents]) -> None:
    one = started()
    one.add("call-refused", "acme", status=403)
    one.add("worker-died", None, reason="exit")
    one.add("call-refused", "acme", status=403)
    assert [(i["kind"], i["count"]) for i in started().of("acme")] == [("worker-died", 1), ("call-refused", 1)]
    one.save()
    two = started()
    two.add("call-refused", "acme", status=488)
    seen = [(i["kind"], i["count"], i.get("status")) for i in two.of("acme")]
    assert sorted(seen, key=str) == [("call-refused", 1, 488), ("call-refused", 2, 403), ("worker-died", 1, None)]
    assert two.of("acme") == started().of("acme")
    assert kinds(two, "other") == ["worker-died"]


def test_a_disk_that_takes_nothing_is_asked_again(started: Callable[[], Incidents], tmp_path: Path) -> None:
    folder = tmp_path / "customers" / "acme"
    folder.rename(tmp_path / "away")
    one = started()
    one.add("call-refused", "acme", status=503)
    one.save()
    assert kinds(one) == ["call-refused"]
    (tmp_path / "away").rename(folder)
    one.save()
    assert kinds(started()) == ["call-refused"]


def test_the_file_stays_bounded_over_many_starts(
    started: Callable[[], Incidents], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for place in (module, files):
        monkeypatch.setattr(place, "KEPT", 50)
    monkeypatch.setattr(files, "MAX_BYTES", 10_000)
    for start in range(10):
        one = started()
        for number in range(40):
            one.add("call-refused", "acme", status=400 + number, start=start)
    assert [i["status"] for i in started().of("acme")][:2] == [439, 438]
    assert len(started().of("acme")) == 50
    assert (tmp_path / "customers" / "acme" / files.FILE_NAME).stat().st_size < 10_500
