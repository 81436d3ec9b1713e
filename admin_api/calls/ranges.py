"""Whether a request wants a file, and which part of it: RFC 9110 sections 13 and 14.2; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from admin_api.http.problems import Problem

MAX_TEXT = 100  # characters of a Range header that are looked at; two numbers of 18 digits have 43
MAX_TAGS = 4096  # characters of If-Match and If-None-Match that are looked at; ours have 34
_TAG = re.compile(r'(W/)?("[^"]*")')
_ONE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)

Span = tuple[int, int]
"""First byte and the one after the last."""


def unchanged(match: Sequence[str], none_match: Sequence[str], tag: str) -> bool:
    """Tell whether the client has the file already, so that 304 is the answer to a GET or HEAD; raises Problem 412.

    `match` and `none_match` are the values of If-Match, which compares strongly, and If-None-Match, which does not
    (RFC 9110 section 13.1); `tag` is the strong validator of the file as it is now.
    """
    if match and not any(whole == tag or whole == "*" for whole, _ in _tags(match)):
        raise Problem(412, "changed", "The file is another one", "Ask without If-Match, or with the ETag of now.")
    return any(bare in (tag, "*") for _, bare in _tags(none_match))


def _tags(given: Sequence[str]) -> list[tuple[str, str]]:
    """Read a list of entity tags, each as it came and without its mark of weakness."""
    text = ",".join(given)[:MAX_TAGS]
    if text.strip() == "*":
        return [("*", "*")]
    return [(found[0], found[2]) for found in _TAG.finditer(text)]


def wanted(given: Sequence[str], conditions: Sequence[str], size: int, tag: str) -> Span | None:
    """Return the part of a file that a GET wants, None for all of it; raises Problem 416.

    `given` and `conditions` are the values of Range and If-Range; `tag` is the strong validator of the file as it is
    now: with another one in If-Range all of it is sent.
    """
    if len(given) != 1 or any(condition != tag for condition in conditions):
        return None
    return span(given[0], size)


def span(text: str, size: int) -> Span | None:
    """Read a Range header of one range, None to ignore it; raises Problem 416 if nothing of it is there.

    Several ranges are answered with the whole, as RFC 9110 allows: no player asks so, and many small ones are an
    attack (section 17.15).
    """
    found = _ONE.fullmatch(text.strip()) if len(text) <= MAX_TEXT else None
    if not found or found[1] == found[2] == "":
        return None
    if found[1] and found[2] and int(found[2]) < int(found[1]):
        return None
    if not found[1]:
        begin, end = max(0, size - int(found[2])), size
    else:
        begin, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
    if begin >= end:
        raise outside(size)
    return begin, end


def outside(size: int) -> Problem:
    """Return what a range past the end is answered."""
    return Problem(
        416,
        "range",
        "Nothing of this range is there",
        "Ask for a range inside the length that Content-Range tells.",
        headers={"Content-Range": f"bytes */{size}"},
    )
