"""Times are exact and have their zone."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.timestamps import day_of, from_micros, from_text, micros_rfc3339, rfc3339, to_micros, to_text

moments = st.datetimes(timezones=st.just(UTC))  # from the year 1, which some send for "always", to 9999


@given(moments, moments)
def test_a_time_comes_back_and_texts_are_in_its_order(moment: datetime, other: datetime) -> None:
    assert (to_text(moment) < to_text(other)) == (moment < other)
    assert from_micros(to_micros(moment)) == moment
    assert from_text(to_text(moment)) == moment
    assert len(to_text(moment)) == 27
    assert micros_rfc3339(to_micros(moment)) == rfc3339(moment)


def test_what_is_shown_is_utc_with_milliseconds() -> None:
    east = datetime(2026, 3, 1, 13, 0, 0, 123_456, tzinfo=timezone(timedelta(hours=1)))
    assert rfc3339(east) == "2026-03-01T12:00:00.123Z"
    assert rfc3339(None) is None


def test_a_day_begins_at_midnight_utc() -> None:
    east = timezone(timedelta(hours=2))
    assert day_of(datetime(1970, 1, 2, 1, 59, tzinfo=east)) == 0
    assert day_of(datetime(1970, 1, 2, 2, 0, tzinfo=east)) == 1


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        to_micros(datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="zone"):
        from_text("2026-01-01T00:00:00")
    with pytest.raises(ValueError, match="Invalid"):
        from_text("yesterday")
