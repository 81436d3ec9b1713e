"""What is kept between two pages: taken once, for ten minutes, and not without bound."""

from __future__ import annotations

import os

import pytest

from admin_api.page import pending
from admin_api.page.pending import SECONDS, Pending


def test_a_thing_is_taken_once() -> None:
    kept: Pending[str] = Pending(os.urandom)
    key = kept.keep("thing", 10.0)
    assert len(key) == 64
    assert kept.take(key, 10.0) == "thing"
    assert kept.take(key, 10.0) is None
    assert kept.take("", 10.0) is None


@pytest.mark.parametrize(("later", "found"), [(SECONDS, "thing"), (SECONDS + 1, None)])
def test_a_thing_is_kept_for_ten_minutes(later: float, found: str | None) -> None:
    kept: Pending[str] = Pending(os.urandom)
    assert kept.take(kept.keep("thing", 0.0), later) == found


def test_the_oldest_goes_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MAX_KEPT", 2)
    kept: Pending[int] = Pending(os.urandom)
    keys = [kept.keep(i, 0.0) for i in range(3)]
    assert [kept.take(key, 0.0) for key in keys] == [None, 1, 2]
