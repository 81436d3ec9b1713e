"""Through a provider: what ties the way back to the browser that left, and where it leads then."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import pytest

from admin_api.page.sign_in.oidc_login import COOKIE
from recorder.access.oidc_client import Providers
from tests.admin_api.page.conftest import words
from tests.in_process.openid_provider import StandIn, provider, sign_in
from tests.in_process.sign_in_service import COOKIE as SESSION
from tests.in_process.sign_in_service import SignInService, inside


@pytest.fixture(scope="module")
def there() -> Iterator[StandIn]:
    with provider() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def walls(there: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInService]:
    ways = [sign_in(there.issuer, title="House <&>"), sign_in("https://127.0.0.1:1", title="Away")]
    made = SignInService(
        tmp_path_factory.mktemp("errand"),
        providers=lambda customers: Providers(ways, customers, monotonic=lambda: made.later),
    )
    yield made
    made.close()


@pytest.fixture
def authoriser(walls: SignInService, there: StandIn) -> Iterator[SignInService]:
    walls.empty()
    there.claims, there.info, there.answers = {}, {}, {}
    yield walls
    assert not walls.faults


def leave(browser: httpx2.Client, **more: str) -> httpx2.Response:
    return browser.get("/openid/leave", params={"customer": "acme", "provider": "0", **more})


def come_back(browser: httpx2.Client, there: StandIn, left: httpx2.Response, **changes: str) -> httpx2.Response:
    return browser.get("/openid/back", params={**there.leave(left.headers["location"]), **changes})


def test_the_sign_in_page_lists_the_customers_providers(authoriser: SignInService) -> None:
    page = authoriser.browser().get("/sign-in?customer=acme&next=/audit").text
    assert "Sign in with House &lt;&amp;&gt;" in page
    assert "/openid/leave?customer=acme&amp;provider=1&amp;next=%2Faudit" in page
    assert "/openid/leave" not in authoriser.browser().get("/sign-in?customer=beta").text


def test_there_and_back_by_a_page_that_leads_on(authoriser: SignInService, there: StandIn) -> None:
    browser = authoriser.browser()
    left = leave(browser, next="/audit")
    cookie = left.headers["set-cookie"]
    assert left.status_code == 303
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=600"))
    back = come_back(browser, there, left)
    assert back.status_code == 200  # a redirect would not bring the Strict cookie along
    assert '<meta http-equiv="refresh" content="0;url=/audit">' in back.text
    strict = next(each for each in back.headers.get_list("set-cookie") if each.startswith(f"{SESSION}="))
    assert "SameSite=strict" in strict
    assert inside(browser)
    assert authoriser.told()[-1] == ("anna@acme.example", "session.open", "done", "provider")
    assert "kept by the sign-in service" in words(browser.get("/account").text)


def test_the_provider_is_asked_again_after_an_hour(authoriser: SignInService, there: StandIn) -> None:
    browser = authoriser.browser()
    come_back(browser, there, leave(browser))
    first = browser.cookies.get(SESSION)
    for _ in range(4):
        authoriser.later += 900
        assert browser.get("/calls").status_code == 200
    authoriser.later += 1
    thief, part = authoriser.browser(), authoriser.browser()
    thief.cookies.set(SESSION, first)
    part.cookies.set(SESSION, first)
    to = browser.get("/calls").headers["location"]
    assert to == "/openid/leave?customer=acme&provider=0&next=/calls"
    assert thief.get("/calls").headers["location"] == "/sign-in?next=/calls"  # once, and only to ask there
    back = come_back(browser, there, browser.get(to))
    assert 'content="0;url=/calls"' in back.text and inside(browser)
    assert browser.cookies.get(SESSION) != first and not inside(thief)

    for _ in range(4):
        authoriser.later += 900
        browser.get("/calls")
    authoriser.later += 1
    there.claims = {"groups": ["cooks"]}
    from_htmx = {"hx-request": "true", "hx-current-url": "https://rec.example/calls?party=x"}
    to = browser.get("/calls", headers=from_htmx).headers["hx-redirect"]
    assert to == "/openid/leave?customer=acme&provider=0&next=/calls%3Fparty%3Dx"
    assert come_back(browser, there, browser.get(to)).status_code == 403
    assert not inside(browser)


def test_a_page_that_renews_itself_does_not_ask_the_provider(authoriser: SignInService, there: StandIn) -> None:
    browser = authoriser.browser()
    come_back(browser, there, leave(browser))
    for _ in range(3):
        authoriser.later += 1190
        browser.get("/calls")
    polls = {"hx-request": "true", "hx-current-url": "https://rec.example/calls", "x-by-itself": "true"}
    authoriser.later += 40
    for path in ("/calls", "/calls/live"):
        alone = browser.get(path, headers=polls)
        assert (alone.status_code, alone.text, alone.headers.get("hx-redirect")) == (401, "", None)
    authoriser.later += 1100  # somebody is back in time
    to = browser.get("/calls").headers["location"]
    assert to == "/openid/leave?customer=acme&provider=0&next=/calls"

    come_back(browser, there, browser.get(to))
    for _ in range(3):
        authoriser.later += 1190
        browser.get("/calls")
    authoriser.later += 40
    browser.get("/calls", headers=polls)
    authoriser.later += 1161  # nobody is
    assert browser.get("/calls", headers=polls).headers["hx-redirect"] == "/sign-in"
    assert browser.get("/calls").headers["location"] == "/sign-in?next=/calls"


def test_a_sound_is_not_sent_to_the_provider(authoriser: SignInService, there: StandIn) -> None:
    browser = authoriser.browser()
    come_back(browser, there, leave(browser))
    for _ in range(3):
        authoriser.later += 1195
        browser.get("/calls")
    authoriser.later += 30
    to = browser.get("/calls", headers={"sec-fetch-mode": "no-cors"}).headers["location"]
    assert to == "/sign-in?next=/calls"


def test_the_roles_are_those_of_the_groups(authoriser: SignInService, there: StandIn) -> None:
    browser = authoriser.browser()
    come_back(browser, there, leave(browser))
    assert browser.get("/calls").status_code == 200
    assert browser.get("/audit").status_code == 404


def test_a_way_back_is_walked_once(authoriser: SignInService, there: StandIn) -> None:
    browser = authoriser.browser()
    left = leave(browser)
    answer = there.leave(left.headers["location"])
    kept = browser.cookies.get(COOKIE)
    browser.get("/openid/back", params=answer)
    thief = authoriser.browser()
    thief.cookies.set(COOKIE, kept)
    again = thief.get("/openid/back", params=answer)
    assert again.status_code == 403
    assert "Begin again." in words(again.text)
    assert not inside(thief)


def test_another_browsers_code_signs_nobody_in(authoriser: SignInService, there: StandIn) -> None:
    """Neither without a way of one's own, nor on the way that one began (login CSRF)."""
    attacker, victim = authoriser.browser(), authoriser.browser()
    answer = there.leave(leave(attacker).headers["location"])
    assert victim.get("/openid/back", params=answer).status_code == 403
    leave(victim)
    assert victim.get("/openid/back", params=answer).status_code == 403
    assert not inside(victim)
    assert authoriser.told()[-1] == ("unknown", "session.open", "refused", "provider: state")


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"aud": "another"}, "audience"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"exp": 1}, "expired"),
        ({"groups": ["strangers"]}, "no role"),
    ],
)
def test_a_token_that_does_not_vouch(
    authoriser: SignInService, there: StandIn, claims: dict[str, object], why: str
) -> None:
    there.claims = claims
    browser = authoriser.browser()
    back = come_back(browser, there, leave(browser))
    assert back.status_code == 403
    assert "did not vouch for you" in words(back.text)
    assert not inside(browser)
    assert authoriser.told()[-1] == ("unknown", "session.open", "refused", f"provider: {why}")
    assert "anna" not in str(authoriser.acts()[-1])


def test_refused_at_the_provider(authoriser: SignInService, there: StandIn) -> None:
    browser = authoriser.browser()
    state = there.leave(leave(browser).headers["location"])["state"]
    back = browser.get("/openid/back", params={"error": "access_denied", "error_description": "<b>", "state": state})
    assert back.status_code == 403
    assert "<b>" not in back.text


def test_a_way_takes_ten_minutes_at_most(authoriser: SignInService, there: StandIn) -> None:
    browser = authoriser.browser()
    left = leave(browser)
    authoriser.later += 601
    assert come_back(browser, there, left).status_code == 403


@pytest.mark.parametrize("next", ["//evil.example", "https://evil.example", "/\\evil", "/x;url=//evil"])
def test_the_way_back_does_not_lead_to_other_sites(authoriser: SignInService, there: StandIn, next: str) -> None:
    browser = authoriser.browser()
    back = come_back(browser, there, leave(browser, next=next))
    assert 'content="0;url=/"' in back.text


def test_the_redirect_address_is_ours(authoriser: SignInService) -> None:
    link = urlsplit(leave(authoriser.browser()).headers["location"])
    assert f"redirect_uri=https%3A%2F%2F127.0.0.1%3A{authoriser.port}%2Fopenid%2Fback" in link.query


def test_a_provider_that_is_away_keeps_no_local_account_out(authoriser: SignInService) -> None:
    authoriser.settle()
    browser = authoriser.browser()
    away = leave(browser, provider="1")
    assert away.status_code == 502
    assert "Local accounts still work." in words(away.text)
    assert authoriser.sign_in(browser).status_code == 303


@pytest.mark.parametrize("asked", [{"provider": "2"}, {"provider": "-1"}, {"provider": "x"}, {"customer": "beta"}])
def test_a_provider_that_there_is_none(authoriser: SignInService, asked: dict[str, str]) -> None:
    assert leave(authoriser.browser(), **asked).status_code == 404


def test_ways_are_not_begun_for_ever(authoriser: SignInService) -> None:
    browser = authoriser.browser()
    answers = [leave(browser).status_code for _ in range(22)]
    assert answers[:20] == [303] * 20
    assert 429 in answers[20:]
