"""Compression of pages for browsers that accept it: a list of 50 calls has 40 kB, compressed a tenth of that.

The length of a compressed page may reveal something about a secret in it, if somebody else can choose a part of the
page and have it fetched again and again (BREACH). No other site can: the session cookie is SameSite=Strict. A field of
random length in the header of each answer also hides differences of a few bytes.
"""

from __future__ import annotations

import gzip
import io
import re
import secrets

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

LEAST = 1_400
"""Bytes that fit into one packet with the headers; compressing fewer gains nothing."""
LEVEL = 4
"""Level of zlib: half a millisecond for 40 kB."""
HIDDEN = 96
"""Most bytes of the field of random length."""
_GZIP = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[0-9.]+\s*)?(?=,|$)", re.IGNORECASE)


def accepted(request: Request) -> bool:
    """Return whether the client accepts gzip (RFC 9110 section 12.5.3)."""
    return _GZIP.search(request.headers.get("accept-encoding", "")) is not None


def compressed(request: Request, response: Response) -> Response:
    """Return an answer compressed if it is a page and the browser accepts that, otherwise as it is."""
    body = bytes(response.body) if isinstance(response, HTMLResponse) else b""
    if len(body) < LEAST or not accepted(request):
        return response
    packed = io.BytesIO()
    name = "x" * secrets.randbelow(HIDDEN)  # browsers skip it (RFC 1952 section 2.3.1)
    with gzip.GzipFile(name, "wb", LEVEL, packed, mtime=0) as file:
        file.write(body)
    answer = Response(packed.getvalue(), response.status_code)  # a new response: the original answer to a form is kept
    answer.raw_headers += [pair for pair in response.raw_headers if pair[0] != b"content-length"]
    answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Vary"] = "Accept-Encoding"
    return answer
