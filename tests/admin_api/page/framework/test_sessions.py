"""Sessions: known by a cookie that is not kept, ended by idleness, age, or on purpose."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from admin_api.access.accounts_port import Person
from admin_api.http.bearer import Principal
from admin_api.page.framework import sessions as module
from admin_api.page.framework.sessions import IDLE_SECONDS, LONGEST_SECONDS, Sessions, genuine


@pytest.fixture
def sessions():
    numbers = itertools.count(1)
    return Sessions(lambda size: next(numbers).to_bytes(size, "big"))


def grace(name="Grace"):
    return Principal(SimpleNamespace(name="acme"), "", name, ("admin",), "192.0.2.1")


def test_a_cookie_leads_to_its_session_and_is_not_kept(sessions):
    session, cookie = sessions.open(grace(), 0.0)
    found = sessions.find(cookie, "192.0.2.9", 1.0)
    assert found is session
    assert found.principal.source == "192.0.2.9", "the audit log names the address used now"
    assert cookie not in repr(session) + repr(vars(sessions))
    assert session.csrf not in repr(session)


def test_each_session_has_a_name_of_its_own_for_limits(sessions):
    first, _ = sessions.open(grace(), 0.0)
    second, _ = sessions.open(grace(), 0.0)
    assert first.principal.token != second.principal.token


def test_an_idle_session_ends(sessions):
    _, cookie = sessions.open(grace(), 0.0)
    assert sessions.find(cookie, "", IDLE_SECONDS)
    assert sessions.find(cookie, "", 2 * IDLE_SECONDS + 1) is None
    assert sessions.find(cookie, "", 2 * IDLE_SECONDS + 1) is None, "and it stays ended"


def test_the_busiest_session_ends_too(sessions):
    _, cookie = sessions.open(grace(), 0.0)
    at = 0.0
    while at + IDLE_SECONDS <= LONGEST_SECONDS:
        at += IDLE_SECONDS
        assert sessions.find(cookie, "", at)
    assert sessions.find(cookie, "", LONGEST_SECONDS + 1) is None


def vouched(seconds):
    return Person(SimpleNamespace(name="acme"), "Grace", ("admin",), lasts=seconds)


def test_a_provider_has_to_vouch_again_after_a_while(sessions):
    _, cookie = sessions.open(grace(), 0.0, vouched(3600.0), "/openid/leave?customer=acme&provider=0")
    for at in range(0, 3600, 600):
        assert sessions.find(cookie, "", float(at)) and sessions.renewal(cookie, float(at)) == ""
    assert sessions.renewal(cookie, 3601.0) == "/openid/leave?customer=acme&provider=0"
    assert sessions.find(cookie, "", 3601.0) is None
    assert sessions.renewal(cookie, 3601.0) == "", "it has ended"


def test_an_idle_session_is_not_renewed(sessions):
    _, cookie = sessions.open(grace(), 0.0, vouched(3600.0), "/openid/leave")
    assert sessions.renewal(cookie, 3601.0) == "", "nobody was there for an hour"
    _, local = sessions.open(grace(), 0.0)
    sessions.find(local, "", LONGEST_SECONDS)
    assert sessions.renewal(local, LONGEST_SECONDS + 1) == "" == sessions.renewal("unknown", 0.0)


def test_the_least_recently_used_session_is_evicted(monkeypatch):
    monkeypatch.setattr(module, "MAX_SESSIONS", 2)
    numbers = itertools.count()
    sessions = Sessions(lambda size: next(numbers).to_bytes(size, "big"))
    cookies = [sessions.open(grace(), float(number))[1] for number in range(2)]
    sessions.find(cookies[0], "", 2.0)
    sessions.open(grace(), 3.0)
    assert sessions.find(cookies[0], "", 4.0)
    assert sessions.find(cookies[1], "", 4.0) is None


def test_only_its_own_token_makes_a_form_genuine(sessions):
    session, _ = sessions.open(grace(), 0.0)
    other, _ = sessions.open(grace(), 0.0)
    assert genuine(session, session.csrf)
    assert not genuine(session, other.csrf)
    assert not genuine(session, "")
    assert not genuine(session, "\ud800")


def test_repeated_sign_ins_end_only_ones_own_sessions(sessions, monkeypatch):
    monkeypatch.setattr(module, "MAX_OF_ONE", 2)
    _, his = sessions.open(grace("Alan"), 0.0)
    hers = [sessions.open(grace(), float(number))[1] for number in range(4)]
    assert sessions.find(his, "", 5.0)
    assert [bool(sessions.find(each, "", 5.0)) for each in hers] == [False, False, True, True]
