"""What is written into the audit log, and that nothing is shown without it."""

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import pytest

from admin_api.http.audit_dedup import Repeat
from admin_api.http.authorised_request import DONE, FIRST, AuthorisedRequest, Caller
from admin_api.http.bearer import Principal
from admin_api.http.messages import Message
from admin_api.http.permissions import Action
from admin_api.http.problems import REFUSED, Problem, conflict, not_found
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


def request(log, object, look=FIRST):
    principal = Principal(log, "1", "desk", ("admin",), "192.0.2.1")
    nothing: Any = None
    return AuthorisedRequest(Caller(nothing, principal, nothing, nothing, look), Action.VIEW, "admin", object)


def test_an_action_that_cannot_be_audited_gives_503():
    with pytest.raises(Problem) as raised:
        asyncio.run(request(Log(NoSpace("the disk is full")), CALL).note(DONE))
    assert raised.value.status == 503


def test_a_repeated_view_is_not_audited_but_a_refusal_is():
    log = Log()
    quiet = request(log, CALL, Repeat(quiet=True))
    asyncio.run(quiet.note(DONE))
    asyncio.run(quiet.note(REFUSED, "not found"))
    assert [act.outcome for act in log.acts] == ["refused"]


@pytest.mark.parametrize(
    ("error", "outcome", "count"), [(None, DONE, 1), (None, REFUSED, 0), (NoSpace("full"), DONE, 0)]
)
def test_only_an_audited_success_suppresses_later_entries(error, outcome, count):
    written = []
    one = request(Log(error), CALL, Repeat(written=lambda: written.append(1)))
    with suppress(Problem):
        asyncio.run(one.note(outcome))
    assert len(written) == count


def outcomes(log, act):
    """Do something that is audited; return what the log says of it."""

    async def do():
        asked = request(log, CALL)
        async with asked.audited():
            await act(asked)

    with suppress(Problem):
        asyncio.run(do())
    return [(each.outcome, each.reason) for each in log.acts]


async def refuse(problem):
    raise problem


OVER = Message("problem.over", "It is over.")


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda asked: asyncio.sleep(0), [("done", "")]),
        (lambda asked: asked.note(DONE, "7 calls"), [("done", "7 calls")]),
        (lambda asked: refuse(not_found("not found")), [("refused", "not found")]),
        (lambda asked: refuse(conflict(OVER, "the call is over")), [("failed", "the call is over")]),
        (lambda asked: refuse(not_found()), []),
    ],
)
def test_one_entry_says_how_it_ended(act, told):
    assert outcomes(Log(), act) == told
