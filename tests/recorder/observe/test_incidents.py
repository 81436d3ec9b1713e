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


def test_the_same_again_is_counted_and_later_it_is_a_new_one() -> None:
    now = [NOON]
    one = Incidents(lambda: now[0])
    one.add("call-refused", "acme", status=403)
    now[0] += timedelta(seconds=30)
    one.add("call-refused", "acme", status=403)
    now[0] += timedelta(seconds=90)
    one.add("call-refused", "acme", status=403)
    assert [(i["count"], i["status"]) for i in one.of("acme")] == [(1, 403), (2, 403)]
    assert one.of("acme")[1]["last_at"] == "2026-03-01T12:00:30.000Z"


def test_a_clock_that_was_set_back_begins_a_new_one() -> None:
    now = [NOON]
    one = Incidents(lambda: now[0])
    one.add("call-refused", "acme", status=403)
    now[0] -= timedelta(days=3)
    one.add("call-refused", "acme", status=403)
    assert [i["count"] for i in one.of("acme")] == [1, 1]


def test_a_customer_sees_only_its_own_incidents() -> None:
    one = Incidents(lambda: NOON)
    one.add("call-interrupted", "acme", call="x")
    one.add("worker-died", None)
    assert kinds(one, "other") == ["worker-died"]
    assert kinds(one) == ["worker-died", "call-interrupted"]


def test_a_flood_evicts_only_its_own_customers_incidents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 100)
    one = Incidents(lambda: NOON)
    one.add("call-interrupted", "other")
    for number in range(210):
        one.add("x", "acme", number=number)
    assert len(one.of("acme")) == 100
    assert one.of("acme")[0]["number"] == 209
    assert all(len(owned.newest) <= 100 for owned in one._owned.values())
    assert kinds(one, "other") == ["call-interrupted"]


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


def test_incidents_waiting_for_a_full_disk_are_not_rewritten(
    started: Callable[[], Incidents], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, before = [0], files._line

    def line(each: files.Incident) -> bytes:
        lines[0] += 1
        return before(each)

    with monkeypatch.context() as full:
        full.setattr(files, "_line", line)
        full.setattr(files, "FILE_NAME", "none/incidents.jsonl")
        one = started()
        for number in range(500):
            one.add("call-interrupted", "acme", number=number)
    assert lines[0] <= 500 * 60
    assert len(kinds(one)) == 500


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
