"""Getting in with an account: password, second factor, and everything that keeps others out."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from admin_api.page.sign_in import login_backoff
from admin_api.page.sign_in.login_backoff import MAX_DELAY
from recorder.access import passwords
from storage.access.account import Account
from tests.admin_api.page.conftest import led, words
from tests.in_process.sign_in_service import (
    COOKIE,
    PASSWORD,
    SignInService,
    app_secret,
    field,
    inside,
    send_code,
    unwritable_audit,
)


def test_name_and_password_lead_to_the_page_that_was_asked_for(handler: SignInService) -> None:
    handler.settle()
    browser = handler.browser()
    shown = browser.get(browser.get("/calls").headers["location"])
    answer = handler.sign_in(browser, next=field(shown, "next"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/calls")
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"))
    assert "Max-Age" not in cookie and "Domain" not in cookie  # gone with the browser
    assert handler.told()[-1] == ("anna", "session.open", "done", "password")
    assert inside(browser) and browser.get("/sign-in?next=/audit").headers["location"] == "/audit"


def test_whatever_is_wrong_the_answer_is_the_same(handler: SignInService) -> None:
    handler.settle("anna")
    handler.customers["acme"].accounts.change(handler.settle("ben"), lambda a: a.ended(disabled=True))
    handler.invite("cleo")  # has no password yet
    for name, password, customer in (
        ("anna", "wrong", "acme"), ("anna", "", "acme"), ("nobody", PASSWORD, "acme"), ("", "", ""),
        ("anna", PASSWORD, "beta"), ("anna", PASSWORD, "none-such"), ("ben", PASSWORD, "acme"), ("cleo", "", "acme"),
        ("anna", "\N{REPLACEMENT CHARACTER}", "acme"), ("a" * 5000, "b" * 20_000, "acme"),
    ):  # fmt: skip
        browser = handler.browser()
        answer = handler.sign_in(browser, name, password, customer)
        assert answer.status_code == 403, (name, password, customer)
        assert "The name or password is wrong." in words(answer.text)
        assert COOKIE not in answer.headers.get("set-cookie", "") and not inside(browser)
        assert name in ("", "anna", "ben") or name not in answer.text  # "Recorder" has none of the others


def test_a_refused_sign_in_is_audited_without_the_typed_name(handler: SignInService) -> None:
    handler.settle()
    handler.sign_in(handler.browser(), "ANNA", "secret that was mistyped")
    handler.sign_in(handler.browser(), "passwordTypedAsName", "x")
    assert [each[0] for each in handler.told()[-2:]] == ["anna", "unknown"]
    assert {each[1:] for each in handler.told()[-2:]} == {("session.open", "refused", "password")}
    assert "mistyped" not in str(handler.acts()) and "passwordTypedAsName" not in str(handler.acts())


HOME, OFFICE, STRANGER = "127.0.1.7", "127.0.2.7", "127.0.3.7"
"""Addresses of three networks."""


@pytest.fixture
def known(handler: SignInService) -> SignInService:
    """A service where anna has signed in from her home network."""
    handler.settle()
    handler.entered(source=HOME)
    return handler


def test_an_attempt_from_a_known_network_waits_its_turn(known: SignInService) -> None:
    assert [known.attempt("127.0.1.8") for _ in range(12)] == [403] * 12
    assert known.delays == pytest.approx([1, 2, 4, 4, 4, 4, 4], abs=0.1)
    known.entered(source="127.0.1.9")
    known.entered(source="127.0.1.10")
    assert len(known.delays) == 8, "whoever got in waits no more"


def test_failures_from_one_address_do_not_lock_others_out(handler: SignInService) -> None:
    handler.settle()
    judged, stranger = 0, handler.browser(STRANGER)
    for minute in range(240):
        judged += handler.sign_in(stranger, password="wrong").status_code == 403
        if minute % 60 == 59:
            before = len(handler.delays)
            handler.entered(source=f"127.0.{10 + minute // 60}.2")  # never seen there
            assert len(handler.delays) == before
        handler.later += 60
    assert judged <= 5 + 10 + 4 * 4  # at once, while the pauses grow, and four an hour


def test_many_addresses_do_not_speed_up_guessing(known: SignInService) -> None:
    sources = [f"127.0.{100 + number}.9" for number in range(60)]
    strangers, begun, judged = [known.browser(source) for source in sources], known.later, 0
    for stranger in strangers * 4:
        judged += known.sign_in(stranger, password="wrong").status_code == 403
        known.later += 1
    assert judged <= 20 + 8 + (known.later - begun) / 60
    assert known.attempt(OFFICE, PASSWORD) == 429, "a place that is as new as theirs"
    before = len(known.delays)
    known.entered(source="127.0.1.99")
    known.restart()
    for source in sources[:30]:
        known.attempt(source)
    assert known.attempt(OFFICE, PASSWORD) == 429
    known.entered(source=HOME)  # known after a restart, too
    assert max(known.delays[before:], default=0) <= MAX_DELAY


def test_login_waits_do_not_reveal_which_names_exist(known: SignInService) -> None:
    known.settle("ben")
    seen = []
    for name, network in (("anna", 50), ("nobody", 51), ("ben", 52)):
        known.delays.clear()
        browser = known.browser(f"127.0.{network}.1")
        answers = [known.sign_in(browser, name, "wrong") for _ in range(12)]
        seen.append(
            (
                [(a.status_code, a.headers.get("retry-after")) for a in answers],
                [round(delay, 3) for delay in known.delays],
            )
        )
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][1], "some of them waited"


def test_attempts_at_once_wait_one_after_the_other(known: SignInService) -> None:
    sources = ["127.0.1.20", "127.0.1.21", "127.0.1.22"]
    assert [known.attempt(sources[0]) for _ in range(5)] == [403] * 5
    known.goes_on.clear()
    with ThreadPoolExecutor(3) as browsers:
        tries = [browsers.submit(known.attempt, source) for source in sources]
        while len(known.delays) < len(tries):
            time.sleep(0.001)
        known.goes_on.set()
        assert [each.result(60) for each in tries] == [403] * len(tries)
    assert sorted(known.delays) == pytest.approx([1, 3, 7], abs=0.1)


@pytest.mark.parametrize("limit", ["MAX_DELAYED", "MAX_DELAYED_OF_ONE"])
def test_a_full_queue_of_waiting_attempts_locks_no_owner_out(
    known: SignInService, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    assert [known.attempt("127.0.1.20") for _ in range(5)] == [403] * 5
    assert known.attempt("127.0.1.20") == 403 and len(known.delays) == 1
    monkeypatch.setattr(login_backoff, limit, 0)
    assert known.attempt("127.0.1.20") == 429
    known.entered(source=HOME)


def test_a_full_password_queue_does_not_block_known_networks(
    known: SignInService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MAX_OF_ONE", 0)  # as if its network had all its places taken
    stranger = known.browser(STRANGER)
    assert [known.sign_in(stranger, f"nobody{n}").status_code for n in range(24)] == [503] * 24
    assert known.delays == pytest.approx([1, 2, 4, 4], abs=0.1)
    known.entered(source=HOME)


def test_wrong_codes_from_elsewhere_do_not_slow_known_networks(handler: SignInService) -> None:
    secret, _ = handler.app(handler.settle())
    for _ in range(2):
        browser = handler.browser(HOME)
        assert send_code(browser, handler.sign_in(browser), handler.code(secret)).status_code == 303
        thief = handler.browser(STRANGER)  # who has the password, and not the app
        shown = handler.sign_in(thief)
        for _ in range(6):
            shown = send_code(thief, shown, "000000")
        assert shown.status_code == 429
        other = handler.browser("127.0.9.9")  # another network is no new chance
        assert send_code(other, handler.sign_in(other), "000000").status_code == 429
        handler.later += 60


def test_another_spelling_of_a_name_is_no_new_try(handler: SignInService) -> None:
    handler.settle()
    for name in ("anna", "ANNA", " anna", "ａｎｎａ", "Anna "):
        assert handler.attempt(name=name) == 403
    assert not handler.delays
    assert handler.attempt(name="aNNa") == 403
    assert handler.delays == [1]


def test_an_attempt_refused_for_load_is_not_counted(handler: SignInService, monkeypatch: pytest.MonkeyPatch) -> None:
    handler.settle()
    with monkeypatch.context() as crowd:
        crowd.setattr(passwords, "MAX_WAITING", 0)
        answers = [handler.sign_in(handler.browser()) for _ in range(9)]
    assert {(each.status_code, each.headers["retry-after"]) for each in answers} == {(503, "2")}
    handler.entered()


def test_a_sole_customer_is_not_asked_for(handler: SignInService, monkeypatch: pytest.MonkeyPatch) -> None:
    handler.settle()
    monkeypatch.setattr(handler.family, "customers", {"acme": handler.customers["acme"]})
    browser = handler.browser()
    assert 'name="customer"' not in browser.get("/sign-in").text
    assert handler.sign_in(browser, customer="").status_code == 303


def test_one_address_cannot_try_many_names_for_ever(handler: SignInService) -> None:
    assert [handler.attempt(name=f"name{i}") for i in range(26)] == [403] * 26
    assert handler.delays == pytest.approx([1, 2, 4, 4, 4, 4], abs=0.1)


def test_sign_in_does_not_redirect_to_other_sites(handler: SignInService) -> None:
    handler.settle()
    evils = "//evil.example https://evil.example /\\\\evil.example /%2fevil.example javascript:alert(1) /calls?x=//evil"
    for evil in (*evils.split(), "/calls\r\nX: y"):
        browser = handler.browser()
        assert field(browser.get("/sign-in", params={"next": evil}), "next") == "/"
        assert handler.sign_in(browser, next=evil).headers["location"] == "/"


def test_a_cross_site_or_long_form_signs_nobody_in(handler: SignInService) -> None:
    handler.settle()
    form = {"customer": "acme", "name": "anna", "password": PASSWORD}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert handler.browser().post("/sign-in", data=form, headers=headers).status_code == 403
    assert handler.attempt(password="x" * 40_000) == 413


def test_the_customer_field_is_prefilled_from_the_address(handler: SignInService) -> None:
    page = handler.browser().get("/sign-in?customer=acme%22%3E%3Cscript%3E").text
    assert 'value="acme&#34;&gt;&lt;script&gt;"' in page
    assert "beta" not in page  # customers do not learn of each other


# --- second factor ---------------------------------------------------------------------------------------------------


def test_a_code_of_the_app_is_asked_for_and_taken_once(handler: SignInService) -> None:
    secret, _ = handler.app(handler.settle())
    browser, thief, code = handler.browser(), handler.browser(), handler.code(secret)
    shown = handler.sign_in(browser, next="/audit")
    assert shown.status_code == 200 and not inside(browser)
    answer = send_code(browser, shown, code)
    assert (answer.status_code, answer.headers["location"]) == (303, "/audit")
    assert inside(browser)
    assert handler.told()[-1] == ("anna", "session.open", "done", "password and code")
    assert send_code(thief, handler.sign_in(thief), code).status_code == 403
    assert not inside(thief)


def test_a_step_is_good_for_one_try_and_ten_minutes(handler: SignInService) -> None:
    secret, _ = handler.app(handler.settle())
    browser = handler.browser()
    shown = handler.sign_in(browser)
    wrong = send_code(browser, shown, "000000")
    assert "This code is wrong." in words(wrong.text)
    assert send_code(browser, shown, handler.code(secret)).status_code == 403
    handler.later += 601
    assert "That took too long." in words(send_code(browser, wrong, handler.code(secret)).text)
    for form in ({}, {"step": "0" * 64, "code": "123456"}, {"step": "", "answer": "{}"}):
        assert browser.post("/sign-in/factor", data=form).status_code == 403
    assert not inside(browser)


def test_codes_cannot_be_tried_for_ever(handler: SignInService) -> None:
    secret, _ = handler.app(handler.settle())
    browser = handler.browser()
    shown = handler.sign_in(browser)
    for _ in range(5):
        shown = send_code(browser, shown, "000000")
    answer = send_code(browser, shown, handler.code(secret))
    assert answer.status_code == 429
    handler.later += int(answer.headers["retry-after"])
    assert send_code(browser, answer, handler.code(secret)).status_code == 303


def test_a_required_second_factor_is_set_up_at_sign_in(strict: SignInService) -> None:
    strict.settle()
    browser = strict.browser()
    assert send_code(browser, strict.sign_in(browser), "").status_code == 403  # it cannot be skipped
    shown = strict.sign_in(browser, next="/audit")
    secret = app_secret(shown)
    assert "<svg" in shown.text and not inside(browser)
    wrong = send_code(browser, shown, "000000", "app")
    assert wrong.status_code == 403 and secret in wrong.text
    done = led(browser, send_code(browser, wrong, strict.code(secret), "app"))
    assert len(re.findall(r"<li>[a-z2-7]{4}(-[a-z2-7]{4}){3}</li>", done.text)) == 10
    assert 'href="/audit"' in done.text and inside(browser)
    assert strict.told()[-1][3] == "password and new app"


# --- the end of a session --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda accounts, id: accounts.change(id, lambda a: a.ended(disabled=True)),
        lambda accounts, id: accounts.change(id, lambda a: a.ended(roles=("listener",))),
        lambda accounts, id: accounts.change(id, lambda a: a.ended(password="another")),
        lambda accounts, id: accounts.remove(id),
    ],
)
def test_a_session_ends_when_its_account_changes(handler: SignInService, change: Callable[[Any, str], None]) -> None:
    id = handler.settle()
    browser = handler.entered()
    change(handler.customers["acme"].accounts, id)
    assert not inside(browser)


@pytest.mark.parametrize(("seconds", "times"), [(20 * 60, 1), (10 * 60, 71)])
def test_a_session_ends_when_idle_and_after_twelve_hours(handler: SignInService, seconds: int, times: int) -> None:
    handler.settle()
    browser = handler.entered()
    for _ in range(times):
        handler.later += seconds
        assert inside(browser)
    handler.later += seconds + 1
    assert not inside(browser)


def test_signing_out_or_in_again_ends_the_session(handler: SignInService) -> None:
    handler.settle()
    browser = handler.entered()
    first = handler.copied(browser)
    handler.sign_in(browser)
    second = handler.copied(browser)
    assert inside(second) and not inside(first)
    answer = browser.post("/sign-out", headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.headers["location"] == "/sign-in"
    assert not inside(second)
    assert handler.told()[-1] == ("anna", "session.close", "done", "")


def test_damaged_accounts_lock_out_only_their_customer(handler: SignInService) -> None:
    handler.settle()
    handler.settle("ben", customer="beta")
    browser = handler.entered()
    (handler.customers["acme"].folder / "accounts.json").write_text("{")
    assert not inside(browser)
    assert handler.attempt(password=PASSWORD) in (500, 503)
    assert handler.sign_in(handler.browser(), "ben", customer="beta").status_code == 303
    assert handler.faults
    handler.faults.clear()


def test_an_account_ended_between_two_pages_is_refused(handler: SignInService) -> None:
    id = handler.settle()
    secret, _ = handler.app(id)
    browser = handler.browser()
    shown = handler.sign_in(browser)
    handler.customers["acme"].accounts.change(id, Account.ended)
    answer = send_code(browser, shown, handler.code(secret))
    assert answer.status_code == 403
    assert "changed in the meantime" in words(answer.text)


def test_a_stale_setup_does_not_replace_a_second_factor(strict: SignInService) -> None:
    """Somebody who knows the password alone, and began to set up an app of their own before its owner did."""
    accounts, id = strict.customers["acme"].accounts, strict.settle()
    thief, anna = strict.browser(), strict.browser()
    begun, shown = strict.sign_in(thief), strict.sign_in(anna)
    with unwritable_audit(strict.customers["acme"]):
        assert send_code(anna, shown, strict.code(app_secret(shown)), "app").status_code == 503
    assert accounts.get(id).totp is None
    shown = strict.sign_in(anna)
    assert led(anna, send_code(anna, shown, strict.code(app_secret(shown)), "app")).status_code == 200
    hers = accounts.get(id).totp
    assert send_code(thief, begun, strict.code(app_secret(begun)), "app").status_code == 403
    assert not inside(thief)
    assert hers and accounts.get(id).totp == hers
    assert [each[1:3] for each in strict.told()][-2:] == [("account.app", "done"), ("session.open", "done")]
