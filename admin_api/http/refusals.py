"""Problems for the refusals of storage and rendering, so that endpoints need not catch these errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from admin_api.http.messages import Message
from admin_api.http.ports import CannotRender
from admin_api.http.problems import FAILED, REFUSED, Problem, conflict, invalid, not_found, own_request, unavailable
from admin_api.http.reading import bad_cursor
from storage.attachments.attachments import MAX_PER_CALL, BadAttachment
from storage.cursors import BadCursor
from storage.directory.user_store import Mapped, Referred
from storage.erasure.erasures import Held, NoErasure, NoWaiver, OwnRequest
from storage.erasure.holds import NoCall
from storage.exports.column_sets import MAX_SETS, NameTaken, TooManySets
from storage.exports.exports import MAX_RUNNING, TooMany
from storage.subject_requests.candidates import MAX_CALLS, TooManyCalls
from storage.subject_requests.case_rows import State
from storage.subject_requests.cases import NoCase, Nothing, WrongState

_FIRST = {
    State.OPEN: Message("problem.confirm-first", "Confirm first which calls concern the person: PUT …/selection."),
    State.REPORTING: Message("problem.request-reporting", "A report is being made. Wait for it, or cancel it."),
    State.ERASING: Message("problem.request-erasing", "The calls of this request are being erased."),
}
_OVER = Message("problem.request-over", "The request is over; file a new one.")
_NO_WAIVER = Message(
    "problem.no-waiver", "Immediate erasure needs an active waiver. Put one on file with PUT /waiver, then ask again."
)
_HELD = Message(
    "problem.held",
    "{n} of these calls are under legal hold, so nothing is erased. "
    "Release them first, or leave them out; `hold` of a call says whether it is held.",
)
_NOTHING = Message(
    "problem.nothing-selected", "No call is selected, so there is nothing to erase. Select some with PUT …/selection."
)
_CANDIDATES = Message(
    "problem.too-many-candidates", "More than {n} calls match. File a request that names the person more closely."
).of(n=MAX_CALLS)
_EXPORTS = Message("problem.too-many-exports", "{n} exports are waiting already; wait for one, or cancel one.").of(
    n=MAX_RUNNING
)
_SETS = Message("problem.too-many-column-sets", "There are {n} column sets already; delete one first.").of(n=MAX_SETS)
_TAKEN = Message("problem.name-taken", "Another column set has this name. Choose another, or change that set.")
_MAPPED = Message("problem.user-mapped", "The user is still in the directory. Unmap it there or by POST …/unmap.")
_REFERRED = Message("problem.user-in-use", "Recordings refer to this user. It can be deleted once they are erased.")
_ATTACHMENTS = Message("reason.attachments", "a call has {n} attachments at most").of(n=MAX_PER_CALL)

_PROBLEMS: Mapping[type[Exception], Callable[[Any], Problem]] = {
    BadAttachment: lambda _: invalid([("", _ATTACHMENTS)], why="not taken", outcome=FAILED),
    BadCursor: lambda _: bad_cursor(),
    CannotRender: lambda error: (unavailable if error.later else conflict)(error.message, "cannot be rendered"),
    Held: lambda error: conflict(_HELD.of(n=len(error.ids)), f"{len(error.ids)} calls are under legal hold", REFUSED),
    Mapped: lambda _: conflict(_MAPPED, "still in the directory"),
    NameTaken: lambda _: conflict(_TAKEN, "name taken"),
    NoCall: lambda _: not_found("not found"),
    NoCase: lambda _: not_found("not found"),
    NoErasure: lambda _: not_found("not found"),
    NoWaiver: lambda _: conflict(_NO_WAIVER, "no active waiver", REFUSED),
    Nothing: lambda _: conflict(_NOTHING, "no call is selected"),
    OwnRequest: lambda _: own_request(),
    Referred: lambda _: conflict(_REFERRED, "recordings refer to it"),
    TooMany: lambda _: unavailable(_EXPORTS, "too many exports wait"),
    TooManyCalls: lambda _: conflict(_CANDIDATES, "too many calls match"),
    TooManySets: lambda _: conflict(_SETS, "too many column sets"),
    WrongState: lambda error: conflict(_FIRST.get(error.state, _OVER), f"the request is {error.state}"),
}


def refusal(error: Exception) -> Problem | None:
    """Return the Problem for an error that is a refusal, None if the error is a failure."""
    if isinstance(error, Problem):
        return error
    known = _PROBLEMS.get(type(error))
    return None if known is None else known(error)
