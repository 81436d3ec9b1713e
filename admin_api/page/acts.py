"""What the codes of the audit log and of incidents mean, in words; what is not here is shown as its code."""

from __future__ import annotations

from collections.abc import Mapping

ACTS: Mapping[str, str] = {
    "calls.search": "Searched calls",
    "call.view": "Looked at a call",
    "call.media": "Played or downloaded a call",
    "call.waveform": "Looked at the waveform of a call",
    "call.pause": "Paused a recording",
    "call.resume": "Resumed a recording",
    "call.hold": "Put a call under legal hold",
    "call.release": "Released a legal hold",
    "call.annotate": "Added a correction",
    "call.attach": "Attached a file to a call",
    "call.attachment": "Opened an attachment",
    "export.create": "Asked for an export",
    "exports.list": "Looked at the exports",
    "export.view": "Looked at an export",
    "export.file": "Downloaded an export",
    "export.cancel": "Cancelled an export",
    "columns.list": "Looked at the column sets",
    "columns.write": "Changed a column set",
    "columns.delete": "Deleted a column set",
    "requests.list": "Looked at the requests",
    "request.create": "Filed a request",
    "request.view": "Looked at a request",
    "request.candidates": "Looked for calls of a request",
    "request.select": "Chose the calls of a request",
    "request.report": "Asked for a report",
    "request.report_view": "Looked at a report",
    "request.report_file": "Downloaded a report",
    "request.erase": "Asked for the erasure of a request",
    "request.close": "Closed a request",
    "retention.view": "Looked at the retention rules",
    "retention.write": "Changed the retention rules",
    "retention.preview": "Looked at what a sweep would take",
    "retention.sweep": "Retention took calls",
    "erasure.create": "Asked for an erasure",
    "erasures.list": "Looked at the erasures",
    "erasure.view": "Looked at an erasure",
    "erasure.approve": "Approved an erasure",
    "erasure.cut": "Destroyed the keys of calls",
    "erasure.wait": "An erasure waits for a hold",
    "erasure.done": "An erasure is done",
    "waiver.view": "Looked at the waiver",
    "waiver.write": "Changed the waiver",
    "users.list": "Looked at the users",
    "user.view": "Looked at one user",
    "user.create": "Made a user",
    "user.update": "Changed a user",
    "users.replace": "Replaced the list of users",
    "user.export": "Exported a user",
    "user.unmap": "Unmapped a user",
    "user.delete": "Deleted a user",
    "audit.read": "Read the audit log",
    "incidents.list": "Looked at the incidents",
    "system.view": "Looked at the system",
    "session.open": "Signed in",
    "session.close": "Signed out",
    "token.create": "Made a token",
    "token.revoke": "Revoked a token",
    "unknown": "Tried a path that does not exist",
}
"""Acts of the audit log."""

OUTCOMES: Mapping[str, str] = {"done": "done", "refused": "refused", "failed": "failed"}
"""How an act ended."""

REASONS: Mapping[str, str] = {
    "draining": "The recorder is about to stop.",
    "storage": "There is no room on the disk, or it takes nothing.",
    "disk stands still": "The disk does not answer.",
    "limit reached": "As many calls are recorded as are allowed at once.",
    "workers busy": "The media workers are busy.",
}
"""Why no calls are taken."""

INCIDENTS: Mapping[str, str] = {
    "call-refused": "A call was refused",
    "offer-refused": "A change of a call was refused",
    "call-interrupted": "A recording is incomplete",
    "media-strangers": "Packets came from an address that is not the call's",
    "dtls-failed": "The keys of a call could not be agreed on",
    "worker-died": "A media worker died and was replaced",
    "database-away": "The database was away",
    "sync-failed": "The disk did not take what was written",
    "retention-brake": "A sweep would take many calls and asks first",
    "audit-witness": "A copy of the audit log does not fit the log",
    "directory-brake": "A synchronisation would unmap many users and asks first",
    "directory-failed": "The directory could not be read",
    "directory-credential": "The credential for the directory expires soon",
}
"""Kinds of incidents (docs/formats/incidents.md)."""
