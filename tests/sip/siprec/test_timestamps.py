from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.siprec.timestamps import parse_time, restore_time, store_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T09:00:00Z", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        (" 2026-03-01T09:00:00 ", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("2026-03-01T09:00:00+0300", datetime(2026, 3, 1, 6, tzinfo=UTC)),
        ("2026-03-01T09:00:00-05:00", datetime(2026, 3, 1, 14, tzinfo=UTC)),
        ("2026-03-01T09:00:00.123456Z", datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-01T09:00:00.1234567Z", datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-01t09:00:00z", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("2026-03-01 9:00:60 UTC", datetime(2026, 3, 1, 9, 0, 59, tzinfo=UTC)),
        ("2026-03-01T09:00:00,5Z", datetime(2026, 3, 1, 9, 0, 0, 500000, tzinfo=UTC)),
        ("1970-01-01T00:00:00.000Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        ("2026-13-01T09:00:00Z", None),
        ("2026-03-01T25:00:00 Z", None),
        ("2026-03-01T09:00:00+99:99 ", None),
        ("1" * 5_000 + "-", None),
    ],
)
def test_times_of_clients(text, expected):
    """Duty X10."""
    assert parse_time(text) == expected


@given(st.text("0123456789-+:.,TtZz UC", max_size=40))
def test_any_text_is_an_aware_time_or_none(text):
    found = parse_time(text)
    assert found is None or found.tzinfo is not None


@given(st.none() | st.datetimes(timezones=st.just(timezone(timedelta(hours=2)))))
def test_stored_times_come_back(time):
    assert restore_time(store_time(time)) == time
