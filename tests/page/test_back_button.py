"""After signing out the back button shows nothing, in a Chromium that keeps pages as it does for people."""

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, BrowserContext

from admin_api.http.permissions import Role
from tests.page.conftest import ARGUMENTS, CHROMIUM, Town, sign_in

KEEPS = "--disable-back-forward-cache"  # Playwright asks for it; people's browsers do keep pages


@pytest.fixture
def keeping(service: Town, chromium: Browser, tmp_path: Path) -> Iterator[BrowserContext]:
    """A browser that trusts the server by its key: what has a certificate error is never kept."""
    key = x509.load_pem_x509_certificate(service.certificate.read_bytes()).public_key()
    pin = b64encode(sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()).decode()
    context = chromium.browser_type.launch_persistent_context(
        tmp_path / "profile",
        executable_path=CHROMIUM,
        args=[*ARGUMENTS, f"--ignore-certificate-errors-spki-list={pin}"],
        ignore_default_args=[KEEPS],
        base_url=service.base,
        locale="en-GB",
    )
    yield context
    context.close()


def test_signing_out_leaves_nothing_behind(service: Town, keeping: BrowserContext) -> None:
    letter = {"kind": "access", "identities": ["Anna Schmidt"], "reference": "letter 17"}
    service.ask("/requests", Role.PRIVACY, method="POST", json=letter)
    sign_in(service, keeping, Role.PRIVACY)
    page = keeping.new_page()
    page.goto("/requests")
    assert "letter 17" in page.content()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in**")
    page.go_back(wait_until="load")
    page.wait_for_url("**/sign-in**")
    assert "letter 17" not in page.content()
    assert page.locator("h1").inner_text() == "Sign in"
