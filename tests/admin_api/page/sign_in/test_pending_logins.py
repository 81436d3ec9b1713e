"""What is kept between two pages: taken once, for ten minutes, and not without bound."""

from __future__ import annotations

import os

import pytest

from admin_api.page.sign_in import pending_logins
from admin_api.page.sign_in.pending_logins import SECONDS, Pending

HOME, ELSEWHERE = "192.0.2.0/24", "2001:db8:0:100::/56"


def test_a_thing_is_taken_once() -> None:
    kept: Pending[str] = Pending(os.urandom)
    key = kept.keep("thing", 10.0, HOME)
    assert len(key) == 64
    assert kept.take(key, 10.0) == "thing"
    assert kept.take(key, 10.0) is None
    assert kept.take("", 10.0) is None


@pytest.mark.parametrize(("later", "found"), [(SECONDS, "thing"), (SECONDS + 1, None)])
def test_a_thing_is_kept_for_ten_minutes(later: float, found: str | None) -> None:
    kept: Pending[str] = Pending(os.urandom)
    assert kept.take(kept.keep("thing", 0.0, HOME), later) == found


def test_the_oldest_goes_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_logins, "MAX_KEPT", 2)
    kept: Pending[int] = Pending(os.urandom)
    keys = [kept.keep(i, 0.0, HOME) for i in range(3)]
    assert [kept.take(key, 0.0) for key in keys] == [None, 1, 2]


def test_a_network_that_fills_all_places_takes_none_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_logins, "MAX_KEPT", 4)
    kept: Pending[str] = Pending(os.urandom)
    own = kept.keep("own", 0.0, HOME)
    flood = [kept.keep("theirs", 0.0, ELSEWHERE) for _ in range(20)]
    later = kept.keep("later", 0.0, HOME)
    assert [kept.take(key, 0.0) for key in (own, later)] == ["own", "later"]
    assert sum(kept.take(key, 0.0) is not None for key in flood) == 2


def test_expired_pending_logins_are_evicted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_logins, "MAX_KEPT", 3)
    kept: Pending[str] = Pending(os.urandom)
    old = kept.keep("old", 0.0, HOME)
    fresh = [kept.keep("fresh", SECONDS + 1, ELSEWHERE) for _ in range(3)]
    assert [kept.take(key, SECONDS + 1) for key in (old, *fresh)] == [None, "fresh", "fresh", "fresh"]
