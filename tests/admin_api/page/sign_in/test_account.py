"""One's own account: every change asks for the password, and ends what is open elsewhere where it must."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import httpx2
import pytest

from admin_api.http.permissions import Role
from admin_api.page.sign_in.account import MAX_TRIES
from storage.audit.hash_chain import AuditError
from tests.admin_api.page.conftest import led, words
from tests.in_process.sign_in_service import PASSWORD, SignInService, field, inside

NEW = "another fine passphrase"


def enter(handler: SignInService, name: str = "anna") -> httpx2.Client:
    browser = handler.browser()
    assert handler.sign_in(browser, name).status_code == 303
    return browser


def send(browser: httpx2.Client, path: str, **form: str) -> httpx2.Response:
    token = field(browser.get("/account"), "csrf")
    return browser.post(path, data={"csrf": token, "password": PASSWORD, **form})


def test_the_account_page_shows_roles_and_protection(handler: SignInService) -> None:
    handler.settle("Ada <b>", "privacy", "approver")
    page = enter(handler, "Ada <b>").get("/account").text
    assert "Ada &lt;b&gt;" in page
    assert "privacy, approver" in words(page)
    assert "Only your password protects this account." in words(page)


def test_a_new_password_ends_the_other_sessions_only(handler: SignInService) -> None:
    handler.settle()
    here, elsewhere = enter(handler), enter(handler)
    answer = send(here, "/account/password", new=NEW, again=NEW)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account?changed=password")
    assert "Your password was changed." in words(here.get("/account?changed=password").text)
    assert not inside(elsewhere)
    assert handler.sign_in(handler.browser()).status_code == 403
    assert handler.sign_in(handler.browser(), password=NEW).status_code == 303
    assert ("anna", "account.password", "done", "") in handler.told()


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"password": "wrong", "new": NEW, "again": NEW}, "not your password"),
        ({"new": NEW, "again": "other"}, "not the same"),
        ({"new": "short", "again": "short"}, "at least 12 characters"),
    ],
)
def test_a_password_that_is_not_taken(handler: SignInService, form: dict[str, str], why: str) -> None:
    handler.settle()
    browser = enter(handler)
    answer = send(browser, "/account/password", **form)
    assert answer.status_code == 422
    assert why in words(answer.text)
    assert handler.sign_in(handler.browser()).status_code == 303


def test_password_guesses_in_an_open_session_are_limited(handler: SignInService) -> None:
    handler.settle()
    browser = enter(handler)
    for _ in range(5):
        assert send(browser, "/account/password", password="wrong", new=NEW, again=NEW).status_code == 422
    assert send(browser, "/account/password", new=NEW, again=NEW).status_code == 422
    assert ("anna", "account.password", "refused", "password") in handler.told()
    browser = enter(handler)
    assert send(browser, "/account/password", new=NEW, again=NEW).status_code == 303


@pytest.mark.parametrize(
    "path", ["/account/password", "/account/app", "/account/passkey", "/account/recovery", "/account/drop"]
)
def test_nothing_changes_without_the_password_or_form_token(handler: SignInService, path: str) -> None:
    handler.app(handler.settle())
    browser = handler.browser()
    shown = handler.sign_in(browser)
    account = handler.customers["acme"].accounts
    code = handler.code(account.named("anna").totp)
    browser.post("/sign-in/factor", data={"step": field(shown, "step"), "code": code})
    before = account.named("anna")
    assert send(browser, path, password="wrong", new=NEW, again=NEW).status_code == 422
    assert browser.post(path, data={"password": PASSWORD}).status_code == 403
    assert account.named("anna") == before


def test_an_app_is_put_on_file_once_it_shows_the_right_code(handler: SignInService) -> None:
    handler.settle()
    browser = enter(handler)
    shown = led(browser, send(browser, "/account/app"))
    secret = re.search(r'class="mono">([A-Z2-7]{32})<', shown.text).group(1)
    token = field(shown, "csrf")
    wrong = browser.post("/account/app/code", data={"csrf": token, "code": "000000"})
    assert wrong.status_code == 422
    done = led(browser, browser.post("/account/app/code", data={"csrf": token, "code": handler.code(secret)}))
    assert done.text.count("<li>") >= 10
    assert "authenticator app" in words(browser.get("/account").text)
    assert browser.post("/account/app/code", data={"csrf": token, "code": handler.code(secret, 1)}).status_code == 422
    assert handler.told()[-1] == ("anna", "account.app", "done", "")
    assert "step" in handler.sign_in(handler.browser()).text


def test_an_app_set_up_anew_keeps_the_recovery_codes(handler: SignInService) -> None:
    id = handler.settle()
    secret, codes = handler.app(id)
    browser = handler.browser()
    step = field(handler.sign_in(browser), "step")
    browser.post("/sign-in/factor", data={"step": step, "code": handler.code(secret)})
    shown = led(browser, send(browser, "/account/app"))
    fresh = re.search(r'class="mono">([A-Z2-7]{32})<', shown.text).group(1)
    done = browser.post("/account/app/code", data={"csrf": field(shown, "csrf"), "code": handler.code(fresh)})
    assert done.headers["location"] == "/account?changed=app"
    account = handler.customers["acme"].accounts.get(id)
    assert (account.totp, len(account.recovery)) == (fresh, len(codes))


def test_new_recovery_codes_make_the_old_ones_void(handler: SignInService) -> None:
    id = handler.settle()
    browser = enter(handler)
    assert send(browser, "/account/recovery").status_code == 422  # nothing that they could stand in for
    _, old = handler.app(id)
    new = re.findall(r"<li>([a-z2-7-]{19})</li>", led(browser, send(browser, "/account/recovery")).text)
    assert len(new) == 10
    assert not set(new) & set(old)
    assert ("anna", "account.recovery", "done", "") in handler.told()
    for code, expected in ((old[0], 403), (new[0], 303)):
        other = handler.browser()
        step = field(handler.sign_in(other), "step")
        assert other.post("/sign-in/factor", data={"step": step, "code": code}).status_code == expected


def test_removing_the_last_factor_removes_the_recovery_codes(handler: SignInService) -> None:
    id = handler.settle()
    browser = enter(handler)
    handler.app(id)
    assert send(browser, "/account/drop").headers["location"] == "/account?changed=dropped"
    account = handler.customers["acme"].accounts.get(id)
    assert (account.totp, account.recovery) == (None, ())
    assert inside(browser)


def test_where_a_second_factor_is_required_the_last_one_stays(strict: SignInService) -> None:
    id = strict.settle()
    strict.family.second_factor_required = False
    browser = enter(strict)
    strict.app(id)
    strict.family.second_factor_required = True
    answer = send(browser, "/account/drop")
    assert answer.status_code == 422
    assert "A second factor is required here." in words(answer.text)
    assert strict.customers["acme"].accounts.get(id).totp


def test_a_passkey_that_the_browser_did_not_make_is_not_taken(handler: SignInService) -> None:
    handler.settle()
    browser = enter(handler)
    shown = led(browser, send(browser, "/account/passkey"))
    options = json.loads(re.search(r'data-options="([^"]*)"', shown.text).group(1).replace("&#34;", '"'))
    assert options["publicKey"]["rp"]["id"] == "127.0.0.1"
    token = field(shown, "csrf")
    for answer in ("", "{}", "[]", '{"id": "x"}', "\x00"):
        send(browser, "/account/passkey")
        form = {"csrf": token, "answer": answer, "label": "x"}
        assert browser.post("/account/passkey/answer", data=form).status_code == 422
    assert browser.post("/account/passkey/answer", data={"csrf": token}).status_code == 422


def test_a_session_without_account_cannot_change_one(browse) -> None:
    admin = browse(Role.ADMIN)
    assert admin.get("/account").status_code == 200
    assert admin.post("/account/password", {"password": PASSWORD}).status_code == 404
    assert admin.post("/account/app/code", {"code": "1"}).status_code == 422


@pytest.mark.parametrize("path", ["/account/password", "/account/recovery", "/account/drop"])
def test_an_account_change_that_cannot_be_audited_fails(
    handler: SignInService, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    id = handler.settle()
    browser = enter(handler)
    handler.app(id)
    accounts = handler.customers["acme"].accounts
    before = accounts.get(id)

    def broken(*_: object) -> None:
        raise AuditError("the disk is full")

    monkeypatch.setattr(handler.customers["acme"].audit, "append", broken)
    assert send(browser, path, new=NEW, again=NEW).status_code == 503
    assert accounts.get(id) == before


def test_a_new_app_that_cannot_be_audited_is_not_saved(handler: SignInService, monkeypatch: pytest.MonkeyPatch) -> None:
    id = handler.settle()
    browser = enter(handler)
    shown = led(browser, send(browser, "/account/app"))
    secret = re.search(r'class="mono">([A-Z2-7]{32})<', shown.text).group(1)

    def broken(*_: object) -> None:
        raise AuditError("the disk is full")

    monkeypatch.setattr(handler.customers["acme"].audit, "append", broken)
    form = {"csrf": field(shown, "csrf"), "code": handler.code(secret)}
    assert browser.post("/account/app/code", data=form).status_code == 503
    assert handler.customers["acme"].accounts.get(id).totp is None


def test_concurrent_password_checks_of_an_account_are_limited(
    handler: SignInService, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler.settle()
    browser = enter(handler)
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


def test_a_form_that_is_sent_twice_at_once_is_no_fault(handler: SignInService) -> None:
    handler.settle()
    browser = enter(handler)
    shown = led(browser, send(browser, "/account/app"))
    secret = re.search(r'class="mono">([A-Z2-7]{32})<', shown.text).group(1)
    form = {"csrf": field(shown, "csrf"), "code": handler.code(secret)}
    with ThreadPoolExecutor(2) as pool:
        sent = [pool.submit(browser.post, "/account/app/code", data=form) for _ in range(2)]
        assert {each.result().status_code for each in sent} <= {200, 303, 422}
