"""What every way in has in common."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from starlette.requests import Request

from admin_api.access.accounts_port import Declined, Person
from admin_api.page.framework.sessions import Sessions
from admin_api.page.sign_in.login_session import onward, origin
from admin_api.page.sign_in.public_routes import PublicRoutes
from storage.access.account import Passkey
from storage.audit.hash_chain import AuditError
from storage.token_buckets import Rate
from tests.in_process.sign_in_service import PASSWORD, SignInService, field, inside


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
        "/a?b#c",
        "/a?b=//c",
        "/a?b;url=c",
        "/a?" + 2048 * "b",
        "/a#b",
        "/a b",
        "/%2f",
        "/ä",
        "/a\n",
    ],
)
def test_a_next_path_that_may_lead_elsewhere_becomes_root(path: str) -> None:
    assert onward(path) == "/"


def test_a_sign_in_that_cannot_be_audited_gives_503(handler: SignInService, monkeypatch: pytest.MonkeyPatch) -> None:
    handler.settle()

    def broken(*_: object) -> None:
        raise AuditError("the disk is full")

    monkeypatch.setattr(handler.customers["acme"].audit, "append", broken)
    browser = handler.browser()
    assert handler.sign_in(browser).status_code == 503
    assert not inside(browser)


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


def test_passkeys_hang_on_no_host_that_anybody_may_send(handler: SignInService) -> None:
    id = handler.settle()
    foreign = {"Host": "evil.example"}
    browser = handler.browser()
    assert handler.sign_in(browser).status_code == 303
    token = field(browser.get("/account"), "csrf")
    shown = browser.post("/account/passkey", data={"csrf": token, "password": PASSWORD}, headers=foreign)
    assert shown.status_code == 422
    assert "data-options" not in shown.text
    assert "address of this page is not configured" in shown.text
    passkey = Passkey("00", "00" * 16, "laptop", handler.now())
    handler.customers["acme"].accounts.change(
        id, lambda account: replace(account, passkeys=(passkey,), recovery=("x",))
    )
    factor = handler.browser().post(
        "/sign-in",
        data={"customer": "acme", "name": "anna", "password": PASSWORD},
        headers={"Sec-Fetch-Site": "same-origin", **foreign},
    )
    assert factor.status_code == 200
    assert "data-options" not in factor.text
    answer = {"step": field(factor, "step"), "answer": "{}"}
    refused = handler.browser().post(
        "/sign-in/factor", data=answer, headers={"Sec-Fetch-Site": "same-origin", **foreign}
    )
    assert refused.status_code == 403


def test_audit_entries_for_unknown_names_are_limited(handler: SignInService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admin_api.page.sign_in.login_session.UNKNOWN_NAMES", Rate(0.5, 3.0))
    before, browser = len(handler.told()), handler.browser()
    handler.run(handler.lazy_page.site())._public_routes = PublicRoutes(
        handler.family, Sessions(os.urandom), handler.monotonic, os.urandom
    )
    for number in range(10):
        assert handler.sign_in(browser, f"nobody {number}", "x").status_code == 403
    handler.later += 2
    assert handler.sign_in(browser, "nobody", "x").status_code == 403
    told = [reason for _, _, _, reason in handler.told()[before:]]
    assert told == ["password"] * 3 + ["password; before it 7 that are not listed"]


def test_every_refused_try_costs_the_disk_the_same(handler: SignInService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a customer or name that there is not, and of one too many to be listed, no clock tells."""
    handler.settle()
    written: list[str] = []
    for customer in handler.customers.values():
        hand_over = customer.audit._hand_over
        monkeypatch.setattr(customer.audit, "_hand_over", lambda act, to=hand_over: (written.append("1"), to(act))[1])
    seen = []
    for customer, name in (("acme", "anna"), ("acme", "nobody"), ("nobody", "anna"), ("", "")):
        written.clear()
        assert handler.sign_in(handler.browser(), name, "wrong", customer=customer).status_code == 403
        seen.append(len(written))
    monkeypatch.setattr("admin_api.page.sign_in.login_session.UNKNOWN_NAMES", Rate(0.001, 1.0))
    handler.run(handler.lazy_page.site())._public_routes = PublicRoutes(
        handler.family, Sessions(os.urandom), handler.monotonic, os.urandom
    )
    for number in range(3):
        written.clear()
        handler.sign_in(handler.browser(), f"nobody {number}", "wrong")
        seen.append(len(written))
    assert seen == [1] * 7


def test_an_account_disabled_during_login_gets_no_audit_entry(
    handler: SignInService, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = handler.settle()
    enter = handler.family.enter

    async def disabled_meanwhile(*typed: str) -> Person | None:
        person = await enter(*typed)
        handler.customers["acme"].accounts.change(id, lambda account: account.ended(disabled=True))
        return person

    monkeypatch.setattr(handler.family, "enter", disabled_meanwhile)
    before, browser = len(handler.told()), handler.browser()
    assert handler.sign_in(browser).status_code == 403
    assert not inside(browser)
    assert handler.told()[before:] == []
