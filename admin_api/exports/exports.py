"""Exports: request one, show its progress, fetch its file, cancel it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Required, TypedDict

from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from admin_api.calls.playback import Sent
from admin_api.calls.selection import ONE_WAY, RIGHT_PARTY, WAYS, CallIds, Conditions, one_way
from admin_api.exports.column_sets import Columns, each_once, others
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.messages import Message
from admin_api.http.permissions import PRIVACY, Action
from admin_api.http.problems import REFUSED, Fault, Problem, conflict, invalid, not_found
from admin_api.http.types import (
    FORMATS,
    MAX_PARTY,
    NULL_OR_ONE_OF,
    OBJECT_OR_NULL,
    AnyObject,
    Count,
    Given,
    Id,
    Listed,
    Page,
    Reason,
    Time,
    given,
    listed,
    right,
    said,
    word,
)
from storage.calls import stored_query
from storage.exports import columns, table_writers
from storage.exports.column_sets import MAX_NAME, ColumnSet, pick
from storage.exports.exports import REPORT, ExportState, Request
from storage.exports.exports import Export as StoredExport
from storage.ids import is_id
from storage.timestamps import rfc3339

MEDIA = FORMATS
ZIP = "application/zip"
CONTENT_TYPES = (*table_writers.TYPES.values(), ZIP)
CHUNK = 256 << 10  # bytes sent at once
_NO_SET = Message("reason.column-set", "must be the name or id of a set of GET /column-sets")
_SILENCE = Message("reason.silence-with-media", "must be true or false, and true only with party and media")
OTHER = Message("export-problem.other", "{text}")
"""The reason of a failed export of which only the sentence was stored."""
_IS_REPORT = Message(
    "problem.report-of-a-request",
    "This is the report of a request; fetch it with GET /requests/ID/report/file, which records who fetched it.",
)
ON_OTHER_NODE = Message(
    "problem.export-elsewhere", "The file is on node {node}, which made it. Fetch it there, or ask for it again here."
)
NOT_FINISHED = Message("problem.export-not-finished", "The export is not finished yet; its state shows when it is.")
_DEFAULT = next(iter(table_writers.TYPES))


class Progress(TypedDict, total=False):
    """How far an export is."""

    done: Count
    of: int | None


class Export(TypedDict, total=False):
    """An export and its state."""

    id: Required[Id]
    state: Required[Annotated[str, word(ExportState)]]
    format: Annotated[str, word((*table_writers.TYPES, REPORT))]
    media: str | None
    columns: list[str] | None
    created_at: Time
    created_by: str
    expires_at: Time
    size_bytes: Count | None
    problem: str | None
    progress: Annotated[Progress | None, OBJECT_OR_NULL]
    party: str | None
    query: AnyObject | None
    calls: Count | None
    reason: str | None


class ExportRequest(Given, kw_only=True):
    """What to export."""

    calls: CallIds | UnsetType = UNSET
    party: Annotated[str, said(MAX_PARTY), RIGHT_PARTY] | UnsetType = UNSET
    query: Conditions | UnsetType = UNSET
    format: Annotated[str, word(table_writers.TYPES), Meta(extra_json_schema={"default": _DEFAULT})] = _DEFAULT
    columns: Columns | UnsetType = UNSET
    column_set: Annotated[str, Meta(min_length=1, max_length=MAX_NAME), right(_NO_SET)] | UnsetType = UNSET
    media: Annotated[
        Annotated[str, word(MEDIA)] | bool | None,
        Meta(extra_json_schema={"enum": ["wav", "flac", "opus", "mp3", "pcap", "mkv", True, False, None]}),
        right(NULL_OR_ONE_OF.of(choices=MEDIA)),
    ] = None
    silence_others: Annotated[bool, right(_SILENCE)] = False
    reason: Reason

    null_is_absent: ClassVar[Collection[str]] = (*WAYS, "columns", "column_set")
    schema: ClassVar[Mapping[str, Any]] = {
        **ONE_WAY,
        "description": "Exactly one of `calls`, `party` and `query`. Without columns, no other people are exported.",
    }

    def faults(self) -> Iterable[Fault]:
        """Check members that exclude or need each other."""
        yield from one_way(self)
        yield from each_once(given(self.columns) or ())
        if self.columns is not UNSET and self.column_set is not UNSET:
            yield "column_set", Message("reason.null-with-columns", "must be null if there are columns")
        if self.silence_others and (self.whose is None or self.form is None):
            yield "silence_others", _SILENCE

    @property
    def whose(self) -> str | None:
        """Return the person whose calls are exported, None if they are chosen otherwise."""
        return given(self.query.party) if isinstance(self.query, Conditions) else given(self.party)

    @property
    def form(self) -> str | None:
        """Return the format of the media, None without media."""
        if isinstance(self.media, str):
            return str(self.media)
        return MEDIA[0] if self.media else None

    def wanted(self, sets: Sequence[ColumnSet]) -> Request:
        """Return the export to file; raises Problem 422 if there is no such column set."""
        ids = None if self.calls is UNSET else tuple(dict.fromkeys(filter(is_id, self.calls)))
        searched = stored_query.written(self.query.search) if isinstance(self.query, Conditions) else None
        names = self._columns(sets)
        return Request(
            self.format, names, self.reason, ids, given(self.party), self.form, self.silence_others, query=searched
        )

    def _columns(self, sets: Sequence[ColumnSet]) -> tuple[str, ...]:
        if self.columns is not UNSET:
            return tuple(self.columns)
        if self.column_set is UNSET:
            return columns.usual(self.whose is not None)
        kept = pick(sets, self.column_set)
        if kept is None:
            raise invalid([("column_set", _NO_SET)])
        return tuple(name for name in kept.columns if name in columns.COLUMNS)


@endpoint("POST", "/exports", Action.EXPORT, PRIVACY, status=202)
async def create(request: AuthorisedRequest, body: ExportRequest) -> Export:
    """Export many calls.

    The request is durable when the answer is sent.
    """
    wanted = body.wanted(await request.customer.column_sets.all())
    if wanted.calls is None:
        await request.settle_all()  # it must hold every call that an erasure with the same search would erase
    export = await request.customer.exports.file(wanted, request.principal.name)
    try:
        await request.note(DONE, _told(wanted), export.id)
    except Problem:  # without an audit entry, nothing is done
        await request.customer.exports.cancel(export.id)
        raise
    return shown(export, None)


@endpoint("GET", "/exports", Action.EXPORTS, PRIVACY)
async def list_exports(request: AuthorisedRequest, query: Page) -> Listed[Export]:
    """Exports that have not expired, newest first."""
    found, cursor = await request.customer.exports.listed(query.limit, query.cursor)
    progress = request.customer.exports.progress
    held = await request.customer.exports.sizes([export.id for export in found])
    return listed([shown(export, progress.get(export.id), held.get(export.id, 0)) for export in found], cursor)


@endpoint("GET", "/exports/{id}", Action.EXPORT_STATE, PRIVACY)
async def view(request: AuthorisedRequest, id: str) -> Export:
    """State and progress of an export."""
    export = await request.find(request.customer.exports.get)
    held = await request.customer.exports.sizes([export.id])
    return shown(export, request.customer.exports.progress.get(export.id), held.get(export.id, 0))


@endpoint("DELETE", "/exports/{id}", Action.EXPORT_CANCEL, PRIVACY)
async def cancel(request: AuthorisedRequest, id: str) -> Export:
    """Cancel an export, or delete its file."""
    await request.find(request.customer.exports.get)
    await request.note(DONE)
    export = await request.customer.exports.cancel(id)
    if export is None:
        raise not_found()
    return shown(export, None)


@endpoint(
    "GET",
    "/exports/{id}/file",
    Action.EXPORT_FILE,
    PRIVACY,
    files=CONTENT_TYPES,
    conflict="The export is not done yet, or is the report of a request",
)
async def file(request: AuthorisedRequest, id: str) -> Response:
    """The file of an export."""
    export = await request.find(request.customer.exports.get)
    if export.case is not None:
        raise conflict(_IS_REPORT, "the report of a request", REFUSED)
    if export.state is ExportState.RUNNING:
        raise conflict(NOT_FINISHED, "not done yet")
    if export.state is not ExportState.DONE or export.request is None:
        raise not_found("no file")
    await expect_here(request, export)
    await request.note(DONE)
    form = "zip" if export.request.media else export.format
    content_type = ZIP if export.request.media else table_writers.TYPES[export.format]
    return sent(request, export, content_type, f"export-{export.id}.{form}")


async def expect_here(request: AuthorisedRequest, export: StoredExport) -> None:
    """Raise Problem 409 if the file of a finished export is on another node."""
    number = request.customer.exports.elsewhere(export)
    if number is not None:
        there = ON_OTHER_NODE.of(node=await request.node_name(number))
        raise conflict(there, "on another node")


def sent(request: AuthorisedRequest, export: StoredExport, content_type: str, name: str) -> Response:
    """Answer with the file of an export, until its key is cut."""
    headers = {
        "Content-Type": content_type,
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(export.size_bytes or 0),
    }
    chunks = request.customer.exports.read(export) if request.http.method == "GET" else iter(())
    return Sent(away(chunks), headers, reading=partial(request.customer.exports.in_use.reading, export.leaf))


def problem_of(text: str | None, said: Mapping[str, Any] | None) -> Message | None:
    """Return the reason of a failure, or what the file lacks; older versions stored only the sentence."""
    if text is None or said is None:
        return None if text is None else OTHER.of(text=text)
    return Message(said["id"], text, said["values"])


def shown(export: StoredExport, progress: tuple[int, int | None] | None, held: int | None = None) -> Export:
    """Return an export in the form of the API; `held`: the calls it contains, if known."""
    request = export.request
    document: Export = {
        "id": export.id,
        "state": export.state.value,
        "format": export.format,
        "media": request.media if request else None,
        "columns": list(request.columns) if request else None,
        "created_at": rfc3339(export.created_at),
        "created_by": export.created_by,
        "expires_at": rfc3339(export.expires_at),
        "size_bytes": export.size_bytes,
        "problem": problem_of(export.problem, export.said),
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


async def away(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a source's chunks, each read in a thread.

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


def _told(request: Request) -> str:
    """Return the audit text: format, selection and media, without personal data."""
    whose = "query" if request.query else "party" if request.calls is None else f"{len(request.calls)} calls"
    media = f", media {request.media}" if request.media else ""
    return f"{request.format}, {whose}{media}{', other parties' if others(request.columns) else ''}"
