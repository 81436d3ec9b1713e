"""[[sign_in]]: what is read, and every fault named."""

from __future__ import annotations

import pytest

from recorder.config.faults import SettingsError
from recorder.config.parser import parse

ADDRESS = '[admin_api]\naddress = "https://rec.example"\n'
HEAD = '[[customer]]\nname = "acme"\nsources = ["192.0.2.1"]\n[sip]\nlisten = ["udp:127.0.0.1:5999"]\n'
TABLE = {
    "customer": '"acme"',
    "title": '"House"',
    "issuer": '"https://login.example/realms/acme"',
    "client_id": '"recorder"',
    "roles": '{ desk = ["privacy", "listener"], "Recorder Chiefs" = ["admin"] }',
}


def text(**changes: str | None) -> bytes:
    lines = [f"{name} = {value}" for name, value in {**TABLE, **changes}.items() if value is not None]
    return (ADDRESS + HEAD + "[[sign_in]]\n" + "\n".join(lines)).encode()


def test_sign_in_settings_are_parsed() -> None:
    (found,) = parse(text(client_secret='"credential:oidc"', ca='"/etc/ca.pem"')).sign_ins
    assert found.roles == {"desk": ("privacy", "listener"), "Recorder Chiefs": ("admin",)}
    assert (found.groups_claim, found.name_claim) == ("groups", "preferred_username")
    assert found.scopes == ("openid", "profile")
    assert found.client_secret == "credential:oidc"


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:8080", "http://localhost:1/x", "https://login.example"])
def test_plain_http_is_for_this_machine_alone(issuer: str) -> None:
    assert parse(text(issuer=f'"{issuer}"')).sign_ins[0].issuer == issuer


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("issuer", '"http://login.example"'),
        ("issuer", '"login.example"'),
        ("issuer", '"https://a:b@login.example"'),
        ("issuer", '"https://login.example?x=1"'),
        ("issuer", '"https://[::1"'),
        ("issuer", "7"),
        ("client_secret", '"the-secret-itself"'),
        ("client_secret", '"pkcs11:token=x"'),
        ("roles", "{}"),
        ("roles", '{ desk = ["king"] }'),
        ("roles", '{ desk = "admin" }'),
        ("roles", "{ desk = [] }"),
        ("roles", '"admin"'),
        ("roles", None),
        ("customer", '"beta"'),
        ("scopes", '["profile"]'),
        ("client_id", '""'),
    ],
)
def test_a_fault_is_named_with_its_key(key: str, value: str | None) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text(**{key: value}))
    assert [fault.key for fault in caught.value.faults] == [f"sign_in[0].{key}"]
    assert "the-secret-itself" not in str(caught.value.faults)


EVERYWHERE = 'listen = "0.0.0.0:8443"\ncertificate = "/c"\nprivate_key = "/k"\n'


@pytest.mark.parametrize(
    ("address", "found"),
    [
        *[
            (f'address = "{it}"\n', it)
            for it in ("rec.example", "https://rec.example/page", "ftp://rec.example", "https://a@b", "")
        ],
        (EVERYWHERE + 'address = "http://rec.example"\n', "http://rec.example"),
        # where people come back to must be known: a proxy in front of loopback passes on whatever Host it is sent
        (EVERYWHERE, None),
        ("", None),
    ],
)
def test_the_address_is_https_without_path_and_needed(address: str, found: str | None) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text().replace(ADDRESS.encode(), f"[admin_api]\n{address}".encode()))
    (fault,) = caught.value.faults
    assert fault.key == "admin_api.address" and (fault.found == "nothing") == (found is None)
    assert "https://" in fault.right or found is not None
