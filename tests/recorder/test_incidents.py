"""Incidents: bounded, counted, shown to whom they belong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from recorder import incidents as module
from recorder.incidents import Incidents

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


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


def test_nobody_sees_anothers() -> None:
    one = Incidents(lambda: NOON)
    one.add("call-interrupted", "acme", call="x")
    one.add("worker-died", None)
    assert [i["kind"] for i in one.of("other")] == ["worker-died"]
    assert [i["kind"] for i in one.of("acme")] == ["worker-died", "call-interrupted"]


def test_a_flood_pushes_out_the_oldest() -> None:
    one = Incidents(lambda: NOON)
    for number in range(2 * module.KEPT + 10):
        one.add("x", "acme", number=number)
    assert len(one.of("acme")) == module.KEPT
    assert len(one._newest) <= module.KEPT + 1
    assert one.of("acme")[0]["number"] == 2 * module.KEPT + 9
