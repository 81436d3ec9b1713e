"""Read people from request bodies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from admin_api.directory.user_schemas import KEYS, MAX_FIELD, MAX_SEVERAL
from admin_api.http import body_reader
from admin_api.http.body_reader import Members
from storage.directory.user import SEVERAL, SINGLE, Person

MAX_BODY = 4 << 20  # bytes of a whole list: parsing more at once would block the event loop for over 50 ms
MEMBERS = (*SINGLE, *SEVERAL)


@dataclass(frozen=True, slots=True)
class WholeList:
    """All people of a directory."""

    people: tuple[Person, ...] = field(repr=False)
    """The complete list; a user who is not in it has left."""
    accept: bool
    """Accept the list even if so many would leave that it looks broken."""


def one(data: bytes) -> Person:
    """Read a person; raises Problem 422."""
    body = body_reader.parse(data, MEMBERS)
    found = _person(body)
    body.done()
    return found


def everybody(data: bytes) -> WholeList:
    """Read a whole list; raises Problem 422, which names only the first invalid person."""
    body = body_reader.parse(data, ("users", "accept"))
    given, accept = body.raw("users"), body.raw("accept")
    if not isinstance(given, list):
        body.wrong("users", "must be a list of people")
    if accept not in (None, True, False):
        body.wrong("accept", "must be true or false")
    body.done()
    people: dict[str, Person] = {}
    for number, each in enumerate(given):
        entry = Members(each, MEMBERS, f"users[{number}]")
        person = _person(entry)
        if person.key in people:
            entry.wrong("", "has the same identity as an earlier person in the list")
        entry.done()
        people[person.key] = person
    return WholeList(tuple(people.values()), bool(accept))


def _person(body: Members) -> Person:
    """Read the members of a person and record their errors."""
    single: dict[str, Any] = {name: (body.maybe_text(name, MAX_FIELD) or "").strip() for name in SINGLE}
    several: Mapping[str, Any] = {name: _texts(body, name) for name in SEVERAL}
    person = Person(**single, **several)
    if not person.key and not body.errors:
        body.wrong("", f"must have one of {', '.join(KEYS)}, which identify the person")
    return person


def _texts(body: Members, name: str) -> tuple[str, ...]:
    given = body.raw(name)
    if given is None:
        return ()
    well = isinstance(given, list) and len(given) <= MAX_SEVERAL
    if not well or not all(isinstance(text, str) and 0 < len(text.strip()) <= MAX_FIELD for text in given):
        body.wrong(name, f"must be a list of at most {MAX_SEVERAL} texts of 1 to {MAX_FIELD} characters")
        return ()
    return tuple(dict.fromkeys(text.strip() for text in given))
