"""What is kept between two pages: taken once, for ten minutes, and not without bound."""

import os

import pytest

from admin_api.page.sign_in import pending_logins
from admin_api.page.sign_in.pending_logins import SECONDS, Pending
from tests.in_process.waiting import Clock

HOME, ELSEWHERE = "192.0.2.0/24", "2001:db8:0:100::/56"


async def test_a_thing_is_taken_once_within_ten_minutes() -> None:
    clock = Clock()
    kept: Pending[str] = Pending(os.urandom, clock)
    key, late = [await kept.keep("thing", HOME) for _ in range(2)]
    assert len(key) == 64
    clock.at += SECONDS
    assert [await kept.take(each) for each in (key, key, "")] == ["thing", None, None]
    clock.at += 1
    assert await kept.take(late) is None


async def test_a_network_that_fills_all_places_takes_none_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_logins, "MAX_KEPT", 4)
    kept: Pending[str] = Pending(os.urandom, Clock())
    own = await kept.keep("own", HOME)
    flood = [await kept.keep("theirs", ELSEWHERE) for _ in range(20)]
    later = await kept.keep("later", HOME)
    assert [await kept.take(key) for key in (own, later)] == ["own", "later"]
    assert len([key for key in flood if await kept.take(key) is not None]) == 2


async def test_expired_and_then_the_oldest_logins_are_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_logins, "MAX_KEPT", 3)
    clock = Clock()
    kept: Pending[str] = Pending(os.urandom, clock)
    old = await kept.keep("old", HOME)
    clock.at += SECONDS + 1
    keys = [await kept.keep(str(number), ELSEWHERE) for number in range(4)]
    assert [await kept.take(key) for key in (old, *keys)] == [None, None, "1", "2", "3"]
