"""The one-time link: looked at as often as one likes, used once, within an hour."""

import pytest

from tests.admin_api.page.conftest import words
from tests.in_process.sign_in_service import PASSWORD, SignInService, field, inside, send_code, unwritable_audit

NEW = "another fine passphrase"


def form(secret: str, password: str = PASSWORD, again: str | None = None, customer: str = "acme") -> dict[str, str]:
    return {"customer": customer, "key": secret, "password": password, "again": password if again is None else again}


def test_an_invitation_link_sets_a_password_and_signs_in(handler: SignInService) -> None:
    secret = handler.invite("anna", "admin")
    browser = handler.browser()
    for _ in range(3):  # a preview of the link, a second look: nothing is used up
        page = browser.get("/invitation", params={"customer": "acme", "key": secret})
    assert "You will sign in as anna." in words(page.text)
    assert field(page, "key") == secret
    answer = browser.post("/invitation", data=form(secret))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert inside(browser)
    assert handler.sign_in(handler.browser()).status_code == 303
    assert ("anna", "account.password", "done", "one-time link") in handler.told()


def test_attempts_from_elsewhere_do_not_delay_an_invited_user(handler: SignInService) -> None:
    handler.browser().post("/invitation", data=form(handler.invite()))
    strangers = [handler.browser(f"127.0.{number}.9") for number in range(100, 140)]
    assert [handler.sign_in(each, password="wrong").status_code for each in strangers][-1] == 429
    assert handler.sign_in(handler.browser()).status_code == 303


def test_a_link_ends_by_its_use_with_time_and_by_signing_in(handler: SignInService) -> None:
    secret, thief = handler.invite(), handler.browser()
    handler.browser().post("/invitation", data=form(secret))
    answer = thief.post("/invitation", data=form(secret, NEW))
    assert answer.status_code == 404
    assert "has been used or is too old" in words(answer.text)
    assert 'href="/sign-in?customer=acme"' in answer.text  # whose owner clicks on it once more gets in from here
    assert not inside(thief)
    accounts = handler.customers["acme"].accounts
    link = accounts.invite(accounts.named("anna").id, handler.now()).secret
    handler.entered()
    for ended, later in ((link, 0), (handler.invite("ben"), 3601)):
        handler.later += later
        assert thief.get("/invitation", params={"customer": "acme", "key": ended}).status_code == 404
        assert thief.post("/invitation", data=form(ended)).status_code == 404


@pytest.mark.parametrize(
    ("customer", "key"), [("beta", None), ("none", None), ("acme", "0" * 64), ("acme", ""), ("", "")]
)
def test_a_wrong_link_says_nothing_of_anybody(handler: SignInService, customer: str, key: str | None) -> None:
    secret = handler.invite("anna")
    shown = handler.browser().get("/invitation", params={"customer": customer, "key": secret if key is None else key})
    assert shown.status_code == 404
    assert "anna" not in shown.text


def test_a_password_that_is_not_taken_leaves_the_link_good(handler: SignInService) -> None:
    secret, browser = handler.invite("anna"), handler.browser()
    for password, again, why in (
        ("short", None, "at least 12 characters"),
        ("anna anna anna", None, "too easy"),
        (PASSWORD, "another", "not the same"),
    ):
        answer = browser.post("/invitation", data=form(secret, password, again))
        assert (answer.status_code, why in words(answer.text)) == (422, True)
    foreign = browser.post("/invitation", data=form(secret), headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    with unwritable_audit(handler.customers["acme"]):
        assert browser.post("/invitation", data=form(secret)).status_code == 503
    assert handler.customers["acme"].accounts.named("anna").password is None
    assert browser.post("/invitation", data=form(secret)).status_code == 303


def test_a_link_does_not_step_over_a_second_factor(strict: SignInService) -> None:
    browser = strict.browser()
    shown = browser.post("/invitation", data=form(strict.invite("ben")))
    assert "<svg" in shown.text and not inside(browser)
    id = strict.settle()
    secret, _ = strict.app(id)
    link = strict.customers["acme"].accounts.invite(id, strict.now()).secret
    shown = browser.post("/invitation", data=form(link, NEW))
    assert not inside(browser)
    send_code(browser, shown, strict.code(secret))
    assert inside(browser)


def test_keys_cannot_be_tried_for_ever(handler: SignInService) -> None:
    browser = handler.browser()
    seen = [browser.get("/invitation", params={"customer": "acme", "key": f"{i:064x}"}) for i in range(22)]
    assert [page.status_code for page in seen[:20]] == [404] * 20
    assert any(page.status_code == 429 and page.headers["retry-after"] for page in seen[20:])
