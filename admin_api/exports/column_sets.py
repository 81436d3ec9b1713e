"""Column sets: named lists of export columns; list, create or change, delete."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, TypedDict

from msgspec import Meta

from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.messages import Message
from admin_api.http.permissions import PRIVACY, Action
from admin_api.http.problems import Fault, invalid, not_found
from admin_api.http.types import Given, Id, Listed, Time, listed, right, said, word
from storage.exports import columns
from storage.exports.column_sets import MAX_NAME
from storage.exports.column_sets import ColumnSet as StoredSet
from storage.timestamps import rfc3339

Columns = Annotated[
    list[Annotated[str, word(columns.COLUMNS)]],
    Meta(min_length=1, max_length=columns.MAX_COLUMNS, extra_json_schema={"uniqueItems": True}),
    right(Message("reason.columns", "must be a list of names out of {names}").of(names=tuple(columns.COLUMNS))),
]


class ColumnSet(TypedDict):
    """A named list of columns."""

    id: Id
    name: str
    columns: list[str]
    other_parties: bool
    changed_at: Time
    changed_by: str


class ColumnSetRequest(Given):
    """The columns of a set, in order."""

    columns: Columns
    name: Annotated[str, said(MAX_NAME)] | None = None

    def faults(self) -> Iterable[Fault]:
        """Check the new name, and that no column is named twice."""
        if self.name is not None and not is_name(self.name):
            yield "name", Message("reason.line", "must be one line without control characters or /")
        yield from each_once(self.columns)


@endpoint("GET", "/column-sets", Action.COLUMN_SETS, PRIVACY)
async def list_sets(request: AuthorisedRequest) -> Listed[ColumnSet]:
    """Named column sets for exports.

    All of them, by name.
    """
    return listed([shown(each) for each in await request.customer.column_sets.all()])


@endpoint(
    "PUT",
    "/column-sets/{id}",
    Action.COLUMN_SET_WRITE,
    PRIVACY,
    conflict="Another set has this name, or there are too many sets",
)
async def put(request: AuthorisedRequest, id: str, body: ColumnSetRequest) -> ColumnSet:
    """Create or change a column set; {id} is its name or id."""
    if not is_name(id):
        name = Message("reason.name-or-id", "must be a name of 1 to {most} characters, or an id").of(most=MAX_NAME)
        raise invalid([("id", name)], "path")
    names = tuple(body.columns)
    told = partial(request.note, DONE, f"{len(names)} columns{', other parties' if others(names) else ''}")
    kept, _ = await request.customer.column_sets.put(id, names, rename=body.name, by=request.principal.name, told=told)
    return shown(kept)


@endpoint("DELETE", "/column-sets/{id}", Action.COLUMN_SET_DELETE, PRIVACY)
async def delete(request: AuthorisedRequest, id: str) -> None:
    """Delete a column set; {id} is its name or id.

    Exports made with it stay.
    """
    if not await request.customer.column_sets.delete(id, partial(request.note, DONE, "")):
        raise not_found("not found")


def each_once(names: Sequence[str]) -> Iterable[Fault]:
    """Require that no column is named twice."""
    if len(set(names)) < len(names):
        yield "columns", Message("reason.columns-once", "must name each column once")


def is_name(text: str) -> bool:
    """Return whether a text can name a set: it must fit in a URL path and on one line of a page."""
    return bool(text.strip()) and len(text) <= MAX_NAME and text.isprintable() and "/" not in text


def others(names: Sequence[str]) -> bool:
    """Return whether any of these columns shows other people than the party the export is about."""
    known = columns.COLUMNS
    return any(name in known and known[name].about is columns.About.OTHERS for name in names)


def shown(kept: StoredSet) -> ColumnSet:
    """Return a set in the form of the API."""
    return {
        "id": kept.id,
        "name": kept.name,
        "columns": list(kept.columns),
        "other_parties": others(kept.columns),
        "changed_at": rfc3339(kept.changed_at),
        "changed_by": kept.changed_by,
    }
