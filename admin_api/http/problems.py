"""Problem documents (RFC 9457) for every error; none repeats the client's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from admin_api.errors import AdminApiError
from admin_api.http.messages import Message

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:siprec-recorder:problem:"
REFUSED = "refused"
FAILED = "failed"
_MALFORMED = "not as described"
_NO_TOKEN = Message("problem.unauthorized", "A valid token is needed")
_SEND_TOKEN = Message(
    "problem.send-token", "Send the header Authorization: Bearer TOKEN with a token made by `recorder token create`."
)
_FORBIDDEN = Message("problem.forbidden", "This token may not do that")
_ROLES = Message("problem.roles", "It needs one of these roles: {roles}.")
NOT_FOUND = Message("problem.not-found", "Nothing was found here")
_NOT_VISIBLE = Message("problem.not-visible", "It does not exist, or this token may not see it.")
_INVALID = Message("problem.invalid", "The request is not valid")
_CORRECT = Message(
    "problem.correct-these", "Correct the members listed in `errors`; /openapi.json describes every request."
)
NO_METHOD = Message("problem.no-method", "This method is not allowed here")
CONFLICT = Message("problem.conflict", "Not possible in this state")
NOT_NOW = Message("problem.not-now", "Not possible now")

Fault = tuple[str, Message]
"""The declared name of a wrong member, "" for the whole, and what is right."""


class Problem(AdminApiError):
    """An error answer: `code` names the kind, the detail says what to do.

    One with a `why` is written to the audit log as the `outcome` of the request that it ends.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: Message,
        detail: Message,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        why: str = "",
        outcome: str = REFUSED,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = tuple(errors)
        self.why = why
        self.outcome = outcome

    def document(self) -> dict[str, Any]:
        """Return the members of the problem document."""
        shown: dict[str, Any] = {
            "type": TYPE + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            shown["errors"] = [dict(error) for error in self.errors]
        return shown


def malformed() -> Problem:
    """Return the answer to bytes that are not an HTTP request, or one whose end a proxy may see elsewhere."""
    title = Message("problem.malformed", "This is not an HTTP request")
    close = {"Connection": "close"}
    return Problem(400, "malformed", title, Message("problem.send-http", "Send HTTP/1.1."), headers=close)


def unauthorized() -> Problem:
    """Return the answer to no token, or an unknown, revoked or expired one; it does not say which."""
    return Problem(401, "unauthorized", _NO_TOKEN, _SEND_TOKEN, headers={"WWW-Authenticate": "Bearer"})


def forbidden(roles: Sequence[str]) -> Problem:
    """Return the answer to an action that the token's roles do not allow, whether the object exists or not."""
    return Problem(403, "forbidden", _FORBIDDEN, _ROLES.of(roles=tuple(roles)))


def own_request() -> Problem:
    """Return the answer to approving an erasure as its requester (four-eyes principle)."""
    detail = Message("problem.own-request", "The token that asked for an erasure cannot approve it.")
    return Problem(403, "own-request", _FORBIDDEN, detail, why="own request")


def not_found(why: str = "") -> Problem:
    """Return the answer for an object that is unknown, another customer's or erased; it does not say which."""
    return Problem(404, "not-found", NOT_FOUND, _NOT_VISIBLE, why=why)


def wrong_method(allowed: Sequence[str]) -> Problem:
    """Return the answer to a method that the path does not support."""
    detail = Message("problem.methods", "Use {methods}.").of(methods=tuple(allowed))
    return Problem(405, "method-not-allowed", NO_METHOD, detail, headers={"Allow": ", ".join(allowed)})


def conflict(detail: Message, why: str = "", outcome: str = FAILED) -> Problem:
    """Return the answer to an action that the state of the object does not allow."""
    return Problem(409, "conflict", CONFLICT, detail, why=why, outcome=outcome)


def too_slow() -> Problem:
    """Return the answer to a body that did not arrive in time."""
    title = Message("problem.timeout", "The request took too long to arrive")
    again = Message("problem.send-again", "Send it again.")
    return Problem(408, "timeout", title, again, headers={"Connection": "close"}, why=_MALFORMED)


def too_large(limit: int) -> Problem:
    """Return the answer to a body that is larger than the limit."""
    title = Message("problem.too-large", "The request is too large")
    most = Message("problem.most-bytes", "At most {limit} bytes are accepted.").of(limit=limit)
    return Problem(413, "too-large", title, most, why=_MALFORMED)


def invalid(faults: Sequence[Fault], where: str = "body", why: str = _MALFORMED, outcome: str = REFUSED) -> Problem:
    """Return the answer to invalid input; `errors` names the declared members that are wrong and says what is right."""
    errors = [{"in": where, **({"name": name} if name else {}), "reason": reason} for name, reason in faults]
    return Problem(422, "invalid", _INVALID, _CORRECT, errors=errors, why=why, outcome=outcome)


def too_many(seconds: int) -> Problem:
    """Return the answer to more requests than the limit allows."""
    return Problem(
        429,
        "too-many-requests",
        Message("problem.too-many-requests", "Too many requests"),
        Message("problem.wait", "Wait for the time in Retry-After."),
        headers={"Retry-After": str(seconds)},
    )


def bug() -> Problem:
    """Return the answer after an unexpected failure, whose details go to our log only."""
    title = Message("problem.fault", "The recorder failed")
    return Problem(500, "fault", title, Message("problem.logged", "The error was logged; trying again may help."))


def damaged() -> Problem:
    """Return the answer for stored data that cannot be opened."""
    title = Message("problem.damaged", "The data cannot be read")
    return Problem(500, "damaged", title, Message("problem.verify", "`recorder verify` names what is damaged."))


def too_many_connections() -> Problem:
    """Return the answer when the limit of connections is reached."""
    detail = Message("problem.too-many-connections", "Too many connections are open.")
    return Problem(503, "unavailable", NOT_NOW, detail, headers={"Retry-After": "1", "Connection": "close"})


def unavailable(detail: Message, why: str = "", outcome: str = FAILED) -> Problem:
    """Return the answer to a request that is not possible now, but may be later."""
    return Problem(503, "unavailable", NOT_NOW, detail, headers={"Retry-After": "1"}, why=why, outcome=outcome)
