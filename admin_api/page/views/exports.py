"""Exports: recent ones with their progress, one export, its file, and cancelling it."""

from __future__ import annotations

from starlette.responses import Response

from admin_api.exports import exports
from admin_api.http.messages import Message
from admin_api.http.permissions import Action
from admin_api.http.problems import NOT_FOUND, Problem
from admin_api.page.framework.page_request import PageRequest, view

PAGE = 50  # exports of one page


@view("GET", "/exports", Action.EXPORTS, menu="exports")
async def listed(request: PageRequest) -> Response:
    """Show the exports that have not expired; htmx gets the table alone while one is being made."""
    cursor = request.asked("cursor")
    found = await request.found(
        exports.list_exports.ask(request.caller(f"exports {cursor}"), query={"limit": PAGE, "cursor": cursor})
    )
    making = any(export["state"] == "running" for export in found["items"])
    return request.page("exports.html", block="list", **request.paged(found), making=making)


@view("GET", "/exports/{id}", Action.EXPORT_STATE)
async def one(request: PageRequest, id: str) -> Response:
    """Show one export."""
    export = await exports.view(request.caller(f"export {id}"), id)
    return request.page("export.html", block="state", export=export)


@view("GET", "/exports/{id}/file", Action.EXPORT_FILE)
async def file(request: PageRequest, id: str) -> Response:
    """Answer with the file."""
    try:
        return await exports.file(request.caller(), id)
    except Problem as problem:
        if problem.status != 404:
            raise
    gone = Message("problem.export-gone", "The export was cancelled, has expired, or holds a call that was erased.")
    raise Problem(404, "not-found", NOT_FOUND, gone)


@view("POST", "/exports/{id}/cancel", Action.EXPORT_CANCEL)
async def cancel(request: PageRequest, id: str) -> str:
    """Cancel an export that is being made, or delete its file."""
    await exports.cancel(request.caller(), id)
    return "/exports"
