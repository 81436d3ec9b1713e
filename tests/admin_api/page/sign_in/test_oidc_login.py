"""Through a provider: what ties the way back to the browser that left, and where it leads then."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import httpx2
import pytest

from recorder.access.oidc_client import Providers
from storage.customer.customers import Customer
from tests.admin_api.page.conftest import words
from tests.in_process.openid_provider import StandIn, provider, sign_in
from tests.in_process.shared_service import SharedService
from tests.in_process.sign_in_service import COOKIE as SESSION
from tests.in_process.sign_in_service import SignInService, inside


@pytest.fixture(scope="module")
def there() -> Iterator[StandIn]:
    with provider() as stand_in:
        yield stand_in


@pytest.fixture(scope="module", params=["one", pytest.param("several", marks=pytest.mark.system)])
def federated(
    request: pytest.FixtureRequest, there: StandIn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SignInService]:
    ways = [sign_in(there.issuer, title="House <&>"), sign_in("https://127.0.0.1:1", title="Away")]

    def providers(customers: Mapping[str, Customer]) -> Providers:
        return Providers(ways, customers, monotonic=lambda: made.later)

    folder = tmp_path_factory.mktemp("openid")
    if request.param == "several":
        made: SignInService = SharedService(folder, request.getfixturevalue("postgresql"), providers=providers)
    else:
        made = SignInService(folder, providers=providers)
    yield made
    made.close()


@pytest.fixture
def openid(federated: SignInService, there: StandIn) -> Iterator[SignInService]:
    federated.empty()
    there.claims, there.info, there.answers = {}, {}, {}
    yield federated
    assert not federated.faults


def leave(browser: httpx2.Client, **more: str) -> httpx2.Response:
    return browser.get("/openid/leave", params={"customer": "acme", "provider": "0", **more})


def come_back(browser: httpx2.Client, there: StandIn, left: httpx2.Response, **changes: str) -> httpx2.Response:
    return browser.get("/openid/back", params={**there.leave(left.headers["location"]), **changes})


def vouched(openid: SignInService, there: StandIn) -> httpx2.Client:
    """Open a browser in which somebody has signed in through the provider."""
    browser = openid.browser()
    come_back(browser, there, leave(browser))
    return browser


def stay(openid: SignInService, browser: httpx2.Client, times: int, seconds: int) -> None:
    """Look at the calls that many times, after so many seconds each."""
    for _ in range(times):
        openid.later += seconds
        assert browser.get("/calls").status_code == 200


def test_the_sign_in_page_lists_the_customers_providers(openid: SignInService) -> None:
    browser = openid.browser()
    page = browser.get("/sign-in?customer=acme&next=/audit").text
    assert "Sign in with House &lt;&amp;&gt;" in page
    assert "/openid/leave?customer=acme&amp;provider=1&amp;next=%2Faudit" in page
    assert "/openid/leave" not in browser.get("/sign-in?customer=beta").text
    link = urlsplit(leave(browser).headers["location"])
    assert f"redirect_uri=https%3A%2F%2F127.0.0.1%3A{openid.port}%2Fopenid%2Fback" in link.query


def test_there_and_back_by_a_page_that_leads_on(openid: SignInService, there: StandIn) -> None:
    browser = openid.browser()
    left = leave(browser, next="/audit")
    cookie = left.headers["set-cookie"]
    assert left.status_code == 303
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=600"))
    back = come_back(browser, there, left)
    assert back.status_code == 200  # a redirect would not bring the Strict cookie along
    assert '<meta http-equiv="refresh" content="0;url=/audit">' in back.text
    strict = next(each for each in back.headers.get_list("set-cookie") if each.startswith(f"{SESSION}="))
    assert "SameSite=strict" in strict and inside(browser)
    assert openid.told()[-1] == ("anna@acme.example", "session.open", "done", "provider")
    assert "kept by the sign-in service" in words(browser.get("/account").text)
    assert [browser.get(path).status_code for path in ("/calls", "/audit")] == [200, 404]  # the roles of the groups


def test_the_provider_is_asked_again_after_an_hour(openid: SignInService, there: StandIn) -> None:
    browser = vouched(openid, there)
    stay(openid, browser, 4, 900)
    openid.later += 1
    thief, part = openid.copied(browser), openid.copied(browser)
    to = browser.get("/calls").headers["location"]
    assert to == "/openid/leave?customer=acme&provider=0&next=/calls"
    assert thief.get("/calls").headers["location"] == "/sign-in?next=/calls"  # once, and only to ask there
    back = come_back(browser, there, browser.get(to))
    assert 'content="0;url=/calls"' in back.text and inside(browser)
    assert browser.cookies.get(SESSION) != part.cookies.get(SESSION) and not inside(part)

    stay(openid, browser, 4, 900)
    openid.later += 1
    there.claims = {"groups": ["cooks"]}
    from_htmx = {"hx-request": "true", "hx-current-url": "https://rec.example/calls?party=x"}
    to = browser.get("/calls", headers=from_htmx).headers["hx-redirect"]
    assert to == "/openid/leave?customer=acme&provider=0&next=/calls%3Fparty%3Dx"
    assert come_back(browser, there, browser.get(to)).status_code == 403
    assert not inside(browser)


def test_only_a_person_who_looks_is_sent_to_the_provider(openid: SignInService, there: StandIn) -> None:
    browser, sound = vouched(openid, there), vouched(openid, there)
    stay(openid, browser, 3, 1190)
    polls = {"hx-request": "true", "hx-current-url": "https://rec.example/calls", "x-by-itself": "true"}
    openid.later += 40
    for path in ("/calls", "/calls/live"):
        alone = browser.get(path, headers=polls)
        assert (alone.status_code, alone.text, alone.headers.get("hx-redirect")) == (401, "", None)
    openid.later += 1100  # somebody is back in time
    to = browser.get("/calls").headers["location"]
    assert to == "/openid/leave?customer=acme&provider=0&next=/calls"
    come_back(browser, there, browser.get(to))
    stay(openid, browser, 3, 1190)
    openid.later += 40
    browser.get("/calls", headers=polls)
    openid.later += 1161  # nobody is
    assert browser.get("/calls", headers=polls).headers["hx-redirect"] == "/sign-in"
    assert browser.get("/calls").headers["location"] == "/sign-in?next=/calls"

    come_back(sound, there, leave(sound))
    stay(openid, sound, 3, 1195)
    openid.later += 30
    answer = sound.get("/calls", headers={"sec-fetch-mode": "no-cors"})
    assert answer.headers["location"] == "/sign-in?next=/calls", "audio and images are not sent to the provider"


def test_the_way_back_is_good_once_and_for_ten_minutes(openid: SignInService, there: StandIn) -> None:
    browser = openid.browser()
    answer = there.leave(leave(browser).headers["location"])
    thief = openid.copied(browser)
    browser.get("/openid/back", params=answer)
    again = thief.get("/openid/back", params=answer)
    assert (again.status_code, "Begin again." in words(again.text)) == (403, True)
    assert not inside(thief)
    left = leave(thief)
    openid.later += 601
    assert come_back(thief, there, left).status_code == 403


def test_another_browsers_code_signs_nobody_in(openid: SignInService, there: StandIn) -> None:
    """Neither without a way of one's own, nor on the way that one began (login CSRF)."""
    attacker, victim = openid.browser(), openid.browser()
    answer = there.leave(leave(attacker).headers["location"])
    assert victim.get("/openid/back", params=answer).status_code == 403
    leave(victim)
    assert victim.get("/openid/back", params=answer).status_code == 403
    assert not inside(victim)
    assert openid.told()[-1] == ("unknown", "session.open", "refused", "provider: state")


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
    openid: SignInService, there: StandIn, claims: dict[str, object], why: str
) -> None:
    there.claims = claims
    browser = openid.browser()
    back = come_back(browser, there, leave(browser))
    assert back.status_code == 403
    assert "did not vouch for you" in words(back.text)
    assert not inside(browser)
    assert openid.told()[-1] == ("unknown", "session.open", "refused", f"provider: {why}")
    assert "anna" not in str(openid.acts()[-1])


def test_refused_at_the_provider(openid: SignInService, there: StandIn) -> None:
    browser = openid.browser()
    state = there.leave(leave(browser).headers["location"])["state"]
    back = browser.get("/openid/back", params={"error": "access_denied", "error_description": "<b>", "state": state})
    assert (back.status_code, "<b>" in back.text) == (403, False)


@pytest.mark.parametrize("next", ["//evil.example", "https://evil.example", "/\\evil", "/x;url=//evil"])
def test_the_way_back_does_not_lead_to_other_sites(openid: SignInService, there: StandIn, next: str) -> None:
    browser = openid.browser()
    back = come_back(browser, there, leave(browser, next=next))
    assert 'content="0;url=/"' in back.text


def test_a_provider_that_is_away_keeps_no_local_account_out(openid: SignInService) -> None:
    openid.settle()
    browser = openid.browser()
    away = leave(browser, provider="1")
    assert away.status_code == 502
    assert "Local accounts still work." in words(away.text)
    assert openid.sign_in(browser).status_code == 303


@pytest.mark.parametrize("asked", [{"provider": "2"}, {"provider": "-1"}, {"provider": "x"}, {"customer": "beta"}])
def test_a_provider_that_there_is_none(openid: SignInService, asked: dict[str, str]) -> None:
    assert leave(openid.browser(), **asked).status_code == 404


def test_ways_are_not_begun_for_ever(openid: SignInService) -> None:
    browser = openid.browser()
    answers = [leave(browser).status_code for _ in range(22)]
    assert answers[:20] == [303] * 20
    assert 429 in answers[20:]
