"""Request an export, show its progress, fetch its file, cancel it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from typing import Any

from starlette.responses import Response

from admin_api.calls import selection
from admin_api.calls.playback import Sent
from admin_api.exports import columns, table_writers
from admin_api.exports.column_sets import RIGHT_COLUMNS, others
from admin_api.http import json_body, query_parameters, responses
from admin_api.http.authorised_request import DONE, FAILED, REFUSED, AuthorisedRequest
from admin_api.http.permissions import is_id
from admin_api.http.problems import Problem, conflict, invalid, not_found, unavailable
from storage.calls import stored_query
from storage.cursors import BadCursor
from storage.exports.column_sets import ColumnSet, pick
from storage.exports.exports import Export, ExportState, Request, TooMany
from storage.keys.sealing import MAX_TEXT
from storage.timestamps import rfc3339

LISTED = (query_parameters.LIMIT, query_parameters.CURSOR)
FORMATS = ("xlsx", "csv", "json")
MEDIA = query_parameters.FORMATS
ZIP = "application/zip"
CONTENT_TYPES = (*table_writers.TYPES.values(), ZIP)
CHUNK = 256 << 10  # bytes sent at once
_WAYS = ("calls", "party", "query")
_MEMBERS = (*_WAYS, "format", "columns", "column_set", "media", "silence_others", "reason")


async def create(request: AuthorisedRequest) -> Response:
    """Answer POST /exports; the request is durable when the answer is sent."""
    request.no_parameters()
    sets = await request.customer.column_sets.all()
    async with request.well_formed():
        wanted = read(await json_body.body(request.http), sets)
    if wanted.calls is None:
        await request.settle_all()  # it must hold every call that an erasure with the same search would erase
    try:
        export = await request.customer.exports.file(wanted, request.principal.name)
    except TooMany as problem:
        await request.note(FAILED, "too many exports wait")
        raise unavailable(f"{problem}; {problem.hint}.") from None
    try:
        await request.note(DONE, _told(wanted), export.id)
    except Problem:  # without an audit entry, nothing is done
        await request.customer.exports.cancel(export.id)
        raise
    return responses.document(shown(export, None), 202)


async def listed(request: AuthorisedRequest) -> Response:
    """Answer GET /exports: those that have not expired, newest first."""
    given = request.parameters(LISTED)
    try:
        found, cursor = await request.customer.exports.listed(given["limit"], given["cursor"])
    except BadCursor:
        raise query_parameters.bad_cursor() from None
    await request.note(DONE)
    progress = request.customer.exports.progress
    held = await request.customer.exports.sizes([export.id for export in found])
    return responses.page([shown(export, progress.get(export.id), held.get(export.id, 0)) for export in found], cursor)


async def view(request: AuthorisedRequest) -> Response:
    """Answer GET /exports/{id}."""
    request.no_parameters()
    export = await _find(request)
    await request.note(DONE)
    held = await request.customer.exports.sizes([export.id])
    progress = request.customer.exports.progress.get(export.id)
    return responses.document(shown(export, progress, held.get(export.id, 0)))


async def cancel(request: AuthorisedRequest) -> Response:
    """Answer DELETE /exports/{id}: cancel it, or delete its file."""
    request.no_parameters()
    await _find(request)
    await request.note(DONE)
    export = await request.customer.exports.cancel(request.object)
    if export is None:
        raise not_found()
    return responses.document(shown(export, None))


async def file(request: AuthorisedRequest) -> Response:
    """Answer GET /exports/{id}/file."""
    request.no_parameters()
    export = await _find(request)
    if export.case is not None:
        await request.note(REFUSED, "the report of a request")
        raise conflict(
            "This is the report of a request; fetch it with GET /requests/ID/report/file, which records who fetched it."
        )
    if export.state is ExportState.RUNNING:
        await request.note(FAILED, "not done yet")
        raise conflict("The export is not finished yet; its state shows when it is.")
    if export.state is not ExportState.DONE or export.request is None:
        await request.note(REFUSED, "no file")
        raise not_found()
    await request.note(DONE)
    form = "zip" if export.request.media else export.format
    headers = {
        "Content-Type": ZIP if export.request.media else table_writers.TYPES[export.format],
        "Content-Disposition": f'attachment; filename="export-{export.id}.{form}"',
        "Content-Length": str(export.size_bytes or 0),
    }
    reading = request.http.method == "GET"
    chunks = request.customer.exports.read(export) if reading else iter(())
    keys = request.customer.keys
    return Sent(away(chunks), 200, headers, lambda: None, kept=lambda: keys.keeps(export.leaf))


def read(data: bytes, sets: Sequence[ColumnSet] = ()) -> Request:
    """Read the body of POST /exports; raises Problem 422."""
    try:
        given = json_body.parsed(data)
    except ValueError:
        raise invalid([_wrong("", json_body.NO_JSON)]) from None
    if not isinstance(given, dict):
        raise invalid([_wrong("", "must be a JSON object")])
    errors: list[dict[str, str]] = []
    if set(given) - set(_MEMBERS):
        errors.append(_wrong("", f"unknown member; the known ones are {', '.join(_MEMBERS)}"))
    reason, calls, party = given.get("reason"), given.get("calls"), given.get("party")
    if not isinstance(reason, str) or not reason.strip() or len(reason) > MAX_TEXT:
        errors.append(_wrong("reason", f"must be a text of 1 to {MAX_TEXT} characters"))
    if sum(given.get(way) is not None for way in _WAYS) != 1:
        errors.append(_wrong("calls", "exactly one of calls, party and query must be given"))
    if calls is not None and not (isinstance(calls, list) and calls and all(isinstance(each, str) for each in calls)):
        errors.append(_wrong("calls", "must be a list of ids of calls"))
    if party is not None and not query_parameters.is_party(party):
        errors.append(_wrong("party", f"must be {query_parameters.PARTY.right}"))
    query, faults = (None, []) if given.get("query") is None else selection.conditions(given["query"])
    errors += faults
    whose = party if query is None else query.party
    form, media = _form(given, errors), _media(given, errors)
    names = _columns(given, sets, errors, by_party=whose is not None)
    silence = given.get("silence_others", False)
    if not isinstance(silence, bool) or (silence and (whose is None or not media)):
        errors.append(_wrong("silence_others", "must be true or false, and true only with party and media"))
    if errors:
        raise invalid(errors)
    ids = None if calls is None else tuple(dict.fromkeys(each for each in calls if is_id(each)))
    searched = None if query is None else stored_query.written(query)
    return Request(form, names, str(reason), ids, party, media, bool(silence), query=searched)


def shown(export: Export, progress: tuple[int, int | None] | None, held: int | None = None) -> dict[str, Any]:
    """Show an export; `held`: the calls it contains, where known."""
    request = export.request
    document: dict[str, Any] = {
        "id": export.id,
        "state": export.state.value,
        "format": export.format,
        "media": request.media if request else None,
        "columns": list(request.columns) if request else None,
        "created_at": rfc3339(export.created_at),
        "created_by": export.created_by,
        "expires_at": rfc3339(export.expires_at),
        "size_bytes": export.size_bytes,
        "problem": export.problem,
        "progress": None,
        "party": _party(request),
        "query": _conditions(request),
        "calls": held,
        "reason": request.reason if request else None,
    }
    if progress is not None and export.state is ExportState.RUNNING:
        document["progress"] = {"done": progress[0], "of": progress[1]}
    return document


def _party(request: Request | None) -> str | None:
    """Return the person whose calls were requested, if it was one person's."""
    return (request.party or (request.query or {}).get("party")) if request else None


def _conditions(request: Request | None) -> dict[str, Any] | None:
    """Return the other conditions of the search, None if there was no search."""
    if request is None or request.query is None:
        return None
    return {name: value for name, value in request.query["query"].items() if value is not None}


async def _find(request: AuthorisedRequest) -> Export:
    """Return the export of the path; raises Problem 404."""
    return await request.find(request.customer.exports.get)


async def away(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read in a thread, a chunk at a time.

    An aborted download closes the file there too: it may be erased, and closing its last descriptor takes long.
    """
    turn = threading.Lock()  # a client that left does not wait for the read

    def some() -> bytes:
        data = bytearray()
        with turn:
            for chunk in chunks:
                data += chunk
                if len(data) >= CHUNK:
                    break
        return bytes(data)

    def close() -> None:
        with turn:
            if isinstance(chunks, Generator):
                chunks.close()

    try:
        while data := await asyncio.to_thread(some):
            yield data
    finally:
        asyncio.get_running_loop().run_in_executor(None, close)


def _form(given: Mapping[str, Any], errors: list[dict[str, str]]) -> str:
    form = given.get("format", FORMATS[0])
    if form not in FORMATS:
        errors.append(_wrong("format", f"must be one of {', '.join(FORMATS)}"))
    return str(form)


def _media(given: Mapping[str, Any], errors: list[dict[str, str]]) -> str | None:
    media = given.get("media")
    if media is None or media is False:
        return None
    if media is True:
        return MEDIA[0]
    if media not in MEDIA:
        errors.append(_wrong("media", f"must be null, or one of {', '.join(MEDIA)}"))
    return str(media)


def _columns(
    given: Mapping[str, Any], sets: Sequence[ColumnSet], errors: list[dict[str, str]], *, by_party: bool
) -> tuple[str, ...]:
    names, named = given.get("columns"), given.get("column_set")
    if names is not None and named is not None:
        errors.append(_wrong("column_set", "must be null if there are columns"))
        return ()
    if named is not None:
        kept = pick(sets, named) if isinstance(named, str) else None
        if kept is None:
            errors.append(_wrong("column_set", "must be the name or id of a set of GET /column-sets"))
        return tuple(name for name in kept.columns if name in columns.COLUMNS) if kept else ()
    if names is None:
        return columns.usual(by_party)
    well = isinstance(names, list) and 0 < len(names) <= columns.MAX_COLUMNS
    if not well or not all(isinstance(name, str) and name in columns.COLUMNS for name in names):
        errors.append(_wrong("columns", RIGHT_COLUMNS))
        return ()
    if len(set(names)) < len(names):
        errors.append(_wrong("columns", "must name each column once"))
    return tuple(names)


def _told(request: Request) -> str:
    """Return the audit text: what is asked for, but not about whom."""
    whose = "query" if request.query else "party" if request.calls is None else f"{len(request.calls)} calls"
    media = f", media {request.media}" if request.media else ""
    return f"{request.format}, {whose}{media}{', other parties' if others(request.columns) else ''}"


def _wrong(name: str, reason: str) -> dict[str, str]:
    return {"in": "body", **({"name": name} if name else {}), "reason": reason}
