"""Types that answers are declared with; `assembly.openapi` turns them into JSON schemas.

An answer is a TypedDict: what a handler returns is what JSON shows, and the page reads the same. Members may be added
in later versions.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, NotRequired, TypedDict, TypeVar

from msgspec import Meta

T = TypeVar("T")

Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0)]
OBJECT_OR_NULL = Meta(extra_json_schema={"type": ["object", "null"]})
"""Describe an object that may be null as one schema with two types, not as a choice of two schemas."""

AnyObject = dict[str, Any]
INCOMPLETE = (
    "Only while the index is being rebuilt (the database was lost, or an older one was restored) or rejects a call: "
    "calls may be missing, and actions that select calls by a party answer 503. Absent: the list is complete."
)


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
