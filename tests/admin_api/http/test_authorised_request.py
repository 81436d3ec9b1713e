"""What is written into the audit log, and that nothing is shown without it."""

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace

import pytest

from admin_api.http.audit_dedup import Repeat
from admin_api.http.authorised_request import DONE, REFUSED, AuthorisedRequest
from admin_api.http.bearer import Principal
from admin_api.http.permissions import Action
from admin_api.http.problems import Problem
from storage.errors import NoSpace

CALL = "6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11"


class Log:
    """An audit log that keeps acts in memory, or fails."""

    def __init__(self, error=None):
        self.acts, self.error, self.audit = [], error, self

    def append(self, act):
        self.acts.append(act)
        done = Future()
        done.set_exception(self.error) if self.error else done.set_result(1)
        return done


def request(log, object):
    principal = Principal(log, "1", "desk", ("admin",), "192.0.2.1")
    return AuthorisedRequest(None, principal, Action.VIEW, "admin", object, None)


def test_who_what_and_from_where():
    log = Log()
    asyncio.run(request(log, CALL).note(DONE, "why"))
    act = log.acts[0]
    assert (act.actor, act.role, act.action, act.object) == ("desk", "admin", "call.view", CALL)
    assert (act.outcome, act.reason, act.source) == ("done", "why", "192.0.2.1")


def test_an_object_that_is_no_id_is_left_out():
    log = Log()
    asyncio.run(request(log, "+4930123456").note(DONE))
    assert log.acts[0].object == ""


def test_an_action_that_cannot_be_audited_gives_503():
    with pytest.raises(Problem) as raised:
        asyncio.run(request(Log(NoSpace("the disk is full")), CALL).note(DONE))
    assert raised.value.status == 503


def test_a_repeated_view_is_not_audited_but_a_refusal_is():
    log = Log()
    quiet = replace(request(log, CALL), look=Repeat(quiet=True))
    asyncio.run(quiet.note(DONE))
    asyncio.run(quiet.note(REFUSED, "not found"))
    assert [act.outcome for act in log.acts] == ["refused"]


@pytest.mark.parametrize(
    ("error", "outcome", "count"), [(None, DONE, 1), (None, REFUSED, 0), (NoSpace("full"), DONE, 0)]
)
def test_only_an_audited_success_suppresses_later_entries(error, outcome, count):
    written = []
    one = replace(request(Log(error), CALL), look=Repeat(written=lambda: written.append(1)))
    with suppress(Problem):
        asyncio.run(one.note(outcome))
    assert len(written) == count
