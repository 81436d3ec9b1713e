"""The columns of an export: name, whom they are about, and how a call fills them; pure.

A column of the *subject* shows the party that the export is about. A column of *others* shows other people too; it is
included only if it is named. An export by ids has no subject, so its subject columns are empty.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from storage.calls.call_document import PlainDocument, PlainParty, Role
from storage.exports.subject_filter import without_names

MAX_COLUMNS = 100
ROLES: tuple[str, ...] = get_args(Role)
_OF_PARTY = ("name", "number", "uri", "user_id")


class About(enum.Enum):
    """Whom a column is about."""

    CALL = "the call"
    SUBJECT = "the party that the export was asked for"
    OTHERS = "every party, or the others"


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    """Its name in requests and in the heading row."""
    about: About
    """Whom it is about."""
    means: str
    """Its description, for the documentation."""
    read: Callable[[PlainDocument, Collection[int]], Any]
    """Returns the value from a call; the numbers are those of the subject's parties."""


def values(columns: Sequence[Column], call: PlainDocument, subject: Collection[int]) -> list[Any]:
    """Return the values of a call in the order of the columns: JSON values."""
    return [column.read(call, subject) for column in columns]


def named(names: Sequence[str]) -> tuple[Column, ...]:
    """Return columns by their names, in that order; raises KeyError."""
    return tuple(COLUMNS[name] for name in names)


def _field(name: str, means: str, about: About = About.CALL) -> Column:
    return Column(name, about, means, lambda call, subject: call.get(name))


def _parties(call: PlainDocument) -> Sequence[PlainParty]:
    return call.get("parties") or ()


def _one_or_all(found: list[Any]) -> Any:
    """Return None, the single value, or a list."""
    found = [value for value in found if value is not None]
    return found if len(found) > 1 else found[0] if found else None


def _mine(name: str, means: str) -> Column:
    def read(call: PlainDocument, subject: Collection[int]) -> Any:
        return _one_or_all([p.get(name) for i, p in enumerate(_parties(call)) if i in subject])

    return Column(f"party_{name}", About.SUBJECT, means, read)


def _theirs(name: str) -> Column:
    def read(call: PlainDocument, subject: Collection[int]) -> Any:
        return _one_or_all([p.get(name) for i, p in enumerate(_parties(call)) if i not in subject])

    return Column(f"other_{name}", About.OTHERS, f"{name} of everybody else in the call", read)


def _by_role(role: str, name: str) -> Column:
    def read(call: PlainDocument, subject: Collection[int]) -> Any:
        return _one_or_all([p.get(name) for p in _parties(call) if p.get("role") == role])

    return Column(f"{role}_{name}", About.OTHERS, f"{name} of the {role.replace('_', ' ')}", read)


def _stream(name: str, means: str, take: Callable[[list[Any]], Any]) -> Column:
    def read(call: PlainDocument, subject: Collection[int]) -> Any:
        found = [stream.get(name) for stream in call.get("streams") or ()]
        return take([value for value in found if value is not None])

    return Column(name, About.CALL, means, read)


def _length(call: PlainDocument, subject: Collection[int]) -> str:
    seconds = int(call.get("duration_ms") or 0) // 1000
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _media(call: PlainDocument, subject: Collection[int]) -> Any:
    return _one_or_all(list(dict.fromkeys(s.get("media") for s in call.get("streams") or ())))


def _streams(call: PlainDocument, subject: Collection[int]) -> Any:
    streams = call.get("streams")
    return streams and without_names(streams, subject)


def _labels(call: PlainDocument, subject: Collection[int]) -> Any:
    return [stream.get("label") for stream in call.get("streams") or ()]


_ALL = (
    _field("id", "random id of the call"),
    _field("state", "recording, complete or interrupted"),
    _field("started_at", "begin, RFC 3339 in UTC"),
    _field("ended_at", "end, RFC 3339 in UTC"),
    Column("duration", About.CALL, "length as H:MM:SS", _length),
    _field("duration_ms", "length in milliseconds"),
    _field("session_id", "id of the session as the client sent it"),
    _field("size_bytes", "bytes stored"),
    _field("hold", "whether it is under legal hold"),
    _field("erase_after", "when retention ends, RFC 3339 in UTC"),
    Column("media", About.CALL, "kinds of media recorded", _media),
    _stream("codec", "codecs, each once", lambda found: _one_or_all(list(dict.fromkeys(found)))),
    _stream("packets", "packets stored, all streams", sum),
    _stream("lost", "packets lost, all streams", sum),
    _stream("gap_ms", "milliseconds of media that are missing, the worst stream", lambda found: max(found, default=0)),
    _stream("mos", "estimated quality, the worst stream", lambda found: min(found, default=None)),
    _mine("role", "what the party was in the call"),
    _mine("name", "name of the party"),
    _mine("number", "number of the party"),
    _mine("uri", "address of record of the party"),
    _mine("user_id", "directory user of the party"),
    _mine("joined_at", "when the party joined"),
    _mine("left_at", "when the party left"),
    *(_theirs(name) for name in ("role", *_OF_PARTY)),
    *(_by_role(role, name) for role in ROLES for name in _OF_PARTY),
    _field("parties", "every party with everything known", About.OTHERS),
    Column("streams", About.CALL, "every stream with its figures", _streams),
    Column("stream_labels", About.OTHERS, "label of every stream as the client sent it", _labels),
)

COLUMNS: Mapping[str, Column] = {column.name: column for column in _ALL}
"""Every column by its name, in the order of the documentation."""

_ABOUT_CALL = ("id", "state", "started_at", "ended_at", "duration", "media")
_ABOUT_SUBJECT = ("party_role", "party_name", "party_number", "party_uri", "party_joined_at", "party_left_at")


def usual(by_party: bool) -> tuple[str, ...]:
    """Return the default columns: nothing about anybody but the subject."""
    return (*_ABOUT_CALL, *(_ABOUT_SUBJECT if by_party else ()), "erase_after")
