"""Pages are sent compressed to browsers that accept it; nothing else of an answer changes."""

from __future__ import annotations

import gzip

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from admin_api.page.framework.compression import HIDDEN, compressed

PAGE = "<li>Jörg 😀</li>" * 500


def sent(response, accepts="gzip, br"):
    headers = [(b"accept-encoding", accepts.encode())]
    return compressed(Request({"type": "http", "method": "GET", "path": "/", "headers": headers}), response)


def test_a_page_is_the_same_once_unpacked():
    page = HTMLResponse(PAGE, 422, {"X-Frame-Options": "DENY"})
    page.set_cookie("a", "1")
    page.set_cookie("b", "2")
    packed = sent(page)
    assert gzip.decompress(packed.body).decode() == PAGE
    assert len(packed.body) < len(page.body) / 10
    assert packed.headers["content-length"] == str(len(packed.body))
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    kept = [pair for pair in page.raw_headers if pair[0] != b"content-length"]
    assert [pair for pair in packed.raw_headers if pair in kept] == kept
    assert packed.status_code == 422
    assert page.body.decode() == PAGE, "a form's answer is kept and sent once more"


def test_only_long_pages_and_only_for_who_can_unpack_them():
    for answer in (HTMLResponse("short"), Response(PAGE.encode(), media_type="audio/wav")):
        assert sent(answer) is answer
    page = HTMLResponse(PAGE)
    assert sent(page, accepts="gzip;q=0, br") is page


def test_the_length_does_not_tell_a_few_bytes():
    lengths = {len(sent(HTMLResponse(PAGE)).body) for _ in range(200)}
    assert len(lengths) > HIDDEN / 3
    assert max(lengths) - min(lengths) <= HIDDEN
