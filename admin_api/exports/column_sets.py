"""Column sets: named lists of export columns; list, create or change, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from admin_api.exports import columns
from admin_api.http import body_reader, responses
from admin_api.http.authorised_request import DONE, FAILED, REFUSED, AuthorisedRequest
from admin_api.http.body_reader import Members
from admin_api.http.problems import conflict, invalid
from storage.exports.column_sets import MAX_NAME, ColumnSet, NameTaken, TooManySets
from storage.timestamps import rfc3339

RIGHT_COLUMNS = f"must be a list of names out of {', '.join(columns.COLUMNS)}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The set of a request body."""

    columns: tuple[str, ...]
    """Names of columns in order."""
    name: str | None = field(default=None, repr=False)
    """A new name, None to keep the old one."""


async def listed(request: AuthorisedRequest) -> Response:
    """Answer GET /column-sets: all of them, by name."""
    request.no_parameters()
    found = await request.customer.column_sets.all()
    await request.note(DONE)
    return responses.page([shown(each) for each in found], None)


async def put(request: AuthorisedRequest) -> Response:
    """Answer PUT /column-sets/{name or id}: create it or change it."""
    wanted = await body_reader.given(request, read)
    if not is_name(request.object):
        await request.note(REFUSED, "not as described")
        raise invalid(
            [{"in": "path", "name": "id", "reason": f"must be a name of 1 to {MAX_NAME} characters, or an id"}]
        )

    async def told(id: str) -> None:
        await request.note(
            DONE, f"{len(wanted.columns)} columns{', other parties' if others(wanted.columns) else ''}", id
        )

    try:
        kept, _ = await request.customer.column_sets.put(
            request.object, wanted.columns, rename=wanted.name, by=request.principal.name, told=told
        )
    except NameTaken:
        await request.note(FAILED, "name taken")
        raise conflict("Another column set has this name. Choose another one, or change that set.") from None
    except TooManySets as problem:
        await request.note(FAILED, "too many column sets")
        raise conflict(f"{str(problem).capitalize()}; {problem.hint}.") from None
    return responses.document(shown(kept))


async def delete(request: AuthorisedRequest) -> Response:
    """Answer DELETE /column-sets/{name or id}; exports made with it stay."""
    request.no_parameters()

    async def told(id: str) -> None:
        await request.note(DONE, object=id)

    if not await request.customer.column_sets.delete(request.object, told):
        raise await request.missing()
    return Response(status_code=204)


def read(data: bytes) -> Wanted:
    """Read the body of PUT /column-sets/{id}; raises Problem 422."""
    body = body_reader.parse(data, ("columns", "name"))
    names, name = columns_of(body), body.maybe_text("name", MAX_NAME)
    if name is not None and not is_name(name):
        body.wrong("name", "must be one line without control characters or /")
    body.done()
    return Wanted(names, name)


def columns_of(body: Members) -> tuple[str, ...]:
    """Read the member `columns` and record its errors."""
    names = body.raw("columns")
    well = isinstance(names, list) and 0 < len(names) <= columns.MAX_COLUMNS
    if not well or not all(isinstance(name, str) and name in columns.COLUMNS for name in names):
        body.wrong("columns", RIGHT_COLUMNS)
        return ()
    if len(set(names)) < len(names):
        body.wrong("columns", "must name each column once")
    return tuple(names)


def is_name(text: str) -> bool:
    """Return whether a text can name a set: it must fit in a URL path and on one line of a page."""
    return bool(text.strip()) and len(text) <= MAX_NAME and text.isprintable() and "/" not in text


def others(names: Sequence[str]) -> bool:
    """Return whether any of these columns shows other people than the party the export is about."""
    known = columns.COLUMNS
    return any(name in known and known[name].about is columns.About.OTHERS for name in names)


def shown(kept: ColumnSet) -> dict[str, Any]:
    """Show a set."""
    return {
        "id": kept.id,
        "name": kept.name,
        "columns": list(kept.columns),
        "other_parties": others(kept.columns),
        "changed_at": rfc3339(kept.changed_at),
        "changed_by": kept.changed_by,
    }
