"""A date is the reader's own day."""

import pytest

from admin_api.http.problems import Problem
from admin_api.page.framework.date_ranges import between


@pytest.mark.parametrize(
    ("day", "zone", "first", "last"),
    [
        ("2026-11-25", "Europe/Berlin", "2026-11-24T23:00:00.000Z", "2026-11-25T23:00:00.000Z"),
        ("2026-10-25", "Europe/Berlin", "2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z"),  # clocks change
        ("9999-12-31", "UTC", "9999-12-31T00:00:00.000Z", None),
        ("0001-01-01", "UTC", "0001-01-01T00:00:00.000Z", "0001-01-02T00:00:00.000Z"),
        ("", "UTC", None, None),
        ("  ", "UTC", None, None),
    ],
)
def test_a_day_begins_and_ends_where_the_reader_is(day, zone, first, last):
    assert between(day, day, zone) == (first, last)


@pytest.mark.parametrize("zone", ["", "Mars/Base", "../../etc/passwd", "/etc/passwd", "America", "posixrules/x", "é"])
def test_a_zone_that_is_none_is_utc(zone):
    assert between("2026-11-25", "", zone) == ("2026-11-25T00:00:00.000Z", None)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("yesterday", "UTC"),
        ("2026-13-01", "UTC"),
        ("25.11.2026", "UTC"),
        ("2026-11-25T10:00", "UTC"),
        ("0001-01-01", "Asia/Tokyo"),  # it began before the first year
    ],
)
def test_an_invalid_day_is_refused(text, zone):
    for since, until in ((text, ""), (text, "2026-11-25")):
        with pytest.raises(Problem, match="invalid"):
            between(since, until, zone)
