"""Signing in through two foreign OpenID providers, one of which insists on PKCE and tells less in its token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from recorder.access.oidc_client import Providers
from recorder.config.model import SignIn
from tests.daemon.foreign_provider import SECRET, running
from tests.in_process.sign_in_service import SignInService, inside


@pytest.fixture(params=["mock", "idpy"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SignInService]:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    with running(request.param) as issuer:
        way = SignIn(
            customer="acme",
            title="Foreign",
            issuer=issuer,
            client_id="recorder",
            client_secret=f"file:{secret}",
            roles={"desk": ("privacy", "listener")},
        )
        made = SignInService(tmp_path / "data", providers=lambda customers: Providers([way], customers))
        yield made
        made.close()
    assert not made.faults


def at_the_provider(link: str) -> dict[str, str]:
    """Say yes there; return what the browser takes back."""
    with httpx2.Client(timeout=30) as browser:
        answer = browser.get(link)
        if answer.status_code == 200:  # a form that asks who it is
            answer = browser.post(link, data={"sub": "anna"})
        assert answer.status_code in (302, 303), answer.text
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        return {name: values[0] for name, values in query.items()}


def test_there_and_back_once(house: SignInService) -> None:
    browser = house.browser()
    left = browser.get("/openid/leave?customer=acme&provider=0&next=/calls")
    answer = at_the_provider(left.headers["location"])
    back = browser.get("/openid/back", params=answer)
    assert back.status_code == 200, (back.text, house.told())
    assert inside(browser)
    assert browser.get("/calls").status_code == 200
    assert house.told()[-1] == ("anna@acme.example", "session.open", "done", "provider")

    thief = house.browser()  # with a way of their own, but somebody else's code
    left = thief.get("/openid/leave?customer=acme&provider=0")
    mine = at_the_provider(left.headers["location"])
    stolen = thief.get("/openid/back", params={**mine, "code": answer["code"]})
    assert stolen.status_code == 403
    assert not inside(thief)
