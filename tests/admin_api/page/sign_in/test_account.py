"""One's own account: every change asks for the password, and ends what is open elsewhere where it must."""

import asyncio
import json
import re
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from html import unescape

import httpx2
import pytest

from admin_api.http.permissions import Role
from admin_api.page.sign_in.account import MAX_TRIES
from tests.admin_api.page.conftest import led, words
from tests.in_process.sign_in_service import (
    PASSWORD,
    SignInService,
    app_secret,
    field,
    inside,
    send_code,
    unwritable_audit,
)

NEW = "another fine passphrase"


def send(browser: httpx2.Client, path: str, **form: str) -> httpx2.Response:
    token = field(browser.get("/account"), "csrf")
    return browser.post(path, data={"csrf": token, "password": PASSWORD, **form})


def test_the_account_page_shows_roles_and_protection(handler: SignInService) -> None:
    handler.settle("Ada <b>", "privacy", "approver")
    page = handler.entered("Ada <b>").get("/account").text
    assert "Ada &lt;b&gt;" in page
    assert "privacy, approver" in words(page)
    assert "Only your password protects this account." in words(page)


def test_a_new_password_ends_the_other_sessions_only(handler: SignInService) -> None:
    handler.settle()
    here, elsewhere = handler.entered(), handler.entered()
    answer = send(here, "/account/password", new=NEW, again=NEW)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account?changed=password")
    assert "Your password was changed." in words(here.get("/account?changed=password").text)
    assert not inside(elsewhere)
    assert handler.sign_in(handler.browser()).status_code == 403
    assert handler.sign_in(handler.browser(), password=NEW).status_code == 303
    assert ("anna", "account.password", "done", "") in handler.told()


def test_a_password_that_is_not_taken(handler: SignInService) -> None:
    handler.settle()
    browser = handler.entered()
    for form, why in (
        ({"new": NEW, "again": "other"}, "not the same"),
        ({"new": "short", "again": "short"}, "at least 12 characters"),
        ({"password": "wrong", "new": NEW, "again": NEW}, "not your password"),
    ):
        answer = send(browser, "/account/password", **form)
        assert (answer.status_code, why in words(answer.text)) == (422, True)
    for _ in range(4):
        assert send(browser, "/account/password", password="wrong", new=NEW, again=NEW).status_code == 422
    assert send(browser, "/account/password", new=NEW, again=NEW).status_code == 422, "the session has no tries left"
    assert ("anna", "account.password", "refused", "password") in handler.told()
    assert send(handler.entered(), "/account/password", new=NEW, again=NEW).status_code == 303


@pytest.mark.parametrize("path", ["password", "app", "passkey", "recovery", "drop"])
def test_nothing_changes_without_the_password_or_form_token(handler: SignInService, path: str) -> None:
    secret, _ = handler.app(handler.settle())
    browser, account = handler.browser(), handler.customers["acme"].accounts
    send_code(browser, handler.sign_in(browser), handler.code(secret))
    before = account.named("anna")
    assert send(browser, f"/account/{path}", password="wrong", new=NEW, again=NEW).status_code == 422
    assert browser.post(f"/account/{path}", data={"password": PASSWORD}).status_code == 403
    assert account.named("anna") == before


def test_an_app_is_saved_once_it_shows_the_right_code(handler: SignInService) -> None:
    id = handler.settle()
    browser, accounts = handler.entered(), handler.customers["acme"].accounts
    shown = led(browser, send(browser, "/account/app"))
    form = {"csrf": field(shown, "csrf"), "code": handler.code(app_secret(shown))}
    with unwritable_audit(handler.customers["acme"]):
        assert browser.post("/account/app/code", data=form).status_code == 503
    assert accounts.get(id).totp is None
    shown = led(browser, send(browser, "/account/app"))
    form = {"csrf": field(shown, "csrf"), "code": handler.code(app_secret(shown))}
    assert browser.post("/account/app/code", data={**form, "code": "000000"}).status_code == 422
    done = led(browser, browser.post("/account/app/code", data=form))
    assert done.text.count("<li>") >= 10
    assert "authenticator app" in words(browser.get("/account").text)
    form["code"] = handler.code(app_secret(shown), 1)
    assert browser.post("/account/app/code", data=form).status_code == 422
    assert handler.told()[-1] == ("anna", "account.app", "done", "")
    assert "step" in handler.sign_in(handler.browser()).text


def test_an_app_set_up_anew_keeps_the_recovery_codes(handler: SignInService) -> None:
    id, browser = handler.settle(), handler.browser()
    secret, codes = handler.app(id)
    send_code(browser, handler.sign_in(browser), handler.code(secret))
    shown = led(browser, send(browser, "/account/app"))
    fresh = app_secret(shown)
    done = browser.post("/account/app/code", data={"csrf": field(shown, "csrf"), "code": handler.code(fresh)})
    assert done.headers["location"] == "/account?changed=app"
    account = handler.customers["acme"].accounts.get(id)
    assert (account.totp, len(account.recovery)) == (fresh, len(codes))


def test_new_recovery_codes_make_the_old_ones_void(handler: SignInService) -> None:
    id = handler.settle()
    browser = handler.entered()
    assert send(browser, "/account/recovery").status_code == 422  # nothing that they could stand in for
    _, old = handler.app(id)
    new = re.findall(r"<li>([a-z2-7-]{19})</li>", led(browser, send(browser, "/account/recovery")).text)
    assert len(new) == 10 and not set(new) & set(old)
    assert ("anna", "account.recovery", "done", "") in handler.told()
    for code, expected in ((old[0], 403), (new[0], 303)):
        other = handler.browser()
        assert send_code(other, handler.sign_in(other), code).status_code == expected


def test_the_last_factor_goes_with_its_codes_or_must_stay(handler: SignInService) -> None:
    id, accounts = handler.settle(), handler.customers["acme"].accounts
    browser = handler.entered()
    handler.app(id)
    handler.family.second_factor_required = True
    answer = send(browser, "/account/drop")
    assert (answer.status_code, accounts.get(id).totp is None) == (422, False)
    assert "A second factor is required here." in words(answer.text)
    handler.family.second_factor_required = False
    assert send(browser, "/account/drop").headers["location"] == "/account?changed=dropped"
    assert (accounts.get(id).totp, accounts.get(id).recovery) == (None, ())
    assert inside(browser)


def test_a_passkey_that_the_browser_did_not_make_is_not_taken(handler: SignInService) -> None:
    handler.settle()
    browser = handler.entered()
    shown = led(browser, send(browser, "/account/passkey"))
    (options,) = re.findall(r'data-options="([^"]*)"', shown.text)
    assert json.loads(unescape(options))["publicKey"]["rp"]["id"] == "127.0.0.1"
    form = {"csrf": field(shown, "csrf"), "label": "x"}
    for answer in ("", "{}", "[]", '{"id": "x"}', "\x00"):
        send(browser, "/account/passkey")
        assert browser.post("/account/passkey/answer", data={**form, "answer": answer}).status_code == 422
    assert browser.post("/account/passkey/answer", data=form).status_code == 422


def test_a_session_without_account_cannot_change_one(browse) -> None:
    admin = browse(Role.ADMIN)
    assert admin.get("/account").status_code == 200
    assert admin.post("/account/password", {"password": PASSWORD}).status_code == 404
    assert admin.post("/account/app/code", {"code": "1"}).status_code == 422


def test_an_account_change_that_cannot_be_audited_fails(handler: SignInService) -> None:
    id, accounts = handler.settle(), handler.customers["acme"].accounts
    browser = handler.entered()
    handler.app(id)
    before = accounts.get(id)
    with unwritable_audit(handler.customers["acme"]):
        for path in ("password", "recovery", "drop"):
            assert send(browser, f"/account/{path}", new=NEW, again=NEW).status_code == 503, path
    assert accounts.get(id) == before


def test_concurrent_password_checks_of_an_account_are_limited(
    handler: SignInService, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler.settle()
    browser = handler.entered()
    token = field(browser.get("/account"), "csrf")
    judged, all_there = [], threading.Event()

    async def slow(person: object, password: str) -> bool:
        judged.append(password)
        await asyncio.to_thread(all_there.wait, 10)
        return False

    monkeypatch.setattr(handler.family, "confirm", slow)
    with ThreadPoolExecutor(10) as pool:
        form = {"csrf": token, "password": "wrong", "new": NEW, "again": NEW}
        sent = [pool.submit(browser.post, "/account/password", data=form) for _ in range(10)]
        wait(sent, 10, FIRST_COMPLETED)  # the sixth and those after it need no judging
        all_there.set()
        assert {each.result().status_code for each in sent} == {422}
    assert len(judged) == MAX_TRIES
