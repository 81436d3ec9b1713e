"""What every way in has in common."""

from __future__ import annotations

import pytest

from admin_api.page.entering import onward, origin
from storage.audit_chain import AuditError
from tests.admin_api.page.doorstep import Doorstep, inside


@pytest.mark.parametrize("path", ["/calls", "/calls/0-1", "/audit", "/a.b_c~d/e"])
def test_pages_of_ours(path: str) -> None:
    assert onward(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "//evil",
        "///evil",
        "/\\evil",
        "\\evil",
        "http://evil",
        "/a//b",
        "/a?b",
        "/a#b",
        "/a b",
        "/%2f",
        "/ä",
        "/a\n",
    ],
)
def test_what_might_be_elsewhere(path: str) -> None:
    assert onward(path) == "/"


def test_nobody_gets_in_who_cannot_be_written_down(door: Doorstep, monkeypatch: pytest.MonkeyPatch) -> None:
    door.settle()

    def broken(*_: object) -> None:
        raise AuditError("the disk is full")

    monkeypatch.setattr(door.customers["acme"].audit, "append", broken)
    browser = door.browser()
    assert door.sign_in(browser).status_code == 503
    assert not inside(browser)


def test_the_origin_is_the_browsers_unless_it_is_configured(door: Doorstep, monkeypatch: pytest.MonkeyPatch) -> None:
    from starlette.requests import Request

    request = Request({"type": "http", "scheme": "https", "path": "/", "server": ("h", 1), "query_string": b"",
                       "headers": [(b"host", b"rec.example:8443")]})  # fmt: skip
    assert origin(door.family, request) == "https://rec.example:8443"
    monkeypatch.setattr(door.family, "address", "https://page.example")
    assert origin(door.family, request) == "https://page.example"
