"""The address that people type."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.access.page_links import invitation, page_address
from recorder.config.model import AdminApi, Settings
from recorder.config.value_readers import Address

CERTIFICATE = Path("/admin.crt")


@pytest.mark.parametrize(
    ("api", "address"),
    [
        (AdminApi(listen=Address("127.0.0.1", 8443)), "http://localhost:8443"),
        (AdminApi(listen=Address("::1", 8443), certificate=CERTIFICATE), "https://localhost:8443"),
        (AdminApi(listen=Address("192.0.2.7", 443), certificate=CERTIFICATE), "https://192.0.2.7:443"),
        (AdminApi(listen=Address("2001:db8::1", 443), certificate=CERTIFICATE), "https://[2001:db8::1]:443"),
        (AdminApi(listen=Address("0.0.0.0", 443), address="https://rec.example"), "https://rec.example"),
        (AdminApi(listen=Address("::", 443), certificate=CERTIFICATE), f"https://{socket.gethostname()}:443"),
    ],
)
def test_as_configured_else_as_listened_on(api: AdminApi, address: str) -> None:
    assert page_address(replace(Settings(), admin_api=api)) == address


def test_a_link_names_the_customer_and_the_secret() -> None:
    assert invitation(Settings(), "acme", "00ff").endswith("/invitation?customer=acme&key=00ff")
