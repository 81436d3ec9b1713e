"""What every way in has in common."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from starlette.requests import Request

from admin_api.access.accounts_port import Declined, Person
from admin_api.page.sign_in import login_session
from admin_api.page.sign_in.login_session import onward, origin
from storage.access.account import Passkey
from storage.token_buckets import Rate
from tests.in_process.sign_in_service import PASSWORD, SignInService, field, inside, unwritable_audit


@pytest.mark.parametrize("path", ["/calls", "/calls/0-1", "/audit", "/a.b_c~d/e"])
def test_pages_of_ours(path: str) -> None:
    assert onward(path) == path


ELSEWHERE = (
    "", "/", "//evil", "///evil", "/\\evil", "\\evil", "http://evil", "/a//b", "/a?b#c", "/a?b=//c", "/a?b;url=c",
    "/a?" + 2048 * "b", "/a#b", "/a b", "/%2f", "/ä", "/a\n",
)  # fmt: skip


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_next_path_that_may_lead_elsewhere_becomes_root(path: str) -> None:
    assert onward(path) == "/"


@pytest.mark.parametrize(
    ("host", "believed"),
    [
        ("localhost:8443", True),
        ("127.0.0.1:8443", True),
        ("[::1]:8443", True),
        ("localhost", True),
        ("rec.example:8443", False),
        ("localhost.evil.example", False),
        ("localhost@evil.example", False),
        ("evil.example/localhost", False),
        ("127.0.0.1:8443@evil.example", False),
        ("0.0.0.0:8443", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_a_host_that_anybody_may_send_is_no_origin(
    handler: SignInService, monkeypatch: pytest.MonkeyPatch, host: str, believed: bool
) -> None:
    request = Request({"type": "http", "scheme": "https", "path": "/", "server": ("h", 1), "query_string": b"",
                       "headers": [(b"host", host.encode())]})  # fmt: skip
    if believed:
        assert origin(handler.family, request) == f"https://{host}"
    else:
        with pytest.raises(Declined):
            origin(handler.family, request)
    monkeypatch.setattr(handler.family, "address", "https://page.example")
    assert origin(handler.family, request) == "https://page.example"


def test_passkeys_depend_on_no_host_that_anybody_may_send(handler: SignInService) -> None:
    id, foreign = handler.settle(), {"Host": "evil.example", "Sec-Fetch-Site": "same-origin"}
    browser = handler.entered()
    form = {"csrf": field(browser.get("/account"), "csrf"), "password": PASSWORD}
    shown = browser.post("/account/passkey", data=form, headers=foreign)
    assert (shown.status_code, "data-options" in shown.text) == (422, False)
    assert "address of this page is not configured" in shown.text
    passkey = Passkey("00", "00" * 16, "laptop", handler.now())
    handler.customers["acme"].accounts.change(id, lambda old: replace(old, passkeys=(passkey,), recovery=("x",)))
    form = {"customer": "acme", "name": "anna", "password": PASSWORD}
    factor = handler.browser().post("/sign-in", data=form, headers=foreign)
    assert (factor.status_code, "data-options" in factor.text) == (200, False)
    answer = {"step": field(factor, "step"), "answer": "{}"}
    assert handler.browser().post("/sign-in/factor", data=answer, headers=foreign).status_code == 403


def noting(written: list[str], way: str, write: Callable[..., Any], *act: Any) -> Any:
    written.append(way)
    return write(*act)


def test_audit_entries_for_unknown_names_are_limited(handler: SignInService, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many to be listed, and one of a customer that there is not, costs the disk the same: no clock tells."""
    handler.settle()
    monkeypatch.setattr(login_session, "UNKNOWN_NAMES", Rate(0.5, 3.0))
    handler.restart()
    before, written = len(handler.told()), list[str]()
    for customer in handler.customers.values():
        for way in ("append", "beat"):
            noted = partial(noting, written, way, getattr(customer.audit, way))
            monkeypatch.setattr(customer.audit, way, noted)
    browser = handler.browser()
    for number in range(10):
        assert handler.sign_in(browser, f"nobody {number}", "x").status_code == 403
    handler.later += 2
    for customer_, name in (("acme", "nobody"), ("acme", "anna"), ("nobody", "anna"), ("", "")):
        assert handler.sign_in(handler.browser(), name, "x", customer=customer_).status_code == 403
    assert written == ["append"] * 3 + ["beat"] * 7 + ["append"] * 2 + ["beat"] * 2
    listed = ["password; before it 7 that are not listed", "password"]
    assert [reason for *_, reason in handler.told()[before:]] == ["password"] * 3 + listed


def test_an_account_disabled_during_login_gets_no_audit_entry(
    handler: SignInService, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, enter, browser = handler.settle(), handler.family.enter, handler.browser()
    with unwritable_audit(handler.customers["acme"]):
        assert handler.sign_in(browser).status_code == 503
    assert not inside(browser)

    async def disabled_meanwhile(*typed: str) -> Person | None:
        person = await enter(*typed)
        await handler.customers["acme"].accounts.changing(id, lambda account: account.ended(disabled=True))
        return person

    monkeypatch.setattr(handler.family, "enter", disabled_meanwhile)
    before = len(handler.told())
    assert handler.sign_in(browser).status_code == 403
    assert not inside(browser)
    assert handler.told()[before:] == []
