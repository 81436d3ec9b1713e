"""Build the OpenAPI 3.1 description from the permissions table and the parameters that handlers parse."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from admin_api.assembly import openapi_schemas
from admin_api.calls import attachments, calls, playback
from admin_api.directory import users
from admin_api.exports import exports
from admin_api.http.permissions import PREFIX, RULES, Action, Rule
from admin_api.http.query_parameters import Parameter
from admin_api.operations import audit, incidents
from admin_api.privacy import erasures, subject_requests
from storage.attachments.attachments import MEDIA_TYPES

TITLE = "SIPREC recorder"
VERSION = "1"
_PROBLEM = "application/problem+json"

SUMMARIES: Mapping[Action, str] = {
    Action.SEARCH: "Search calls, newest first",
    Action.VIEW: "Everything known about a call",
    Action.PLAY: "Decrypted media of a call; channel i is the i-th audio stream",
    Action.WAVEFORM: "Loudness of each channel over the length of a call, to draw a waveform",
    Action.PAUSE: "Pause the recording of a live call",
    Action.RESUME: "Resume the recording of a live call",
    Action.HOLD: "Put a call under legal hold",
    Action.RELEASE: "Release a call from legal hold",
    Action.ANNOTATE: "Add a correction; the original stays unchanged",
    Action.ATTACH: "Attach a transcript or a chat to a call; the body is the file",
    Action.ATTACHMENT: "A transcript or chat of a call",
    Action.EXPORT: "Export many calls",
    Action.EXPORTS: "Exports that have not expired, newest first",
    Action.EXPORT_STATE: "State and progress of an export",
    Action.EXPORT_FILE: "The file of an export",
    Action.EXPORT_CANCEL: "Cancel an export, or delete its file",
    Action.COLUMN_SETS: "Named column sets for exports",
    Action.COLUMN_SET_WRITE: "Create or change a column set; {id} is its name or id",
    Action.COLUMN_SET_DELETE: "Delete a column set; {id} is its name or id",
    Action.REQUEST: "File the request of somebody who was recorded",
    Action.REQUESTS: "Requests, newest first",
    Action.REQUEST_STATE: "A request",
    Action.REQUEST_CANDIDATES: "Calls that may concern the person, newest first, each with the reason",
    Action.REQUEST_SELECT: "Confirm which calls concern the person; replaces the selection before",
    Action.REQUEST_EXTEND: "Extend the time limit by up to two months; the person was told why",
    Action.REQUEST_REPORT: "Make the report of a request",
    Action.REQUEST_REPORT_STATE: "State of the newest report of a request",
    Action.REQUEST_REPORT_FILE: "The report of a request: a zip, encrypted with age if that was asked for",
    Action.REQUEST_ERASE: "Ask for the erasure of the confirmed calls",
    Action.REQUEST_CLOSE: "Close a request: the person's details are erased, a signed record of what was done remains",
    Action.RETENTION: "Rules of retention",
    Action.RETENTION_WRITE: "Change the rules of retention",
    Action.RETENTION_PREVIEW: "What rules would erase",
    Action.ERASE: "Ask for an erasure",
    Action.ERASURES: "Erasures that are not done yet, oldest first; with state=done the finished ones, newest first, "
    "without their receipts",
    Action.ERASURE_STATE: "State of an erasure, and its receipt",
    Action.ERASURE_APPROVE: "Approve an erasure that somebody else asked for",
    Action.WAIVER: "The waiver that immediate erasure needs",
    Action.WAIVER_WRITE: "Put a waiver on file",
    Action.USERS: "Directory users",
    Action.USER: "A directory user",
    Action.USER_CREATE: "Add a user, for customers whose users come through the API",
    Action.USER_CHANGE: "Change a user who came through the API",
    Action.USERS_REPLACE: "Replace all users who come through the API; a user who is not in the list becomes inactive",
    Action.USER_EXPORT: "Everything stored about a directory user",
    Action.USER_UNMAP: "Take a user out of the directory",
    Action.USER_DELETE: "Delete a user no recording refers to",
    Action.AUDIT: "Who did what, newest first; reading it is an entry too",
    Action.AUDIT_FILE: "Who did what as a file, csv or JSON",
    Action.ACCOUNTS: "Who may sign in to the page, with roles and last sign-in",
    Action.SYSTEM: "State of the node, for operators; the customer's own calls and storage, for its admins",
    Action.INCIDENTS: "Recordings that are missing or incomplete, and security events, newest first",
}

PARAMETERS: Mapping[Action, Sequence[Parameter]] = {
    Action.SEARCH: calls.SEARCH,
    Action.PLAY: playback.MEDIA,
    Action.ATTACH: attachments.ATTACH,
    Action.EXPORTS: exports.LISTED,
    Action.REQUESTS: subject_requests.LISTED,
    Action.REQUEST_CANDIDATES: subject_requests.CANDIDATES,
    Action.USERS: users.USERS,
    Action.AUDIT: audit.AUDIT,
    Action.AUDIT_FILE: audit.FILE,
    Action.ERASURES: erasures.LISTED,
    Action.INCIDENTS: incidents.INCIDENTS,
}

ANSWERS: Mapping[Action, str] = {
    Action.SEARCH: "CallPage",
    Action.VIEW: "Call",
    Action.WAVEFORM: "Waveform",
    Action.PAUSE: "Paused",
    Action.RESUME: "Paused",
    Action.HOLD: "Hold",
    Action.ANNOTATE: "Annotation",
    Action.ATTACH: "Attachment",
    Action.RETENTION: "Retention",
    Action.RETENTION_WRITE: "Retention",
    Action.RETENTION_PREVIEW: "RetentionPreview",
    Action.ERASE: "Erasure",
    Action.ERASURES: "ErasurePage",
    Action.ERASURE_STATE: "Erasure",
    Action.ERASURE_APPROVE: "Erasure",
    Action.WAIVER: "Waiver",
    Action.WAIVER_WRITE: "Waiver",
    Action.EXPORT: "Export",
    Action.EXPORTS: "ExportPage",
    Action.EXPORT_STATE: "Export",
    Action.COLUMN_SETS: "ColumnSetPage",
    Action.COLUMN_SET_WRITE: "ColumnSet",
    Action.REQUEST: "Request",
    Action.REQUESTS: "RequestPage",
    Action.REQUEST_STATE: "Request",
    Action.REQUEST_CANDIDATES: "CandidatePage",
    Action.REQUEST_SELECT: "Request",
    Action.REQUEST_EXTEND: "Request",
    Action.REQUEST_REPORT: "Report",
    Action.REQUEST_REPORT_STATE: "Report",
    Action.REQUEST_ERASE: "Erasure",
    Action.REQUEST_CLOSE: "Request",
    Action.EXPORT_CANCEL: "Export",
    Action.USERS: "UserPage",
    Action.USER: "User",
    Action.USER_CREATE: "User",
    Action.USER_CHANGE: "User",
    Action.USERS_REPLACE: "UserCounts",
    Action.USER_EXPORT: "UserExport",
    Action.USER_UNMAP: "User",
    Action.AUDIT: "AuditPage",
    Action.ACCOUNTS: "AccountPage",
    Action.INCIDENTS: "IncidentPage",
    Action.SYSTEM: "System",
}

BODIES: Mapping[Action, str | None] = {
    Action.PAUSE: None,
    Action.RESUME: None,
    Action.USER_UNMAP: None,
    Action.USER_CREATE: "UserRequest",
    Action.USER_CHANGE: "UserRequest",
    Action.USERS_REPLACE: "UsersRequest",
    Action.ERASURE_APPROVE: None,
    Action.HOLD: "HoldRequest",
    Action.ANNOTATE: "AnnotationRequest",
    Action.ATTACH: "AttachmentRequest",
    Action.RETENTION_WRITE: "RetentionRequest",
    Action.RETENTION_PREVIEW: "RetentionPreviewRequest",
    Action.ERASE: "ErasureRequest",
    Action.WAIVER_WRITE: "WaiverRequest",
    Action.EXPORT: "ExportRequest",
    Action.COLUMN_SET_WRITE: "ColumnSetRequest",
    Action.REQUEST: "RequestRequest",
    Action.REQUEST_SELECT: "SelectionRequest",
    Action.REQUEST_EXTEND: "ExtensionRequest",
    Action.REQUEST_REPORT: "ReportRequest",
    Action.REQUEST_ERASE: "RequestErasureRequest",
    Action.REQUEST_CLOSE: "CloseRequest",
}
"""Schema of the request body; None for one that is empty or {}."""

OPTIONAL = frozenset({"RetentionPreviewRequest", "ReportRequest"})
"""Actions whose body is optional."""

SUCCESSES: Mapping[Action, str] = {
    Action.RELEASE: "204",
    Action.ANNOTATE: "201",
    Action.ATTACH: "201",
    Action.EXPORT: "202",
    Action.COLUMN_SET_DELETE: "204",
    Action.REQUEST: "201",
    Action.REQUEST_REPORT: "202",
    Action.REQUEST_ERASE: "202",
    Action.ERASE: "202",
    Action.USER_CREATE: "201",
    Action.USER_DELETE: "204",
}
"""Status of success where it is not 200."""

FILES: Mapping[Action, Sequence[str]] = {
    Action.AUDIT_FILE: tuple(audit.FORMATS.values()),
    Action.PLAY: playback.CONTENT_TYPES,
    Action.EXPORT_FILE: exports.CONTENT_TYPES,
    Action.REQUEST_REPORT_FILE: subject_requests.CONTENT_TYPES,
    Action.ATTACHMENT: MEDIA_TYPES,
}
"""Answers that are files, with their types."""

CONFLICTS: Mapping[Action, str] = {
    Action.PLAY: "The call is not in a state that allows it",
    Action.WAVEFORM: "The call is not in a state that allows it",
    Action.PAUSE: "The call is not in a state that allows it",
    Action.RESUME: "The call is not in a state that allows it",
    Action.EXPORT_FILE: "The export is not done yet, or is the report of a request",
    Action.COLUMN_SET_WRITE: "Another set has this name, or there are too many sets",
    Action.REQUEST_CANDIDATES: "The request is over, or too many calls match for the identities to mean one person",
    Action.REQUEST_SELECT: "The state of the request does not allow it",
    Action.REQUEST_EXTEND: "The request is over",
    Action.REQUEST_REPORT: "The state of the request does not allow it",
    Action.REQUEST_REPORT_FILE: "The report is not done yet",
    Action.REQUEST_ERASE: "The state of the request does not allow it, no call is selected, or as POST /erasures",
    Action.REQUEST_CLOSE: "The state of the request does not allow it, or its erasure is not done",
    Action.ERASE: "No active waiver, or calls under legal hold; nothing was filed",
    Action.ERASURE_APPROVE: "No active waiver",
    Action.USER_CREATE: "This user already exists",
    Action.USER_CHANGE: "The user comes from a directory, or another user has the same identity",
    Action.USERS_REPLACE: "So many users would become inactive that the list looks broken; nothing was changed",
    Action.USER_DELETE: "The user is still in the directory, or recordings refer to it",
}
"""What 409 means, where an action can return it."""

_STATUSES: Mapping[str, str] = {
    "401": "No token, or one that is not valid",
    "403": "The roles of the token do not allow it",
    "404": "Unknown, of another customer, or erased",
    "422": "Parameters or body are not valid",
    "429": "Too many requests; wait for the time in Retry-After",
    "503": "Not possible now; nothing was shown or done",
}


@functools.cache
def text() -> bytes:
    """Return the description as JSON."""
    return json.dumps(document(), ensure_ascii=False, separators=(",", ":")).encode()


def document() -> dict[str, Any]:
    """Build the description."""
    paths: dict[str, dict[str, Any]] = {}
    for rule in RULES:
        path = f"{PREFIX}{{customer}}{rule.path}"
        paths.setdefault(path, {})[rule.method.lower()] = operation(rule)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION, "description": openapi_schemas.DESCRIPTION},
        "security": [{"bearer": []}],
        "paths": {**paths, **_node()},
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": openapi_schemas.SCHEMAS,
        },
    }


def operation(rule: Rule) -> dict[str, Any]:
    """Describe one method of one path."""
    shown: dict[str, Any] = {
        "operationId": rule.action.name.lower(),
        "summary": SUMMARIES[rule.action],
        "description": f"Roles: {', '.join(rule.roles)}.",
        "parameters": [*_in_path(rule), *(_in_query(each) for each in PARAMETERS.get(rule.action, ()))],
        "responses": responses(rule),
    }
    if rule.action in BODIES:
        shown["requestBody"] = _body(BODIES[rule.action])
    return shown


def responses(rule: Rule) -> dict[str, Any]:
    """Describe the answers of one method."""
    found = {status: _problem(why) for status, why in _STATUSES.items()}
    if rule.action in CONFLICTS:
        found["409"] = _problem(CONFLICTS[rule.action])
    if rule.action in BODIES:
        found["413"] = _problem("The body is too large")
    if rule.action is Action.PLAY:
        whole = _file(rule.action)
        return {
            "200": {"description": "The whole file", **whole},
            "206": {"description": "The range that was asked for", **whole},
            "304": {"description": "The file matches If-None-Match"},
            "412": _problem("The file does not match If-Match"),
            "416": _problem("The range lies outside the file"),
            **found,
        }
    if rule.action in FILES:
        return {"200": {"description": "The file", **_file(rule.action)}, **found}
    status = SUCCESSES.get(rule.action, "200")
    name = ANSWERS.get(rule.action)
    if name is None:
        return {status: {"description": "Done"}, **found}
    content = {"schema": {"$ref": f"#/components/schemas/{name}"}, "example": openapi_schemas.EXAMPLES[name]}
    return {status: {"description": "Done", "content": {"application/json": content}}, **found}


def _file(action: Action) -> dict[str, Any]:
    return {"content": {kind: {} for kind in FILES[action]}}


def _body(name: str | None) -> dict[str, Any]:
    if name is None:
        empty = {"schema": {"type": "object", "additionalProperties": False}, "example": {}}
        return {"required": False, "content": {"application/json": empty}}
    content = {"schema": {"$ref": f"#/components/schemas/{name}"}, "example": openapi_schemas.EXAMPLES[name]}
    if name == "AttachmentRequest":
        text = {"schema": {"type": "string", "pattern": "^WEBVTT"}, "example": "WEBVTT\n"}
        return {"required": True, "content": {"application/json": content, "text/vtt": text}}
    return {"required": name not in OPTIONAL, "content": {"application/json": content}}


def _in_path(rule: Rule) -> list[dict[str, Any]]:
    names = {"customer": "acme"} | {
        name: openapi_schemas.CALL_ID for name in ("id", "part") if f"{{{name}}}" in rule.path
    }
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": example}
        for name, example in names.items()
    ]


def _in_query(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "description": f"Must be {parameter.right}.",
        "schema": parameter.schema,
        "example": parameter.default if isinstance(parameter.default, int) else parameter.example,
    }


def _problem(why: str) -> dict[str, Any]:
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": openapi_schemas.EXAMPLES["Problem"]}
    return {"description": why, "content": {_PROBLEM: content}}


def _node() -> dict[str, Any]:
    """Describe the paths outside customers, which need no token."""
    status = {"schema": {"type": "object", "properties": {"status": {"type": "string"}}}}
    away = {
        "type": "integer",
        "description": "Number of customers whose data cannot be served now; their calls are still recorded",
    }
    ready = {"schema": {"type": "object", "properties": {"status": {"type": "string"}, "customers_away": away}}}
    metrics = {"text/plain": {"schema": {"type": "string"}}}

    def get(id: str, summary: str, content: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        answers = {"200": {"description": "Done", "content": content}, **more}
        return {"get": {"operationId": id, "summary": summary, "security": [], "responses": answers}}

    refused = {"503": _problem("No calls are accepted; the body says why")}
    return {
        "/healthz": get("alive", "The process runs", {"application/json": status}),
        "/readyz": get("ready", "Calls are accepted", {"application/json": ready}, **refused),
        "/metrics": get("metrics", "Metrics for Prometheus", metrics),
    }
