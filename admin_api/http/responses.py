"""Build JSON answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response

from admin_api.http.problems import MEDIA_TYPE, Problem


def page(items: Iterable[Mapping[str, Any]], next_cursor: str | None, *, incomplete: bool = False) -> Response:
    """Answer with one page of a list; `incomplete`: there are more items that cannot be listed now."""
    shown = {"items": list(items), "next_cursor": next_cursor}
    return document({**shown, "incomplete": True} if incomplete else shown)


def document(shown: Mapping[str, Any], status: int = 200) -> Response:
    """Answer with JSON.

    Names from outside may hold lone surrogates, which UTF-8 cannot encode: they become U+FFFD.
    """
    text = json.dumps(shown, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
    return Response(data, status, media_type="application/json")


def problem(shown: Problem) -> Response:
    """Answer with a problem document."""
    return Response(json.dumps(shown.document()), shown.status, shown.headers, MEDIA_TYPE)
