"""Both clocks of one moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from recorder.session import events as e


def test_the_wall_clock_in_the_unit_of_the_media_records() -> None:
    assert e.Now(datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC), 1.0).ns == 1_772_366_400_250_000_000


def test_by_default_no_clock_setback_is_assumed() -> None:
    assert e.Now(datetime(2026, 3, 1, tzinfo=UTC), 1.0).behind == timedelta(0)


def test_every_event_is_a_frozen_value() -> None:
    assert all(kind.__dataclass_params__.frozen for kind in e.Event.__args__)
