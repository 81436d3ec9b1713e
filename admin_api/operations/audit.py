"""The audit log, for auditors only: one page, or a file of all matching entries; with several nodes, of all nodes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated, Any, NotRequired, TypedDict, cast

from msgspec import Meta
from starlette.responses import Response

from admin_api.calls.playback import Sent
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.messages import Message
from admin_api.http.permissions import Action, Role
from admin_api.http.problems import FAILED, REFUSED
from admin_api.http.types import Cursor, Given, Limit, Since, Time, Until, line, right, text, word
from storage.access.actor import Kind
from storage.audit import audit_files
from storage.audit.audit_files import Wanted
from storage.audit.audit_log import MAX_PAGE
from storage.audit.hash_chain import MAX_FIELD
from storage.calls.call_row import DEFAULT_LIMIT
from storage.exports import table_writers
from storage.ids import is_id

MAX_ACTION = 40  # characters; the longest of ours has 20
COLUMNS = tuple("n time actor actor_kind actor_id role action object outcome reason source hash".split())
"""Members of an entry in the order of a file's columns; where several nodes have a log each, `node` is the last."""
FORMATS = {"csv": table_writers.TYPES["csv"], "json": table_writers.TYPES["json"]}
_AUDITOR = (Role.AUDITOR,)


def _action(text: str) -> str:
    """Read an action name, checked by its form: actions of the recorder itself are not in the enum Action."""
    if not text.isascii() or not text.replace(".", "a").replace("_", "a").isalpha():
        raise ValueError
    return text


def _object(text: str) -> str:
    if not is_id(text):
        raise ValueError
    return text


_Actor = Annotated[
    str,
    text(MAX_FIELD, "anna", line),
    right(Message("reason.actor", "must be the name of a token or account, as entries have it")),
]
_Action = Annotated[
    str,
    Meta(
        max_length=MAX_ACTION,
        examples=[Action.PLAY.value],
        extra={"text": _action},
        extra_json_schema={"pattern": "^[a-z_.]+$"},
    ),
    right(Message("reason.action", "must be an act as entries have it, such as call.media")),
]
_Object = Annotated[
    str,
    Meta(
        examples=["1b4e28ba-2fa1-4d2b-883f-0016d3cca427"], extra={"text": _object}, extra_json_schema={"format": "uuid"}
    ),
    right(Message("reason.object", "must be an id; that of a call means the exports and reports that hold it too")),
]


class Conditions(Given):
    """Which entries are wanted."""

    since: Since | None = None
    until: Until | None = None
    actor: _Actor | None = None
    action: _Action | None = None
    object: _Object | None = None


class AuditQuery(Conditions):
    """The query of a page of entries."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


class AuditFileQuery(Conditions):
    """The query of a file of entries."""

    format: Annotated[str, word(FORMATS, " or ".join(FORMATS)), Meta(examples=["csv"])] = "csv"


class AuditEntry(TypedDict):
    """Who did what."""

    n: NotRequired[Annotated[int, Meta(ge=1)]]
    time: Time
    actor: str
    actor_kind: NotRequired[Annotated[str, word(Kind)]]
    actor_id: NotRequired[str]
    role: str
    action: str
    object: str
    outcome: Annotated[str, word((DONE, REFUSED, FAILED))]
    reason: str
    source: NotRequired[str]
    hash: NotRequired[str]
    node: NotRequired[str]


class AuditPage(TypedDict):
    """One page of entries."""

    items: list[AuditEntry]
    next_cursor: str | None


@endpoint("GET", "/audit", Action.AUDIT, _AUDITOR)
async def list_entries(request: AuthorisedRequest, query: AuditQuery) -> AuditPage:
    """Who did what, newest first; reading it is an entry too."""
    wanted = await _wanted(request, query)
    page = await _read(request, query.since, query.cursor, query.limit, wanted)
    return {"items": cast("list[AuditEntry]", list(page.items)), "next_cursor": page.next_cursor}


@endpoint("GET", "/audit/file", Action.AUDIT_FILE, _AUDITOR, files=FORMATS.values())
async def file(request: AuthorisedRequest, query: AuditFileQuery) -> Response:
    """Who did what as a file, csv or JSON.

    All matching entries, newest first, are read while they are sent.
    """
    wanted = await _wanted(request, query)
    await request.note(DONE, query.format)
    headers = {
        "Content-Type": FORMATS[query.format],
        "Content-Disposition": f'attachment; filename="audit.{query.format}"',
    }
    chunks = _chunks(request, query.since, wanted, query.format, reading=request.http.method == "GET")
    return Sent(chunks, headers)


async def _read(
    request: AuthorisedRequest, since: datetime | None, cursor: str | None, limit: int, wanted: Wanted
) -> audit_files.AuditPage:
    """Read a page of entries: of all nodes if there are several."""
    copies = request.customer.audit_copies
    if copies is not None:
        return await copies.read(since, cursor, min(limit, MAX_PAGE), wanted)
    return await asyncio.to_thread(request.customer.audit.read, since, cursor, limit, wanted)


async def _wanted(request: AuthorisedRequest, query: Conditions) -> Wanted:
    """Return the filter; for a call, it includes exports and reports that contain the call."""
    objects = set[str]()
    if query.object is not None:
        objects = {query.object, *await request.customer.exports.holding([query.object])}
        for id in tuple(objects):
            export = await request.customer.exports.get(id)
            objects |= {export.case} if export is not None and export.case is not None else set()
    return Wanted(query.actor, query.action, frozenset(objects), query.until)


async def _chunks(
    request: AuthorisedRequest, since: datetime | None, wanted: Wanted, form: str, *, reading: bool
) -> AsyncIterator[bytes]:
    out, cursor = bytearray(), None
    columns = COLUMNS if request.customer.audit_copies is None else (*COLUMNS, "node")
    writer: table_writers.Writer = table_writers.CsvTable(out.extend, columns) if form == "csv" else _Json(out, columns)
    while reading:
        page = await _read(request, since, cursor, MAX_PAGE, wanted)
        writer.add([[item.get(name) for name in columns] for item in page.items])
        cursor = page.next_cursor
        if cursor is None:
            writer.close()
        if out:
            yield bytes(out)
            out.clear()
        if cursor is None:
            return


class _Json:
    """A JSON document in the same form as a page."""

    def __init__(self, out: bytearray, columns: Sequence[str]) -> None:
        self._out = out
        self._columns = columns
        self._before = b'{"items": ['

    def add(self, rows: Any) -> None:
        """Write rows of entries."""
        for row in rows:
            told = {name: value for name, value in zip(self._columns, row, strict=True) if value is not None}
            self._out += self._before + b"\n" + json.dumps(told).encode()
            self._before = b","

    def close(self) -> None:
        """Finish the document."""
        self._out += (b"" if self._before == b"," else self._before) + b"\n]}\n"
