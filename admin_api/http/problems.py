"""Problem documents (RFC 9457) for everything that goes wrong; none of them repeats what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:siprec-recorder:problem:"


class Problem(Exception):
    """An answer that is not a success; `code` names the kind, the sentence says what to do."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = tuple(errors)

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
    """It is no HTTP request, or one whose end others see elsewhere."""
    close = {"Connection": "close"}
    return Problem(400, "malformed", "This is no HTTP request", "Send HTTP/1.1.", headers=close)


def unauthorized() -> Problem:
    """No token, or one that is unknown, revoked or expired: they are not told apart."""
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
    """Four eyes: whoever asked cannot approve."""
    return Problem(
        403, "own-request", "This token may not do that", "Nobody approves an erasure that the same token asked for."
    )


def not_found() -> Problem:
    """Nothing is here: unknown, of another customer and erased are not told apart."""
    return Problem(404, "not-found", "Nothing is here", "There is no such thing, or it is not for this token.")


def wrong_method(allowed: Sequence[str]) -> Problem:
    """The path exists, the method does not."""
    listed = ", ".join(allowed)
    return Problem(
        405, "method-not-allowed", "This method does nothing here", f"Use {listed}.", headers={"Allow": listed}
    )


def conflict(detail: str) -> Problem:
    """The object is not in a state that allows it."""
    return Problem(409, "conflict", "Not possible in this state", detail)


def not_rendered(detail: str, *, later: bool) -> Problem:
    """No file can be made of a call: now, for want of memory or time, or ever."""
    return unavailable(detail) if later else conflict(detail)


def too_slow() -> Problem:
    """The body did not come in time."""
    return Problem(408, "timeout", "The request came too slowly", "Send it again.", headers={"Connection": "close"})


def too_large(limit: int) -> Problem:
    """The body is larger than anything we take."""
    return Problem(413, "too-large", "The request is too large", f"At most {limit} bytes are taken.")


def invalid(errors: Sequence[Mapping[str, str]]) -> Problem:
    """Parameters or body are not as described; `errors` names the declared ones that are wrong and what is right."""
    return Problem(
        422,
        "invalid",
        "The request is not as described",
        "Correct what `errors` names; /openapi.json describes every request.",
        errors=errors,
    )


def too_many(seconds: int) -> Problem:
    """More requests than the limit allows."""
    return Problem(
        429,
        "too-many-requests",
        "Too many requests",
        "Wait as long as Retry-After says.",
        headers={"Retry-After": str(seconds)},
    )


def bug() -> Problem:
    """Something failed that should not: the text stays in our log."""
    return Problem(500, "fault", "The recorder failed", "The fault was logged; trying again may help.")


def damaged() -> Problem:
    """What was stored cannot be opened."""
    return Problem(500, "damaged", "This cannot be read", "`recorder verify` names what is damaged.")


def too_many_connections() -> Problem:
    """There are as many connections as there may be."""
    headers = {"Retry-After": "1", "Connection": "close"}
    return Problem(503, "unavailable", "Not possible now", "Too many connections are open.", headers=headers)


def unavailable(detail: str) -> Problem:
    """Not possible now; trying again later makes sense."""
    return Problem(503, "unavailable", "Not possible now", detail, headers={"Retry-After": "1"})
