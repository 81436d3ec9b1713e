"""A date is the reader's own day."""

import pytest

from admin_api.page.framework.date_ranges import BadDay, begin, end


def test_a_day_begins_and_ends_where_the_reader_is():
    assert begin("2026-11-25", "Europe/Berlin") == "2026-11-24T23:00:00Z"
    assert end("2026-11-25", "Europe/Berlin") == "2026-11-25T23:00:00Z"


def test_a_day_on_which_clocks_change_has_its_own_length():
    assert begin("2026-10-25", "Europe/Berlin") == "2026-10-24T22:00:00Z"
    assert end("2026-10-25", "Europe/Berlin") == "2026-10-25T23:00:00Z"


@pytest.mark.parametrize("zone", ["", "Mars/Base", "../../etc/passwd", "/etc/passwd", "America", "posixrules/x", "é"])
def test_a_zone_that_is_none_is_utc(zone):
    assert begin("2026-11-25", zone) == "2026-11-25T00:00:00Z"


def test_nothing_typed_is_no_bound():
    assert (begin("", "UTC"), end("  ", "UTC")) == (None, None)


def test_the_last_day_has_no_end_and_the_first_has_a_beginning():
    assert end("9999-12-31", "UTC") is None
    assert begin("0001-01-01", "UTC") == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "25.11.2026", "2026-11-25T10:00"])
def test_an_invalid_day_is_refused(text):
    with pytest.raises(BadDay):
        begin(text, "UTC")


def test_a_day_before_time_begins_is_none():
    with pytest.raises(BadDay):
        begin("0001-01-01", "Asia/Tokyo")
