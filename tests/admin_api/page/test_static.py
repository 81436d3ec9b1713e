"""Style sheets and scripts."""

from __future__ import annotations

from starlette.requests import Request

from admin_api.page.static import Static


def ask(static, path, method="GET", headers=()):
    return static.answer(Request({"type": "http", "method": method, "path": path, "headers": list(headers)}))


def test_files_have_their_types_and_are_not_sent_twice():
    static = Static()
    first = ask(static, "/static/page.css")
    assert first.headers["content-type"] == "text/css; charset=utf-8"
    again = ask(static, "/static/page.css", headers=[(b"if-none-match", first.headers["etag"].encode())])
    assert again.status_code == 304
    assert ask(static, "/static/htmx.min.js").headers["content-type"].startswith("text/javascript")


def test_nothing_but_the_files_of_the_folder_is_there(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a.css").write_text("a{}")
    (tmp_path / "inside" / "notes.txt").write_text("not for browsers")
    (tmp_path / "b.css").write_text("b{}")
    static = Static(tmp_path / "inside")
    assert ask(static, "/static/a.css").status_code == 200
    for path in ("/static/notes.txt", "/static/../b.css", "/static//etc/passwd", "/static/"):
        assert ask(static, path).status_code == 404
    assert ask(static, "/static/a.css", "POST").status_code == 404
