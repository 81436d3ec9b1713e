"""Types for the declarations of endpoints: of queries and bodies, and of answers.

A query, a body or an object within one is a `Given`, whose annotations say what is right (`admin_api.http.reading`). An
answer is a TypedDict: what a handler returns is what JSON shows, and members may be added in later versions.
`assembly.openapi` makes JSON schemas of both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Generic, NotRequired, TypedDict, TypeVar

import msgspec
from msgspec import Meta, UnsetType

from admin_api.http.messages import Message
from admin_api.http.problems import Fault
from storage.calls import call_document
from storage.calls.call_row import DEFAULT_LIMIT, MAX_LIMIT
from storage.keys.sealing import MAX_TEXT

MAX_PARTY = 512  # characters; the longest URIs that SBCs send have some 200
MAX_SOURCE = 253  # characters; the longest name of a host
MAX_CURSOR = 256  # characters; ours have up to 80
AHEAD = timedelta(days=1)  # a date further in the future is a mistake; zones and clocks differ by less
FORMATS = ("wav", "flac", "opus", "mp3", "mkv", "pcap")
RIGHT_TIME = "an RFC 3339 time with its zone"
TEXTS = Message("reason.texts", "must be a list of at most {most} texts of 1 to {size} characters")
NULL_OR_ONE_OF = Message("reason.null-or-one-of", "must be null, or one of {choices}")
ONE_OF = Message("reason.one-of", "must be one of {choices}")
NOT_LATER = Message("reason.not-later", "must not be later than now")
BAD_CURSOR = Message("reason.cursor", "must be `next_cursor` of the page before")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+ -]\d\d:\d\d)")
HALVES = re.compile("[\ud800-\udfff]")  # lone surrogates: JSON can carry them, no keyboard can type them

T = TypeVar("T")


class Given(msgspec.Struct, forbid_unknown_fields=True):
    """A query, a body or an object within one. What is left out of a body is UNSET, or the declared default."""

    null_is_absent: ClassVar[Collection[str]] = ()
    """Members that may be null, which counts as left out; the JSON schema does not offer it."""
    entry: ClassVar[str] = ".{}"
    """Name of a list's entry in errors."""
    checks_the_rest: ClassVar[bool] = False
    """Whether `faults` is called even if a member is wrong by itself; that member is then UNSET."""
    schema: ClassVar[Mapping[str, Any]] = {}
    """Additions to the JSON schema beyond the members."""

    def __repr__(self) -> str:
        """Hide the values, which may be personal."""
        return f"{type(self).__name__}(…)"

    def faults(self) -> Iterable[Fault]:
        """Return contradictions between members that are each valid, as pairs of a name and a reason."""
        return ()


class Nothing(Given):
    """A query without parameters, or a body without members."""


class Moment(datetime):
    """A time in UTC."""

    @classmethod
    def parse(cls, text: object) -> Moment:
        """Read an RFC 3339 time with its zone; raises ValueError.

        An unescaped plus sign in a query arrives as a space.
        """
        if not isinstance(text, str) or not text.isascii() or not _TIME.fullmatch(text):
            raise ValueError
        day, clock = text[:10], text[11:].replace(" ", "+").upper()
        try:
            return cls.fromisoformat(f"{day}T{clock}").astimezone(UTC)
        except OverflowError:  # year 1 east of Greenwich
            raise ValueError from None


def said(most: int) -> Meta:
    """Declare a text of at most `most` characters that is not blank."""
    return Meta(min_length=1, max_length=most, pattern=r"\S")


def word(names: Collection[str], described: str | None = None) -> Meta:
    """Declare one of these words; `described` says so in the OpenAPI document, unless a list of them does."""
    shape = "|".join(map(re.escape, names))
    return Meta(pattern=rf"^(?:{shape})\Z", description=described, extra_json_schema={"enum": list(names)})


def text(most: int, example: str, read: Callable[[str], str]) -> Meta:
    """Declare a text in a query that `read` accepts; it raises ValueError."""
    return Meta(min_length=1, max_length=most, examples=[example], extra={"text": read})


def right(reason: Message) -> Meta:
    """Declare what is right, if the type alone does not say it: "must be …"."""
    return Meta(description=reason.removeprefix("must be "), extra={"reason": reason})


def party(text: str) -> str:
    """Read the party to look for; raises ValueError. An unescaped plus sign arrives as a space."""
    if not text.strip():
        raise ValueError
    return "+" + text[1:] if re.match(r" \d", text) else text


def line(text: str) -> str:
    """Read a text that is not blank; raises ValueError."""
    if not text.strip():
        raise ValueError
    return text


def _cursor(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.=-]+", text):
        raise ValueError
    return text


# `extra["text"]` reads the text of a query parameter that its type alone does not describe.
Reason = Annotated[str, said(MAX_TEXT)]
Party = Annotated[str, said(MAX_PARTY)]
Since = Annotated[Moment, Meta(description=RIGHT_TIME, examples=["2026-01-01T00:00:00Z"])]
Until = Annotated[Moment, Meta(description=RIGHT_TIME, examples=["2026-02-01T00:00:00Z"])]
Limit = Annotated[
    int,
    Meta(
        ge=1,
        le=MAX_LIMIT,
        description=f"a whole number from 1 to {MAX_LIMIT}",
        examples=[DEFAULT_LIMIT],
        extra_json_schema={"default": DEFAULT_LIMIT},
    ),
]
Cursor = Annotated[
    str,
    Meta(
        max_length=MAX_CURSOR,
        description="`next_cursor` of the page before",
        examples=["MjA0NjAuMTc2Nzc"],
        extra={"text": _cursor, "reason": BAD_CURSOR},
    ),
]


class Page(Given):
    """The query of a list."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


def given(value: T | UnsetType) -> T | None:
    """Return a member, None if it was left out."""
    return None if isinstance(value, UnsetType) else value


Id = call_document.Id
Time = call_document.Time
Count = call_document.Count
Share = Annotated[float, Meta(ge=0)]
OBJECT_OR_NULL = Meta(extra_json_schema={"type": ["object", "null"]})
"""Describe an object that may be null as one schema with two types, not as a choice of two schemas."""

AnyObject = dict[str, Any]


class Listed(TypedDict, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_cursor: str | None


class Problem(TypedDict):
    """A problem document (RFC 9457)."""

    type: Annotated[str, Meta(extra_json_schema={"format": "uri"})]
    title: str
    status: int
    detail: str
    errors: NotRequired[list[Error]]


Error = TypedDict("Error", {"in": str, "name": str, "reason": str}, total=False)


def listed(items: list[T], next_cursor: str | None = None) -> Listed[T]:
    """Return one page of a list."""
    return {"items": items, "next_cursor": next_cursor}
