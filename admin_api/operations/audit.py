"""The audit log, for auditors only: one page, or all matching entries as a file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from starlette.responses import Response

from admin_api.calls.playback import Sent
from admin_api.exports import table_writers
from admin_api.http import query_parameters, responses
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.permissions import Action, is_id
from storage.audit.audit_files import Wanted
from storage.audit.audit_log import MAX_PAGE
from storage.audit.hash_chain import MAX_FIELD, AuditError

MAX_ACTION = 40  # characters; the longest of ours has 20
COLUMNS = tuple("n time actor actor_kind actor_id role action object outcome reason source hash".split())
"""Members of an entry in the order of a file's columns."""


def _action(text: str) -> str:
    """Read an action name by its form: actions of the recorder itself are not in the enum Action."""
    if len(text) > MAX_ACTION or not text.isascii() or not text.replace(".", "a").replace("_", "a").isalpha():
        raise ValueError
    return text


def _object(text: str) -> str:
    if not is_id(text):
        raise ValueError
    return text


FORMATS = {"csv": table_writers.TYPES["csv"], "json": table_writers.TYPES["json"]}
ACTOR = query_parameters.Parameter(
    "actor",
    query_parameters.line(MAX_FIELD),
    "the name of a token or account, as entries have it",
    {"type": "string", "minLength": 1, "maxLength": MAX_FIELD},
    "anna",
)
ACTION = query_parameters.Parameter(
    "action",
    _action,
    "an act as entries have it, such as call.media",
    {"type": "string", "pattern": "^[a-z_.]+$", "maxLength": MAX_ACTION},
    Action.PLAY.value,
)
OBJECT = query_parameters.Parameter(
    "object",
    _object,
    "an id; that of a call means the exports and reports that hold it too",
    {"type": "string", "format": "uuid"},
    "1b4e28ba-2fa1-4d2b-883f-0016d3cca427",
)
FORMAT = query_parameters.Parameter(
    "format",
    query_parameters.word(*FORMATS),
    "csv or json",
    {"type": "string", "enum": list(FORMATS)},
    "csv",
    next(iter(FORMATS)),
)
CONDITIONS = (query_parameters.SINCE, query_parameters.UNTIL, ACTOR, ACTION, OBJECT)
AUDIT = (*CONDITIONS, query_parameters.LIMIT, query_parameters.CURSOR)
FILE = (*CONDITIONS, FORMAT)


async def listed(request: AuthorisedRequest) -> Response:
    """Answer GET /audit: entries, newest first; reading them is logged too."""
    given = request.parameters(AUDIT)
    wanted, log = await _wanted(request, given), request.customer.audit
    try:
        page = await asyncio.to_thread(log.read, given["since"], given["cursor"], given["limit"], wanted)
    except AuditError:
        if given["cursor"] is None:
            raise
        raise query_parameters.bad_cursor() from None
    await request.note(DONE)
    return responses.page(page.items, page.next_cursor)


async def file(request: AuthorisedRequest) -> Response:
    """Answer GET /audit/file: all matching entries, newest first, read while they are sent."""
    given = request.parameters(FILE)
    wanted = await _wanted(request, given)
    await request.note(DONE, given["format"])
    headers = {
        "Content-Type": FORMATS[given["format"]],
        "Content-Disposition": f'attachment; filename="audit.{given["format"]}"',
    }
    chunks = _chunks(request, given["since"], wanted, given["format"], reading=request.http.method == "GET")
    return Sent(chunks, 200, headers, lambda: None, kept=lambda: True)


async def _wanted(request: AuthorisedRequest, given: Mapping[str, Any]) -> Wanted:
    """Return the filter; for a call, it includes exports and reports that contain the call."""
    objects = set[str]()
    if given["object"] is not None:
        objects = {given["object"], *await request.customer.exports.holding([given["object"]])}
        for id in tuple(objects):
            export = await request.customer.exports.get(id)
            objects |= {export.case} if export is not None and export.case is not None else set()
    return Wanted(given["actor"], given["action"], frozenset(objects), given["until"])


async def _chunks(
    request: AuthorisedRequest, since: datetime | None, wanted: Wanted, form: str, *, reading: bool
) -> AsyncIterator[bytes]:
    out, cursor = bytearray(), None
    writer: table_writers.Writer = table_writers.CsvTable(out.extend, COLUMNS) if form == "csv" else _Json(out)
    while reading:
        page = await asyncio.to_thread(request.customer.audit.read, since, cursor, MAX_PAGE, wanted)
        writer.add([[item.get(name) for name in COLUMNS] for item in page.items])
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

    def __init__(self, out: bytearray) -> None:
        self._out = out
        self._before = b'{"items": ['

    def add(self, rows: Any) -> None:
        """Write rows of entries."""
        for row in rows:
            told = {name: value for name, value in zip(COLUMNS, row, strict=True) if value is not None}
            self._out += self._before + b"\n" + json.dumps(told).encode()
            self._before = b","

    def close(self) -> None:
        """Finish the document."""
        self._out += (b"" if self._before == b"," else self._before) + b"\n]}\n"
