"""Style sheets and scripts."""

import gzip
import re

from starlette.requests import Request

from admin_api.page.framework.static import Static


def ask(static, path, method="GET", headers=()):
    return static.answer(Request({"type": "http", "method": method, "path": path, "headers": list(headers)}))


def test_files_have_their_types_and_are_not_sent_twice():
    static = Static()
    first = ask(static, "/static/page.css")
    assert first.headers["content-type"] == "text/css; charset=utf-8"
    again = ask(static, "/static/page.css", headers=[(b"if-none-match", first.headers["etag"].encode())])
    assert again.status_code == 304
    assert ask(static, "/static/htmx.min.js").headers["content-type"].startswith("text/javascript")


def accepts(encoding):
    return [(b"accept-encoding", encoding.encode())]


def test_a_digest_named_file_is_immutable_and_compressed():
    static = Static()
    address = static.address("page.css")
    assert re.fullmatch(r"/static/page\.[0-9a-f]{16}\.css", address)
    plain, packed = ask(static, address), ask(static, address, headers=accepts("br, gzip;q=0.5"))
    for answer in (plain, packed):
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["vary"] == "Accept-Encoding"
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body and len(packed.body) < len(plain.body) / 2
    other = address.replace(address[13:15], "zz")
    assert ask(static, other).status_code == 404, "what was upgraded meanwhile is not what it says"
    assert "cache-control" not in ask(static, "/static/page.css").headers


def test_only_who_can_unpack_gets_it_packed():
    static = Static()
    for accepted, packed in (
        ("gzip", True), ("*", True), ("br , GZIP;q=1.0", True), ("gzip;q=0", False), ("gzip;q=0.000, br", False),
        ("x-gzip", False), ("", False),
    ):  # fmt: skip
        answer = ask(static, "/static/page.js", headers=accepts(accepted))
        assert ("content-encoding" in answer.headers) is packed, accepted


def test_nothing_but_the_files_of_the_folder_is_there(tmp_path):
    (tmp_path / "inside").mkdir()
    for name in ("inside/a.css", "inside/notes.txt", "inside/VENDORED.md", "b.css"):
        (tmp_path / name).write_text("a{}")
    static = Static(tmp_path / "inside")
    assert ask(static, "/static/a.css").status_code == 200
    for path in ("/static/notes.txt", "/static/VENDORED.md", "/static/../b.css", "/static//etc/passwd", "/static/"):
        assert ask(static, path).status_code == 404
    assert ask(static, "/static/a.css", "POST").status_code == 404
