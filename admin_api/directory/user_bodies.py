"""People in request bodies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from admin_api.http.messages import Message
from admin_api.http.problems import Fault
from admin_api.http.types import TEXTS, Given, right, said
from storage.directory.user import Person

MAX_FIELD = 512  # characters; the longest e-mail address has 254
MAX_SEVERAL = 50  # numbers, and addresses, of one person
KEYS = ("object_id", "upn", "email", "account_name")  # identities of a person, in order of precedence

_Text = Annotated[str, said(MAX_FIELD)]
_Texts = Annotated[
    list[_Text],
    Meta(max_length=MAX_SEVERAL),
    right(TEXTS.of(most=MAX_SEVERAL, size=MAX_FIELD)),
]


class UserRequest(Given):
    """A person, as a directory would describe them."""

    first_name: _Text | None = None
    last_name: _Text | None = None
    account_name: _Text | None = None
    email: _Text | None = None
    upn: _Text | None = None
    object_id: _Text | None = None
    numbers: _Texts | None = None
    addresses: _Texts | None = None

    schema: ClassVar[Mapping[str, Any]] = {
        "required": None,
        "anyOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in KEYS],
    }

    def faults(self) -> Iterable[Fault]:
        """Require what identifies the person."""
        if not self.key:
            key = Message("reason.no-identity", "must have one of {names}, which identify the person")
            yield "", key.of(names=KEYS)

    @property
    def key(self) -> str:
        """Return what identifies the person (`Person.key`), "" if nothing does."""
        named = self.object_id or self.upn or self.email or self.account_name or ""
        return named.strip().casefold()

    @property
    def person(self) -> Person:
        """Return the person, without blanks around what was sent."""
        given: dict[str, Any] = msgspec.structs.asdict(self)
        for name, value in given.items():
            several = name in ("numbers", "addresses")
            given[name] = tuple(dict.fromkeys(map(str.strip, value or ()))) if several else (value or "").strip()
        return Person(**given)


class UsersRequest(Given):
    """All people of a directory."""

    users: Annotated[list[UserRequest], right(Message("reason.people", "must be a list of people"))]
    """The complete list; a user who is not in it has left."""
    accept: bool | None = None
    """Accept the list even if so many would leave that it looks broken."""

    entry: ClassVar[str] = "[{}]"

    def faults(self) -> Iterable[Fault]:
        """Require that everybody is named once."""
        known = set[str]()
        for number, each in enumerate(self.users):
            if each.key in known:
                twice = Message("reason.person-twice", "has the same identity as an earlier person in the list")
                yield f"users[{number}]", twice
                return
            known.add(each.key)
