"""Read and check the members of a JSON body once each, and report all errors together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from admin_api.http import json_body, query_parameters
from admin_api.http.authorised_request import AuthorisedRequest
from admin_api.http.problems import invalid

T = TypeVar("T")


class Members:
    """A JSON object from a client; reading an invalid member records an error and returns an empty value."""

    def __init__(self, given: object, known: Collection[str], where: str = "") -> None:
        """`where`: path of this object within the body, "" for the body itself."""
        self._given: Mapping[str, Any] = given if isinstance(given, dict) else {}
        self._where = where
        self.errors: list[dict[str, str]] = []
        if not isinstance(given, dict):
            self.wrong("", "must be a JSON object")
        elif set(given) - set(known):
            self.wrong("", f"unknown member; the known ones are {', '.join(known) or 'none'}")

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def raw(self, name: str) -> Any:
        """Return a member as sent, None if it is absent."""
        return self._given.get(name)

    def wrong(self, name: str, reason: str) -> None:
        """Record an error of a member, "" for the whole object; never repeat what was sent."""
        named = ".".join(part for part in (self._where, name) if part)
        self.errors.append({"in": "body", **({"name": named} if named else {}), "reason": reason})

    def include(self, faults: Iterable[dict[str, str]]) -> None:
        """Record the errors of a part that was read separately."""
        self.errors += faults

    def text(self, name: str, most: int) -> str:
        """Read a required text that is not blank."""
        value = self._given.get(name)
        if isinstance(value, str) and value.strip() and len(value) <= most:
            return value
        self.wrong(name, f"must be a text of 1 to {most} characters")
        return ""

    def maybe_text(self, name: str, most: int) -> str | None:
        """Read an optional text; null counts as absent."""
        return None if self._given.get(name) is None else self.text(name, most)

    def moment(self, name: str) -> datetime | None:
        """Read a required time; None if it is invalid."""
        try:
            return query_parameters.time(self._given.get(name) or "")
        except (TypeError, ValueError, AttributeError):
            self.wrong(name, f"must be {query_parameters.SINCE.right}")
            return None

    def whole(self, name: str, most: int) -> int | None:
        """Read a required whole number of at least 0; null is allowed and means none."""
        value = self._given.get(name)
        well = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
        if name not in self._given or not (value is None or well):
            self.wrong(name, f"must be a whole number from 0 to {most}, or null")
            return None
        return value

    def done(self) -> None:
        """Raise Problem 422 if any error was recorded."""
        if self.errors:
            raise invalid(self.errors)


def parse(data: bytes, known: Collection[str], *, blank: bool = False) -> Members:
    """Read a body; with `blank`, an empty one counts as {}. Raises Problem 422."""
    if blank and not data.strip():
        return Members({}, known)
    try:
        given = json_body.parsed(data)
    except ValueError:
        raise invalid([{"in": "body", "reason": json_body.NO_JSON}]) from None
    members = Members(given, known)
    members.done()
    return members


def one_text(name: str, most: int) -> Callable[[bytes], str]:
    """Return a reader for a body with a single text member; the reader raises Problem 422."""

    def read(data: bytes) -> str:
        body = parse(data, (name,))
        text = body.text(name, most)
        body.done()
        return text

    return read


async def given(request: AuthorisedRequest, read: Callable[[bytes], T]) -> T:
    """Read the body of a request without parameters; an invalid one is logged as refused."""
    async with request.well_formed():
        request.no_parameters()
        return read(await json_body.body(request.http))
