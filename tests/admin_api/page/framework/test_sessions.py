"""Sessions: known by a cookie that is not kept, ended by idleness, age, or on purpose."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from admin_api.access.accounts_port import Person
from admin_api.http.bearer import Principal
from admin_api.page.framework import sessions as module
from admin_api.page.framework.sessions import LONGEST_SECONDS, Sessions, genuine


@pytest.fixture
def sessions():
    numbers = itertools.count(1)
    return Sessions(lambda size: next(numbers).to_bytes(size, "big"))


ACME: Any = SimpleNamespace(name="acme")


def grace(name="Grace"):
    return Principal(ACME, "", name, ("admin",), "192.0.2.1")


async def test_a_cookie_leads_to_its_session_and_is_not_kept(sessions):
    session, cookie = await sessions.open(grace(), 0.0)
    found = sessions.find(cookie, "192.0.2.9", 1.0)
    assert found is session
    assert found.principal.source == "192.0.2.9", "the audit log names the address used now"
    assert cookie not in repr(session) + repr(vars(sessions))
    assert session.csrf not in repr(session)
    other, _ = await sessions.open(grace(), 0.0)
    assert session.principal.token != other.principal.token, "each has a name of its own for limits"
    sent = (session.csrf, other.csrf, "", "\ud800")
    assert [genuine(session, token) for token in sent] == [True, False, False, False]


def vouched(seconds):
    return Person(ACME, "Grace", ("admin",), lasts=seconds)


async def test_a_provider_has_to_vouch_again_unless_nobody_was_there(sessions):
    way = "/openid/leave?customer=acme&provider=0"
    _, cookie = await sessions.open(grace(), 0.0, vouched(3600.0), way)
    _, idle = await sessions.open(grace(), 0.0, vouched(3600.0), way)
    for at in range(0, 3600, 600):
        assert sessions.find(cookie, "", float(at)) and sessions.renewal(cookie, float(at)) == ""
    assert [sessions.renewal(each, 3601.0) for each in (cookie, idle)] == [way, ""]
    assert sessions.find(cookie, "", 3601.0) is None
    assert sessions.renewal(cookie, 3601.0) == "", "it has ended"
    _, local = await sessions.open(grace(), 0.0)
    sessions.find(local, "", LONGEST_SECONDS)
    assert sessions.renewal(local, LONGEST_SECONDS + 1) == "" == sessions.renewal("unknown", 0.0)


async def test_the_least_recently_used_session_is_evicted(monkeypatch, request):
    monkeypatch.setattr(module, "MAX_SESSIONS", 2)
    sessions = request.getfixturevalue("sessions")
    cookies = [(await sessions.open(grace(), float(number)))[1] for number in range(2)]
    sessions.find(cookies[0], "", 2.0)
    await sessions.open(grace(), 3.0)
    assert sessions.find(cookies[0], "", 4.0)
    assert sessions.find(cookies[1], "", 4.0) is None


async def test_repeated_sign_ins_end_only_ones_own_sessions(sessions, monkeypatch):
    monkeypatch.setattr(module, "MAX_OF_ONE", 2)
    _, his = await sessions.open(grace("Alan"), 0.0)
    hers = [(await sessions.open(grace(), float(number)))[1] for number in range(4)]
    assert sessions.find(his, "", 5.0)
    assert [bool(sessions.find(each, "", 5.0)) for each in hers] == [False, False, True, True]
