"""Every method and path of the API in one table with the roles that may use it, and how a request finds its row."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "/api/v1/customers/"
"""Everything of one customer lies below this and the customer's name."""


class Role(enum.StrEnum):
    """The roles of a token; it may have several."""

    OPERATOR = "operator"
    LISTENER = "listener"
    PRIVACY = "privacy"
    APPROVER = "approver"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Action(enum.StrEnum):
    """The actions of the API; the audit log uses these names."""

    SEARCH = "calls.search"
    VIEW = "call.view"
    PLAY = "call.media"
    WAVEFORM = "call.waveform"
    PAUSE = "call.pause"
    RESUME = "call.resume"
    HOLD = "call.hold"
    RELEASE = "call.release"
    ANNOTATE = "call.annotate"
    ATTACH = "call.attach"
    ATTACHMENT = "call.attachment"
    EXPORT = "export.create"
    EXPORTS = "exports.list"
    EXPORT_STATE = "export.view"
    EXPORT_FILE = "export.file"
    EXPORT_CANCEL = "export.cancel"
    COLUMN_SETS = "columns.list"
    COLUMN_SET_WRITE = "columns.write"
    COLUMN_SET_DELETE = "columns.delete"
    REQUEST = "request.create"
    REQUESTS = "requests.list"
    REQUEST_STATE = "request.view"
    REQUEST_CANDIDATES = "request.candidates"
    REQUEST_SELECT = "request.select"
    REQUEST_EXTEND = "request.extend"
    REQUEST_REPORT = "request.report"
    REQUEST_REPORT_STATE = "request.report_view"
    REQUEST_REPORT_FILE = "request.report_file"
    REQUEST_ERASE = "request.erase"
    REQUEST_CLOSE = "request.close"
    RETENTION = "retention.view"
    RETENTION_WRITE = "retention.write"
    RETENTION_PREVIEW = "retention.preview"
    ERASE = "erasure.create"
    ERASURES = "erasures.list"
    ERASURE_STATE = "erasure.view"
    ERASURE_APPROVE = "erasure.approve"
    WAIVER = "waiver.view"
    WAIVER_WRITE = "waiver.write"
    USERS = "users.list"
    USER = "user.view"
    USER_CREATE = "user.create"
    USER_CHANGE = "user.change"
    USERS_REPLACE = "users.replace"
    USER_EXPORT = "user.export"
    USER_UNMAP = "user.unmap"
    USER_DELETE = "user.delete"
    AUDIT = "audit.read"
    AUDIT_FILE = "audit.file"
    ACCOUNTS = "accounts.list"
    INCIDENTS = "incidents.list"
    SYSTEM = "system.view"
    UNKNOWN = "unknown"  # a path that is none of these


@dataclass(frozen=True, slots=True)
class Rule:
    """One method of one path, and who may use it."""

    method: str
    """HTTP method; HEAD counts as GET."""
    path: str
    """Path below the customer; {id} and {part} stand for one segment each."""
    action: Action
    """The action."""
    roles: tuple[Role, ...]
    """The roles that may use it; a token needs one of them."""


_SEEKERS = (Role.LISTENER, Role.PRIVACY, Role.ADMIN)
_HEARERS = (Role.LISTENER, Role.ADMIN)
_ADMIN = (Role.ADMIN,)
_PRIVACY = HOLDERS = (Role.PRIVACY, Role.ADMIN)
_FOLLOWERS = (Role.PRIVACY, Role.APPROVER, Role.ADMIN)

RULES: tuple[Rule, ...] = (
    Rule("GET", "/calls", Action.SEARCH, _SEEKERS),
    Rule("GET", "/calls/{id}", Action.VIEW, _SEEKERS),
    Rule("GET", "/calls/{id}/media", Action.PLAY, _HEARERS),
    Rule("GET", "/calls/{id}/waveform", Action.WAVEFORM, _HEARERS),
    Rule("POST", "/calls/{id}/pause", Action.PAUSE, _ADMIN),
    Rule("POST", "/calls/{id}/resume", Action.RESUME, _ADMIN),
    Rule("PUT", "/calls/{id}/hold", Action.HOLD, _PRIVACY),
    Rule("DELETE", "/calls/{id}/hold", Action.RELEASE, _PRIVACY),
    Rule("POST", "/calls/{id}/annotations", Action.ANNOTATE, _PRIVACY),
    Rule("POST", "/calls/{id}/attachments", Action.ATTACH, _PRIVACY),
    Rule("GET", "/calls/{id}/attachments/{part}", Action.ATTACHMENT, _HEARERS),
    Rule("POST", "/exports", Action.EXPORT, _PRIVACY),
    Rule("GET", "/exports", Action.EXPORTS, _PRIVACY),
    Rule("GET", "/exports/{id}", Action.EXPORT_STATE, _PRIVACY),
    Rule("GET", "/exports/{id}/file", Action.EXPORT_FILE, _PRIVACY),
    Rule("DELETE", "/exports/{id}", Action.EXPORT_CANCEL, _PRIVACY),
    Rule("GET", "/column-sets", Action.COLUMN_SETS, _PRIVACY),
    Rule("PUT", "/column-sets/{id}", Action.COLUMN_SET_WRITE, _PRIVACY),
    Rule("DELETE", "/column-sets/{id}", Action.COLUMN_SET_DELETE, _PRIVACY),
    Rule("POST", "/requests", Action.REQUEST, _PRIVACY),
    Rule("GET", "/requests", Action.REQUESTS, _PRIVACY),
    Rule("GET", "/requests/{id}", Action.REQUEST_STATE, _PRIVACY),
    Rule("GET", "/requests/{id}/candidates", Action.REQUEST_CANDIDATES, _PRIVACY),
    Rule("PUT", "/requests/{id}/selection", Action.REQUEST_SELECT, _PRIVACY),
    Rule("PUT", "/requests/{id}/extension", Action.REQUEST_EXTEND, _PRIVACY),
    Rule("POST", "/requests/{id}/report", Action.REQUEST_REPORT, _PRIVACY),
    Rule("GET", "/requests/{id}/report", Action.REQUEST_REPORT_STATE, _PRIVACY),
    Rule("GET", "/requests/{id}/report/file", Action.REQUEST_REPORT_FILE, _PRIVACY),
    Rule("POST", "/requests/{id}/erasure", Action.REQUEST_ERASE, _PRIVACY),
    Rule("POST", "/requests/{id}/close", Action.REQUEST_CLOSE, _PRIVACY),
    Rule("GET", "/retention", Action.RETENTION, _PRIVACY),
    Rule("PUT", "/retention", Action.RETENTION_WRITE, _ADMIN),
    Rule("POST", "/retention/preview", Action.RETENTION_PREVIEW, _PRIVACY),
    Rule("POST", "/erasures", Action.ERASE, _PRIVACY),
    Rule("GET", "/erasures", Action.ERASURES, _FOLLOWERS),
    Rule("GET", "/erasures/{id}", Action.ERASURE_STATE, _FOLLOWERS),
    Rule("POST", "/erasures/{id}/approve", Action.ERASURE_APPROVE, (Role.APPROVER,)),
    Rule("GET", "/waiver", Action.WAIVER, _FOLLOWERS),
    Rule("PUT", "/waiver", Action.WAIVER_WRITE, _ADMIN),
    Rule("GET", "/users", Action.USERS, _PRIVACY),
    Rule("POST", "/users", Action.USER_CREATE, _PRIVACY),
    Rule("PUT", "/users", Action.USERS_REPLACE, _PRIVACY),
    Rule("GET", "/users/{id}", Action.USER, _PRIVACY),
    Rule("PUT", "/users/{id}", Action.USER_CHANGE, _PRIVACY),
    Rule("GET", "/users/{id}/export", Action.USER_EXPORT, _PRIVACY),
    Rule("POST", "/users/{id}/unmap", Action.USER_UNMAP, _PRIVACY),
    Rule("DELETE", "/users/{id}", Action.USER_DELETE, _PRIVACY),
    Rule("GET", "/audit", Action.AUDIT, (Role.AUDITOR,)),
    Rule("GET", "/audit/file", Action.AUDIT_FILE, (Role.AUDITOR,)),
    Rule("GET", "/accounts", Action.ACCOUNTS, _ADMIN),
    Rule("GET", "/incidents", Action.INCIDENTS, (Role.OPERATOR, Role.ADMIN)),
    Rule("GET", "/system", Action.SYSTEM, (Role.OPERATOR, Role.ADMIN)),
)

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the path of a request below /api names."""

    customer: str
    """Name of the customer as sent, "" if the path has none."""
    rules: Mapping[str, Rule]
    """The rules of this path by method; empty if the path does not exist."""
    object: str
    """The {id} of the path as sent, "" if there is none."""
    part: str = ""
    """The {part} of the path as sent, "" if there is none."""

    def rule(self, method: str) -> Rule | None:
        """Return the rule of this method."""
        return self.rules.get("GET" if method == "HEAD" else method)

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods for the Allow header."""
        found = list(self.rules)
        return tuple([*found, "HEAD"] if "GET" in found else found)


def wanted(path: str) -> Wanted:
    """Split the path of a request."""
    if not path.startswith(PREFIX):
        return Wanted("", {}, "")
    customer, _, rest = path[len(PREFIX) :].partition("/")
    segments = rest.split("/")
    object = segments[1] if len(segments) > 1 else ""
    part = segments[3] if object and len(segments) == 4 else ""
    shape = (
        (segments[0], "{id}", *segments[2:3], *(["{part}"] if part else segments[3:])) if object else tuple(segments)
    )
    exact = _BY_SHAPE.get(tuple(segments))
    if exact:
        return Wanted(customer, exact, "")
    plain = _BY_SHAPE.get((segments[0], "{id}", *segments[2:])) if object else None
    if plain:
        return Wanted(customer, plain, object)
    return Wanted(customer, _BY_SHAPE.get(shape, {}), object, part)


def is_id(text: str) -> bool:
    """Return whether a text has the form of an id, so that it may be written to the audit log."""
    return _ID.fullmatch(text) is not None


def _by_shape() -> dict[tuple[str, ...], dict[str, Rule]]:
    found: dict[tuple[str, ...], dict[str, Rule]] = {}
    for rule in RULES:
        found.setdefault(tuple(rule.path.removeprefix("/").split("/")), {})[rule.method] = rule
    return found


_BY_SHAPE = _by_shape()
