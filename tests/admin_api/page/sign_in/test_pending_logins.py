"""What is kept between two pages: taken once, for ten minutes, and not without bound."""

import os

import pytest

from admin_api.page.sign_in import pending_logins
from admin_api.page.sign_in.pending_logins import SECONDS, Pending

HOME, ELSEWHERE = "192.0.2.0/24", "2001:db8:0:100::/56"


def test_a_thing_is_taken_once_within_ten_minutes() -> None:
    kept: Pending[str] = Pending(os.urandom)
    key, late = (kept.keep("thing", 0.0, HOME) for _ in range(2))
    assert len(key) == 64
    assert [kept.take(each, SECONDS) for each in (key, key, "")] == ["thing", None, None]
    assert kept.take(late, SECONDS + 1) is None


def test_a_network_that_fills_all_places_takes_none_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_logins, "MAX_KEPT", 4)
    kept: Pending[str] = Pending(os.urandom)
    own = kept.keep("own", 0.0, HOME)
    flood = [kept.keep("theirs", 0.0, ELSEWHERE) for _ in range(20)]
    later = kept.keep("later", 0.0, HOME)
    assert [kept.take(key, 0.0) for key in (own, later)] == ["own", "later"]
    assert sum(kept.take(key, 0.0) is not None for key in flood) == 2


def test_expired_and_then_the_oldest_logins_are_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_logins, "MAX_KEPT", 3)
    kept: Pending[str] = Pending(os.urandom)
    old, now = kept.keep("old", 0.0, HOME), SECONDS + 1
    keys = [kept.keep(str(number), now, ELSEWHERE) for number in range(4)]
    assert [kept.take(key, now) for key in (old, *keys)] == [None, None, "1", "2", "3"]
