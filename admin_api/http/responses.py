"""JSON answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from admin_api.http.messages import Message
from admin_api.http.problems import MEDIA_TYPE, Problem


def document(shown: Mapping[str, Any], status: int = 200) -> Response:
    """Answer with JSON.

    Names from outside may hold lone surrogates, which UTF-8 cannot encode: they become U+FFFD.
    """
    try:
        data = msgspec.json.encode(shown, enc_hook=_english)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(shown, enc_hook=_english), ensure_ascii=False, separators=(",", ":"))
        data = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
    return Response(data, status, media_type="application/json")


def _english(value: object) -> str:
    """Encode a value of a type that msgspec does not know."""
    if isinstance(value, Message):
        return str(value)
    raise NotImplementedError(type(value))


def success(shown: Any, status: int) -> Response:
    """Answer with an endpoint's result: a document, a file, or nothing."""
    if isinstance(shown, Response):
        return shown
    return Response(status_code=204) if shown is None else document(shown, status)


def problem(shown: Problem) -> Response:
    """Answer with a problem document."""
    return Response(json.dumps(shown.document()), shown.status, shown.headers, MEDIA_TYPE)
