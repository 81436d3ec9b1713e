"""Problem documents (RFC 9457) for every error; none repeats what the client sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:siprec-recorder:problem:"
REFUSED = "refused"
FAILED = "failed"
_MALFORMED = "not as described"

Fault = tuple[str, str]
"""A declared name that is wrong, "" for the whole, and what is right."""


class Problem(Exception):
    """An error answer: `code` names the kind, the detail says what to do.

    One with a `why` is written to the audit log as the `outcome` of the request that it ends.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
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
    """The bytes are no HTTP request, or one whose end a proxy may see elsewhere."""
    close = {"Connection": "close"}
    return Problem(400, "malformed", "This is not an HTTP request", "Send HTTP/1.1.", headers=close)


def unauthorized() -> Problem:
    """No token, or an unknown, revoked or expired one; the answer does not say which."""
    return Problem(
        401,
        "unauthorized",
        "A valid token is needed",
        "Send the header Authorization: Bearer TOKEN with a token made by `recorder token create`.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def forbidden(roles: Sequence[str]) -> Problem:
    """The token's roles do not allow it, whether the object exists or not."""
    return Problem(403, "forbidden", "This token may not do that", f"It needs one of these roles: {', '.join(roles)}.")


def own_request() -> Problem:
    """The requester of an erasure cannot approve it (four-eyes principle)."""
    return Problem(
        403,
        "own-request",
        "This token may not do that",
        "The token that asked for an erasure cannot approve it.",
        why="own request",
    )


def not_found(why: str = "") -> Problem:
    """Not found: unknown, another customer's or erased; the answer does not say which."""
    return Problem(
        404, "not-found", "Nothing was found here", "It does not exist, or this token may not see it.", why=why
    )


def wrong_method(allowed: Sequence[str]) -> Problem:
    """The path does not support this method."""
    listed = ", ".join(allowed)
    return Problem(
        405, "method-not-allowed", "This method is not allowed here", f"Use {listed}.", headers={"Allow": listed}
    )


def conflict(detail: str, why: str = "", outcome: str = FAILED) -> Problem:
    """The state of the object does not allow the action."""
    return Problem(409, "conflict", "Not possible in this state", detail, why=why, outcome=outcome)


def not_rendered(detail: str, *, later: bool) -> Problem:
    """A call cannot be rendered: at the moment, for lack of memory or time, or at all."""
    return unavailable(detail, "cannot be rendered") if later else conflict(detail, "cannot be rendered")


def too_slow() -> Problem:
    """The body did not arrive in time."""
    close = {"Connection": "close"}
    return Problem(
        408, "timeout", "The request took too long to arrive", "Send it again.", headers=close, why=_MALFORMED
    )


def too_large(limit: int) -> Problem:
    """The body is larger than the limit."""
    return Problem(413, "too-large", "The request is too large", f"At most {limit} bytes are accepted.", why=_MALFORMED)


def invalid(faults: Sequence[Fault], where: str = "body", why: str = _MALFORMED, outcome: str = REFUSED) -> Problem:
    """Parameters or body are invalid; `errors` names the declared ones that are wrong and says what is right."""
    errors = [{"in": where, **({"name": name} if name else {}), "reason": reason} for name, reason in faults]
    return Problem(
        422,
        "invalid",
        "The request is not valid",
        "Correct the members listed in `errors`; /openapi.json describes every request.",
        errors=errors,
        why=why,
        outcome=outcome,
    )


def too_many(seconds: int) -> Problem:
    """More requests than the limit allows."""
    return Problem(
        429,
        "too-many-requests",
        "Too many requests",
        "Wait for the time in Retry-After.",
        headers={"Retry-After": str(seconds)},
    )


def bug() -> Problem:
    """An unexpected failure; its details go to our log only."""
    return Problem(500, "fault", "The recorder failed", "The error was logged; trying again may help.")


def damaged() -> Problem:
    """Stored data cannot be opened."""
    return Problem(500, "damaged", "The data cannot be read", "`recorder verify` names what is damaged.")


def too_many_connections() -> Problem:
    """The limit of connections is reached."""
    headers = {"Retry-After": "1", "Connection": "close"}
    return Problem(503, "unavailable", "Not possible now", "Too many connections are open.", headers=headers)


def unavailable(detail: str, why: str = "", outcome: str = FAILED) -> Problem:
    """Not possible now; trying again later makes sense."""
    after = {"Retry-After": "1"}
    return Problem(503, "unavailable", "Not possible now", detail, headers=after, why=why, outcome=outcome)
