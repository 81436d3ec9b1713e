"""Style sheets, scripts and pictures: read once, answered from memory, never from a path that was sent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    media_type: str
    tag: str


class Static:
    """The files of the folder `static`."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._files = {path.name: _read(path) for path in folder.iterdir() if path.suffix in _TYPES}

    def answer(self, request: Request) -> Response:
        """Answer a request for one of them; nothing in them is anybody's, so a browser may keep them."""
        file = self._files.get(request.url.path.removeprefix("/static/"))
        if file is None or request.method not in ("GET", "HEAD"):
            return Response(status_code=404)
        headers = {"ETag": file.tag, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        return Response(file.data, media_type=file.media_type, headers=headers)


def _read(path: Path) -> _File:
    data = path.read_bytes()
    return _File(data, _TYPES[path.suffix], f'"{hashlib.sha256(data).hexdigest()[:16]}"')
