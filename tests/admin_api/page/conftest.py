"""A browser without scripts in front of the page: HTTPS on loopback, two real customers, somebody signed in by role."""

import re
from collections.abc import Callable, Iterator, Mapping
from html import unescape
from typing import Any

import httpx2
import pytest

from admin_api.http.bearer import Principal
from admin_api.http.permissions import Role
from admin_api.page.framework.forms import SHOWN
from admin_api.page.framework.sessions import COOKIE
from tests.daemon.postgresql import cluster
from tests.in_process.api_service import Service
from tests.in_process.shared_service import SharedService
from tests.in_process.sign_in_service import SignInService


class Browser:
    """What somebody sees who is signed in as these roles; keeps cookies, follows nothing by itself."""

    def __init__(self, service: Service, *roles: Role, customer: str = "acme", name: str = "Grace") -> None:
        self.service = service
        self.client = service.visitor()
        self.name = name
        if roles:
            site = service.run(service.lazy_page.site())
            customer_ = service.customers[customer]
            principal = Principal(customer_, "", name, tuple(role.value for role in roles), "127.0.0.1")
            self.session, cookie = service.run(site.sessions.open(principal, service.monotonic()))
            self.client.cookies.set(COOKIE, cookie)

    def get(self, path: str, **more: Any) -> httpx2.Response:
        """Look at a page."""
        return self.client.get(path, **more)

    def post(self, path: str, form: Mapping[str, Any] | None = None, **more: Any) -> httpx2.Response:
        """Send a form as the page has it, with its token; what it shows is looked at where the answer leads."""
        fields = {"csrf": self.session.csrf, **(form or {})}
        return led(self.client, self.client.post(path, data=fields, **more))

    def text(self, path: str) -> str:
        """Give the words of a page without its marks."""
        page = self.get(path)
        assert page.status_code == 200, page.text
        return words(page.text)


def led(client: httpx2.Client, answer: httpx2.Response) -> httpx2.Response:
    """Look at what the answer to a form shows, as a browser does."""
    to = answer.headers.get("location", "")
    return client.get(to) if answer.status_code == 303 and to.startswith(SHOWN) else answer


def words(html: str) -> str:
    """Take the marks out of a page."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html))).strip()


@pytest.fixture
def browse(service: Service) -> Iterator[Callable[..., Browser]]:
    """Sign in as roles."""
    made: list[Browser] = []

    def browse(*roles: Role, **more: Any) -> Browser:
        made.append(Browser(service, *roles, **more))
        return made[-1]

    yield browse
    for browser in made:
        browser.client.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a private PostgreSQL server on a Unix socket, with {customer} in it."""
    with cluster() as server:
        server.start()
        yield server.url


@pytest.fixture(scope="module", params=["one", pytest.param("several", marks=pytest.mark.system)])
def accounts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInService]:
    """A service of one node, and one of several."""
    folder = tmp_path_factory.mktemp("sign-in")
    several = request.param == "several"
    made = SharedService(folder, request.getfixturevalue("postgresql")) if several else SignInService(folder)
    yield made
    made.close()


@pytest.fixture
def handler(accounts: SignInService) -> Iterator[SignInService]:
    """A service where a password alone suffices to sign in."""
    accounts.empty()
    yield accounts
    assert not accounts.faults


@pytest.fixture
def strict(handler: SignInService) -> SignInService:
    """A service that requires a second factor."""
    handler.family.second_factor_required = True
    return handler
