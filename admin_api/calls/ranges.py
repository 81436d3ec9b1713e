"""Evaluation of conditional and range requests (RFC 9110 sections 13 and 14.2); pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from admin_api.http.messages import Message
from admin_api.http.problems import Problem

MAX_TEXT = 100  # longest Range header that is parsed; two numbers of 18 digits have 43 characters
MAX_TAGS = 4096  # longest If-Match and If-None-Match that are parsed; our ETags have 34 characters
_TAG = re.compile(r'(W/)?("[^"]*")')
_ONE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)

Span = tuple[int, int]
"""The first byte and the one after the last."""


def unchanged(match: Sequence[str], none_match: Sequence[str], tag: str) -> bool:
    """Return whether the client has the file already (answer 304 to a GET or HEAD); raises Problem 412.

    `match` and `none_match` are the values of If-Match (strong comparison) and If-None-Match (weak comparison),
    RFC 9110 section 13.1; `tag` is the file's current strong ETag.
    """
    if match and not any(whole == tag or whole == "*" for whole, _ in _tags(match)):
        title = Message("problem.changed", "The file has changed")
        detail = Message("problem.ask-for-the-current-file", "Ask without If-Match, or with the current ETag.")
        raise Problem(412, "changed", title, detail)
    return any(bare in (tag, "*") for _, bare in _tags(none_match))


def _tags(given: Sequence[str]) -> list[tuple[str, str]]:
    """Parse a list of entity tags; return each as sent and without its W/ prefix."""
    text = ",".join(given)[:MAX_TAGS]
    if text.strip() == "*":
        return [("*", "*")]
    return [(found[0], found[2]) for found in _TAG.finditer(text)]


def wanted(given: Sequence[str], conditions: Sequence[str], size: int, tag: str) -> Span | None:
    """Return the part of a file that a GET asks for, None for the whole; raises Problem 416.

    `given` and `conditions` are the values of Range and If-Range; `tag` is the file's current strong
    ETag: if If-Range has another one, the whole file is sent.
    """
    if len(given) != 1 or any(condition != tag for condition in conditions):
        return None
    return span(given[0], size)


def span(text: str, size: int) -> Span | None:
    """Parse a Range header of one range, None to ignore it; raises Problem 416 if it lies outside the file.

    Several ranges are answered with the whole file, as RFC 9110 allows: no player sends them, and many small ones are
    an attack (section 17.15).
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
    """Return the answer to a range outside the file."""
    return Problem(
        416,
        "range",
        Message("problem.range", "The range lies outside the file"),
        Message("problem.ask-within", "Ask for a range within the length given in Content-Range."),
        headers={"Content-Range": f"bytes */{size}"},
    )
