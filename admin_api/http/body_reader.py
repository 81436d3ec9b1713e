"""Members of JSON bodies: each is read and checked once, and all faults are told together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from admin_api.http import json_body, query_parameters
from admin_api.http.authorised_request import AuthorisedRequest
from admin_api.http.problems import invalid

T = TypeVar("T")


class Members:
    """An object that somebody sent; reading a member that is not as described notes a fault and gives a blank."""

    def __init__(self, given: object, known: Collection[str], where: str = "") -> None:
        """`where` names the member that the object itself is, "" for the body."""
        self._given: Mapping[str, Any] = given if isinstance(given, dict) else {}
        self._where = where
        self.errors: list[dict[str, str]] = []
        if not isinstance(given, dict):
            self.wrong("", "must be a JSON object")
        elif set(given) - set(known):
            self.wrong("", f"there is an unknown member; known are {', '.join(known) or 'none'}")

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def raw(self, name: str) -> Any:
        """Return a member as it was sent, None if it was not."""
        return self._given.get(name)

    def wrong(self, name: str, reason: str) -> None:
        """Note a fault of a member, "" for the object as a whole; nothing that was sent is repeated."""
        named = ".".join(part for part in (self._where, name) if part)
        self.errors.append({"in": "body", **({"name": named} if named else {}), "reason": reason})

    def include(self, faults: Iterable[dict[str, str]]) -> None:
        """Note the faults of a part that was read by itself."""
        self.errors += faults

    def text(self, name: str, most: int) -> str:
        """Read a text that must be there and not be blank."""
        value = self._given.get(name)
        if isinstance(value, str) and value.strip() and len(value) <= most:
            return value
        self.wrong(name, f"must be a text of 1 to {most} characters")
        return ""

    def maybe_text(self, name: str, most: int) -> str | None:
        """Read a text that may be left out or be null."""
        return None if self._given.get(name) is None else self.text(name, most)

    def moment(self, name: str) -> datetime | None:
        """Read a time that must be there; None if it is faulty."""
        try:
            return query_parameters.time(self._given.get(name) or "")
        except (TypeError, ValueError, AttributeError):
            self.wrong(name, f"must be {query_parameters.SINCE.right}")
            return None

    def whole(self, name: str, most: int) -> int | None:
        """Read a whole number from 0 on that must be there; null means none."""
        value = self._given.get(name)
        well = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
        if name not in self._given or not (value is None or well):
            self.wrong(name, f"must be a whole number from 0 to {most}, or null")
            return None
        return value

    def done(self) -> None:
        """Raise Problem 422 if anything was wrong."""
        if self.errors:
            raise invalid(self.errors)


def parse(data: bytes, known: Collection[str], *, blank: bool = False) -> Members:
    """Read a body; with `blank` an empty one counts as {}. Raises Problem 422."""
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
    """Return what reads a body with one text in it; it raises Problem 422."""

    def read(data: bytes) -> str:
        body = parse(data, (name,))
        text = body.text(name, most)
        body.done()
        return text

    return read


async def given(request: AuthorisedRequest, read: Callable[[bytes], T]) -> T:
    """Read the body of a request that takes no parameters; what is not as described is noted as a refused try."""
    async with request.well_formed():
        request.no_parameters()
        return read(await json_body.body(request.http))
