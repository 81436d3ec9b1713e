"""Getting in with an account: password, second factor, and everything that keeps others out."""

from __future__ import annotations

import asyncio
import queue
import re
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from admin_api.page.sign_in.login_backoff import MAX_DELAY
from recorder.access import passwords
from storage.access.account import Account
from storage.audit.hash_chain import AuditError
from tests.admin_api.page.conftest import led, words
from tests.in_process.sign_in_service import COOKIE, PASSWORD, SignInService, field, inside


def test_name_and_password_lead_to_the_page_that_was_asked_for(handler: SignInService) -> None:
    handler.settle()
    browser = handler.browser()
    asked = browser.get("/calls")
    shown = browser.get(asked.headers["location"])
    answer = handler.sign_in(browser, next=field(shown, "next"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/calls")
    assert inside(browser)
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"))
    assert "Max-Age" not in cookie  # gone with the browser
    assert "Domain" not in cookie
    assert handler.told()[-1] == ("anna", "session.open", "done", "password")


def test_a_signed_in_user_skips_the_sign_in_page(handler: SignInService) -> None:
    handler.settle()
    browser = handler.browser()
    handler.sign_in(browser)
    assert browser.get("/sign-in?next=/audit").headers["location"] == "/audit"


@pytest.mark.parametrize(
    ("name", "password", "customer"),
    [("anna", "wrong", "acme"), ("anna", "", "acme"), ("nobody", PASSWORD, "acme"), ("", "", ""),
     ("anna", PASSWORD, "beta"), ("anna", PASSWORD, "none-such"), ("ben", PASSWORD, "acme"), ("cleo", "", "acme"),
     ("anna", "\ud83d", "acme"), ("a" * 5000, "b" * 20_000, "acme")],
)  # fmt: skip
def test_whatever_is_wrong_the_answer_is_the_same(
    handler: SignInService, name: str, password: str, customer: str
) -> None:
    handler.settle("anna")
    handler.customers["acme"].accounts.change(handler.settle("ben"), lambda a: a.ended(disabled=True))
    handler.invite("cleo")  # has no password yet
    browser = handler.browser()
    answer = handler.sign_in(browser, name, password.encode("utf-8", "replace").decode(), customer)
    assert answer.status_code == 403
    assert "The name or password is wrong." in words(answer.text)
    assert COOKIE not in answer.headers.get("set-cookie", "")
    assert not inside(browser)
    if name:
        assert name not in answer.text or name in ("anna", "ben")  # "Recorder" has none of them


def test_a_refused_sign_in_is_audited_without_the_typed_name(handler: SignInService) -> None:
    handler.settle()
    handler.sign_in(handler.browser(), "ANNA", "secret that was mistyped")
    handler.sign_in(handler.browser(), "passwordTypedAsName", "x")
    assert handler.told()[-2:] == [
        ("anna", "session.open", "refused", "password"),
        ("unknown", "session.open", "refused", "password"),
    ]
    assert "mistyped" not in str(handler.acts())
    assert "passwordTypedAsName" not in str(handler.acts())


HOME, OFFICE, STRANGER = "127.0.1.7", "127.0.2.7", "127.0.3.7"
"""Addresses of three networks."""


def test_an_attempt_from_a_known_network_waits_its_turn(handler: SignInService) -> None:
    handler.settle()
    assert handler.sign_in(handler.browser(HOME)).status_code == 303
    for _ in range(12):
        assert handler.sign_in(handler.browser("127.0.1.8"), password="wrong").status_code == 403
    assert handler.delays == pytest.approx([1, 2, 4, 4, 4, 4, 4], abs=0.1)
    assert handler.sign_in(handler.browser("127.0.1.9")).status_code == 303
    assert handler.sign_in(handler.browser("127.0.1.10")).status_code == 303
    assert len(handler.delays) == 8, "whoever got in waits no more"


def test_failures_from_one_address_do_not_lock_others_out(handler: SignInService) -> None:
    handler.settle()
    judged = 0
    stranger = handler.browser(STRANGER)
    for minute in range(240):
        judged += handler.sign_in(stranger, password="wrong").status_code == 403
        if minute % 60 == 59:
            before = len(handler.delays)
            assert handler.sign_in(handler.browser(f"127.0.{10 + minute // 60}.2")).status_code == 303, (
                "never seen there"
            )
            assert len(handler.delays) == before
        handler.later += 60
    assert judged <= 5 + 10 + 4 * 4  # at once, while the pauses grow, and four an hour


def test_many_addresses_do_not_speed_up_guessing(
    handler: SignInService,
) -> None:
    handler.settle()
    assert handler.sign_in(handler.browser(HOME)).status_code == 303
    strangers = [handler.browser(f"127.0.{100 + number}.9") for number in range(60)]
    begun, judged = handler.later, 0
    for _ in range(4):
        for stranger in strangers:
            judged += handler.sign_in(stranger, password="wrong").status_code == 403
            handler.later += 1
    assert judged <= 20 + 8 + (handler.later - begun) / 60
    assert handler.sign_in(handler.browser(OFFICE)).status_code == 429, "a place that is as new as theirs"
    before = len(handler.delays)
    assert handler.sign_in(handler.browser("127.0.1.99")).status_code == 303
    handler.restart()
    for stranger in strangers:
        handler.sign_in(stranger, password="wrong")
    assert handler.sign_in(handler.browser(OFFICE)).status_code == 429
    assert handler.sign_in(handler.browser(HOME)).status_code == 303, "known after a restart, too"
    assert not [each for each in handler.delays[before:] if each > MAX_DELAY]


def test_login_waits_do_not_reveal_which_names_exist(handler: SignInService) -> None:
    handler.settle()
    handler.settle("ben")
    assert handler.sign_in(handler.browser(HOME)).status_code == 303  # where anna has been is nobody's but hers to see
    seen = []
    for name, network in (("anna", 50), ("nobody", 51), ("ben", 52)):
        handler.delays.clear()
        browser = handler.browser(f"127.0.{network}.1")
        answers = [handler.sign_in(browser, name, "wrong") for _ in range(12)]
        seen.append(([(a.status_code, a.headers.get("retry-after")) for a in answers], list(handler.delays)))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][1], "some of them waited"


def held_pauses(handler: SignInService, monkeypatch: pytest.MonkeyPatch) -> tuple[queue.Queue[float], asyncio.Event]:
    """Tell what each try has to wait, and let all go on once the event is set."""
    waiting, go_on = queue.Queue[float](), asyncio.Event()

    async def pause(seconds: float) -> None:
        waiting.put(seconds)
        await go_on.wait()

    monkeypatch.setattr(handler.family, "_pause", pause)
    return waiting, go_on


def test_attempts_from_one_address_cannot_fill_the_queue(
    handler: SignInService, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler.settle()
    assert handler.sign_in(handler.browser(HOME)).status_code == 303
    for _ in range(5):
        handler.sign_in(handler.browser(HOME), password="wrong")
    waiting, go_on = held_pauses(handler, monkeypatch)
    with ThreadPoolExecutor(8) as browsers:
        first = [browsers.submit(handler.sign_in, handler.browser(HOME), password="wrong") for _ in range(2)]
        assert sorted([waiting.get(timeout=30), waiting.get(timeout=30)]) == pytest.approx([1, 3], abs=0.1)
        assert handler.sign_in(handler.browser(HOME)).status_code == 429
        assert handler.sign_in(handler.browser("127.0.1.8")).status_code == 303
        handler.run(_set(go_on))
        assert [each.result(60).status_code for each in first] == [403, 403]


def test_others_in_a_known_network_do_not_lock_its_owner_out(
    handler: SignInService, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler.settle()
    assert handler.sign_in(handler.browser(HOME)).status_code == 303
    for _ in range(5):
        assert handler.sign_in(handler.browser("127.0.1.20"), password="wrong").status_code == 403
    waiting, go_on = held_pauses(handler, monkeypatch)
    with ThreadPoolExecutor(8) as browsers:
        tries = []
        for source in ("127.0.1.21", "127.0.1.21", "127.0.1.22", "127.0.1.22", "127.0.1.23"):
            tries.append(browsers.submit(handler.sign_in, handler.browser(source), password="wrong"))
            assert waiting.get(timeout=30) <= MAX_DELAY
        assert handler.sign_in(handler.browser("127.0.1.24"), password="wrong").status_code == 429
        assert handler.sign_in(handler.browser(HOME)).status_code == 303
        assert waiting.empty()
        handler.run(_set(go_on))
        assert [each.result(60).status_code for each in tries] == [403] * 5


def test_a_full_password_queue_does_not_block_known_networks(
    handler: SignInService, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler.settle()
    assert handler.sign_in(handler.browser(HOME)).status_code == 303
    monkeypatch.setattr(passwords, "MAX_OF_ONE", 0)  # as if its network had all its places taken
    stranger = handler.browser(STRANGER)
    assert [handler.sign_in(stranger, f"nobody{n}").status_code for n in range(24)] == [503] * 24
    assert handler.delays == pytest.approx([1, 2, 4, 4], abs=0.1)
    assert handler.sign_in(handler.browser(HOME)).status_code == 303


async def _set(event: asyncio.Event) -> None:
    event.set()


def test_wrong_codes_from_elsewhere_do_not_slow_known_networks(handler: SignInService) -> None:
    secret, _ = handler.app(handler.settle())
    browser = handler.browser(HOME)
    form = {"step": field(handler.sign_in(browser), "step"), "code": handler.code(secret)}
    assert browser.post("/sign-in/factor", data=form).status_code == 303
    thief = handler.browser(STRANGER)  # who has the password, and not the app
    shown = handler.sign_in(thief)
    for _ in range(6):
        shown = thief.post("/sign-in/factor", data={"step": field(shown, "step"), "code": "000000"})
    assert shown.status_code == 429
    other = handler.browser("127.0.9.9")  # another network is no new chance
    shown = handler.sign_in(other)
    assert other.post("/sign-in/factor", data={"step": field(shown, "step"), "code": "000000"}).status_code == 429
    handler.later += 60
    browser = handler.browser(HOME)
    form = {"step": field(handler.sign_in(browser), "step"), "code": handler.code(secret)}
    assert browser.post("/sign-in/factor", data=form).status_code == 303


def test_another_spelling_of_a_name_is_no_new_try(handler: SignInService) -> None:
    handler.settle()
    for name in ("anna", "ANNA", " anna", "ａｎｎａ", "Anna "):
        assert handler.sign_in(handler.browser(), name, "wrong").status_code == 403
    assert not handler.delays
    assert handler.sign_in(handler.browser(), "aNNa", "wrong").status_code == 403
    assert handler.delays == [1]


def test_an_attempt_refused_for_load_is_not_counted(handler: SignInService, monkeypatch: pytest.MonkeyPatch) -> None:
    handler.settle()
    with monkeypatch.context() as crowd:
        crowd.setattr("recorder.access.passwords.MAX_WAITING", 0)
        for _ in range(9):
            answer = handler.sign_in(handler.browser())
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert handler.sign_in(handler.browser()).status_code == 303


def test_a_sole_customer_is_not_asked_for(handler: SignInService, monkeypatch: pytest.MonkeyPatch) -> None:
    handler.settle()
    monkeypatch.setattr(handler.family, "customers", {"acme": handler.customers["acme"]})
    browser = handler.browser()
    assert 'name="customer"' not in browser.get("/sign-in").text
    assert handler.sign_in(browser, customer="").status_code == 303


def test_one_address_cannot_try_many_names_for_ever(handler: SignInService) -> None:
    browser = handler.browser()
    answers = [handler.sign_in(browser, f"name{i}").status_code for i in range(26)]
    assert answers == [403] * 26
    assert handler.delays == pytest.approx([1, 2, 4, 4, 4, 4], abs=0.1)


def test_sign_in_does_not_redirect_to_other_sites(handler: SignInService) -> None:
    handler.settle()
    evils = "//evil.example https://evil.example /\\\\evil.example /%2fevil.example javascript:alert(1) /calls?x=//evil"
    for evil in (*evils.split(), "/calls\r\nX: y"):
        browser = handler.browser()
        shown = browser.get("/sign-in", params={"next": evil})
        assert field(shown, "next") == "/"
        assert handler.sign_in(browser, next=evil).headers["location"] == "/"


def test_a_cross_site_form_signs_nobody_in(handler: SignInService) -> None:
    handler.settle()
    form = {"customer": "acme", "name": "anna", "password": PASSWORD}
    browser = handler.browser()
    assert browser.post("/sign-in", data=form, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.post("/sign-in", data=form, headers={"Origin": "https://evil.example"}).status_code == 403


def test_the_customer_field_is_prefilled_from_the_address(handler: SignInService) -> None:
    page = handler.browser().get("/sign-in?customer=acme%22%3E%3Cscript%3E").text
    assert 'value="acme&#34;&gt;&lt;script&gt;"' in page
    assert "beta" not in page  # customers do not learn of each other


# --- second factor ---------------------------------------------------------------------------------------------------


def test_a_code_of_the_app_is_asked_for_and_taken_once(handler: SignInService) -> None:
    secret, _ = handler.app(handler.settle())
    browser = handler.browser()
    shown = handler.sign_in(browser, next="/audit")
    assert shown.status_code == 200
    assert not inside(browser)
    code = handler.code(secret)
    answer = browser.post("/sign-in/factor", data={"step": field(shown, "step"), "code": code})
    assert (answer.status_code, answer.headers["location"]) == (303, "/audit")
    assert inside(browser)
    assert handler.told()[-1] == ("anna", "session.open", "done", "password and code")
    thief = handler.browser()
    shown = handler.sign_in(thief)
    assert thief.post("/sign-in/factor", data={"step": field(shown, "step"), "code": code}).status_code == 403
    assert not inside(thief)


def test_a_step_is_good_for_one_try_and_ten_minutes(handler: SignInService) -> None:
    secret, _ = handler.app(handler.settle())
    browser = handler.browser()
    step = field(handler.sign_in(browser), "step")
    wrong = browser.post("/sign-in/factor", data={"step": step, "code": "000000"})
    assert "This code is wrong." in words(wrong.text)
    assert browser.post("/sign-in/factor", data={"step": step, "code": handler.code(secret)}).status_code == 403
    again = field(wrong, "step")
    handler.later += 601
    late = browser.post("/sign-in/factor", data={"step": again, "code": handler.code(secret)})
    assert "That took too long." in words(late.text)
    assert not inside(browser)


def test_codes_cannot_be_tried_for_ever(handler: SignInService) -> None:
    secret, _ = handler.app(handler.settle())
    browser = handler.browser()
    shown = handler.sign_in(browser)
    for _ in range(5):
        shown = browser.post("/sign-in/factor", data={"step": field(shown, "step"), "code": "000000"})
    answer = browser.post("/sign-in/factor", data={"step": field(shown, "step"), "code": handler.code(secret)})
    assert answer.status_code == 429
    handler.later += int(answer.headers["retry-after"])
    answer = browser.post("/sign-in/factor", data={"step": field(answer, "step"), "code": handler.code(secret)})
    assert answer.status_code == 303


def test_a_recovery_code_lets_in_once(handler: SignInService) -> None:
    _, codes = handler.app(handler.settle())
    for expected in (303, 403):
        browser = handler.browser()
        step = field(handler.sign_in(browser), "step")
        assert browser.post("/sign-in/factor", data={"step": step, "code": codes[0].upper()}).status_code == expected


def test_without_the_second_step_there_is_no_session(handler: SignInService) -> None:
    handler.app(handler.settle())
    browser = handler.browser()
    handler.sign_in(browser)
    for form in ({}, {"step": "0" * 64, "code": "123456"}, {"step": "", "answer": "{}"}):
        assert browser.post("/sign-in/factor", data=form).status_code == 403
    assert not inside(browser)


def test_a_required_second_factor_is_set_up_at_sign_in(strict: SignInService) -> None:
    strict.settle()
    browser = strict.browser()
    shown = strict.sign_in(browser, next="/audit")
    assert "<svg" in shown.text
    secret = re.search(r'class="mono">([A-Z2-7]{32})<', shown.text).group(1)
    assert not inside(browser)
    wrong = browser.post("/sign-in/app", data={"step": field(shown, "step"), "code": "000000"})
    assert wrong.status_code == 403
    assert secret in wrong.text
    form = {"step": field(wrong, "step"), "code": strict.code(secret)}
    done = led(browser, browser.post("/sign-in/app", data=form))
    assert len(re.findall(r"<li>[a-z2-7]{4}(-[a-z2-7]{4}){3}</li>", done.text)) == 10
    assert 'href="/audit"' in done.text
    assert inside(browser)
    assert strict.told()[-1][3] == "password and new app"


def test_a_required_second_factor_cannot_be_skipped(strict: SignInService) -> None:
    strict.settle()
    browser = strict.browser()
    step = field(strict.sign_in(browser), "step")
    assert browser.post("/sign-in/factor", data={"step": step, "code": ""}).status_code == 403
    assert not inside(browser)


# --- the end of a session --------------------------------------------------------------------------------------------


def enter(handler: SignInService) -> tuple:
    browser = handler.browser()
    assert handler.sign_in(browser).status_code == 303
    return browser


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.ended(disabled=True),
        lambda a: a.ended(roles=("listener",)),
        lambda a: a.ended(password="another"),
    ],
)
def test_a_session_ends_when_its_account_changes(handler: SignInService, change) -> None:
    id = handler.settle()
    browser = enter(handler)
    handler.customers["acme"].accounts.change(id, change)
    assert not inside(browser)


def test_a_session_ends_once_its_account_is_removed(handler: SignInService) -> None:
    id = handler.settle()
    browser = enter(handler)
    handler.customers["acme"].accounts.remove(id)
    assert not inside(browser)


def test_a_session_ends_after_twenty_idle_minutes(handler: SignInService) -> None:
    handler.settle()
    browser = enter(handler)
    handler.later += 20 * 60
    assert inside(browser)
    handler.later += 20 * 60 + 1
    assert not inside(browser)


def test_a_page_that_renews_itself_keeps_no_session(handler: SignInService) -> None:
    handler.settle()
    browser = enter(handler)
    for _ in range(5):
        handler.later += 5 * 60
        browser.get("/account", headers={"HX-Request": "true", "X-By-Itself": "true"})
    assert not inside(browser)


def test_after_twelve_hours_one_signs_in_again_however_busy(handler: SignInService) -> None:
    handler.settle()
    browser = enter(handler)
    for _ in range(71):
        handler.later += 10 * 60
        assert inside(browser)
    handler.later += 10 * 60 + 1
    assert not inside(browser)


def test_signing_out_ends_the_session_and_is_audited(handler: SignInService) -> None:
    handler.settle()
    browser = enter(handler)
    kept = browser.cookies.get(COOKIE)
    answer = browser.post("/sign-out", headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.headers["location"] == "/sign-in"
    browser.cookies.clear()
    browser.cookies.set(COOKIE, kept)
    assert not inside(browser)
    assert handler.told()[-1] == ("anna", "session.close", "done", "")


def test_signing_in_again_replaces_cookie_and_session(handler: SignInService) -> None:
    handler.settle()
    browser = enter(handler)
    first = browser.cookies.get(COOKIE)
    handler.sign_in(browser)
    second = browser.cookies.get(COOKIE)
    assert first != second
    other = handler.browser()
    other.cookies.set(COOKIE, first)
    assert not inside(other)


def test_damaged_accounts_lock_out_only_their_customer(handler: SignInService) -> None:
    handler.settle()
    handler.settle("ben", customer="beta")
    browser = enter(handler)
    (handler.customers["acme"].folder / "accounts.json").write_text("{")
    assert not inside(browser)
    assert handler.sign_in(handler.browser()).status_code in (500, 503)
    assert handler.sign_in(handler.browser(), "ben", customer="beta").status_code == 303
    assert handler.faults
    handler.faults.clear()


def test_an_account_ended_between_two_pages_is_refused(handler: SignInService) -> None:
    id = handler.settle()
    secret, _ = handler.app(id)
    browser = handler.browser()
    step = field(handler.sign_in(browser), "step")
    handler.customers["acme"].accounts.change(id, Account.ended)
    answer = browser.post("/sign-in/factor", data={"step": step, "code": handler.code(secret)})
    assert answer.status_code == 403
    assert "changed in the meantime" in words(answer.text)


def test_a_stale_setup_does_not_replace_a_second_factor(strict: SignInService) -> None:
    """Somebody who knows the password alone, and began to set up an app of their own before its owner did."""
    id = strict.settle()
    thief, anna = strict.browser(), strict.browser()
    begun, shown = strict.sign_in(thief), strict.sign_in(anna)
    form = {"step": field(shown, "step"), "code": strict.code(secret_in(shown))}
    assert led(anna, anna.post("/sign-in/app", data=form)).status_code == 200
    hers = strict.customers["acme"].accounts.get(id).totp
    answer = thief.post("/sign-in/app", data={"step": field(begun, "step"), "code": strict.code(secret_in(begun))})
    assert answer.status_code == 403
    assert not inside(thief)
    assert strict.customers["acme"].accounts.get(id).totp == hers
    assert [each[1:3] for each in strict.told()][-2:] == [("account.app", "done"), ("session.open", "done")]


def test_an_app_that_cannot_be_written_down_is_not_put_on_file(
    strict: SignInService, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = strict.settle()
    browser = strict.browser()
    shown = strict.sign_in(browser)
    unwritable(strict, monkeypatch)
    form = {"step": field(shown, "step"), "code": strict.code(secret_in(shown))}
    assert browser.post("/sign-in/app", data=form).status_code == 503
    assert strict.customers["acme"].accounts.get(id).totp is None


def test_a_stranger_sends_no_long_form(handler: SignInService) -> None:
    assert handler.sign_in(handler.browser(), "anna", "x" * 40_000).status_code == 413


def secret_in(page: httpx2.Response) -> str:
    return re.search(r'class="mono">([A-Z2-7]{32})<', page.text).group(1)


def unwritable(handler: SignInService, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise AuditError("the disk is full")

    monkeypatch.setattr(handler.customers["acme"].audit, "append", broken)
