"""The roles of a token, and the names of everything that the API does."""

from __future__ import annotations

import enum


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


SEEKERS = (Role.LISTENER, Role.PRIVACY, Role.ADMIN)
HEARERS = (Role.LISTENER, Role.ADMIN)
ADMIN = (Role.ADMIN,)
PRIVACY = (Role.PRIVACY, Role.ADMIN)
FOLLOWERS = (Role.PRIVACY, Role.APPROVER, Role.ADMIN)
