"""Style sheets, scripts and images in memory: read and compressed once, never opened by a requested path.

Pages refer to each file with a part of its digest: `/static/page.3f1c0a9b2d4e5f60.css`. The content under such a name
never changes, so a browser fetches it once (RFC 8246); after an upgrade, pages refer to new names.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from admin_api.page.framework.compression import accepted

PREFIX = "/static/"
_FOLDER = Path(__file__).parents[1] / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_DIGITS = 16  # of the digest in a name
_NAMED = re.compile(rf"(.+)\.([0-9a-f]{{{_DIGITS}}})(\.[a-z]+)")
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes = field(repr=False)
    packed: bytes = field(repr=False)  # by gzip
    media_type: str
    digest: str


class Static:
    """The files of the folder `static`."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._files = {path.name: _read(path) for path in folder.iterdir() if path.suffix in _TYPES}

    def address(self, name: str) -> str:
        """Return the path under which a file never changes; raises KeyError."""
        stem, _, ending = name.rpartition(".")
        return f"{PREFIX}{stem}.{self._files[name].digest}.{ending}"

    def answer(self, request: Request) -> Response:
        """Answer a request for a file; the files hold no personal data, so a browser may cache them."""
        name, digest = _parted(request.url.path.removeprefix(PREFIX))
        file = self._files.get(name)
        if file is None or digest not in ("", file.digest) or request.method not in ("GET", "HEAD"):
            return Response(status_code=404)
        headers = {"ETag": f'"{file.digest}"', "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding"}
        if digest:
            headers["Cache-Control"] = _FOR_EVER
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        if accepted(request):
            return Response(file.packed, media_type=file.media_type, headers={**headers, "Content-Encoding": "gzip"})
        return Response(file.data, media_type=file.media_type, headers=headers)


@cache
def shipped() -> Static:
    """Return the files shipped with the page."""
    return Static()


def _parted(path: str) -> tuple[str, str]:
    """Return the name of a file and the digest in its path, "" if there is none."""
    found = _NAMED.fullmatch(path)
    return (found[1] + found[3], found[2]) if found else (path, "")


def _read(path: Path) -> _File:
    data = path.read_bytes()
    packed = gzip.compress(data, 9, mtime=0)
    return _File(data, packed, _TYPES[path.suffix], hashlib.sha256(data).hexdigest()[:_DIGITS])
