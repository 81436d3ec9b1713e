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
    assert (found.groups_claim, found.name_claim, found.scopes) == (
        "groups",
        "preferred_username",
        ("openid", "profile"),
    )
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


def test_where_people_come_back_to_must_be_known() -> None:
    everywhere = b'listen = "0.0.0.0:8443"\ncertificate = "/c"\nprivate_key = "/k"\n'
    assert parse(text()).admin_api.address == "https://rec.example"
    for listen in (everywhere, b""):  # a proxy in front of loopback passes on whatever Host it is sent
        nameless = text().replace(ADDRESS.encode(), b"[admin_api]\n" + listen)
        with pytest.raises(SettingsError) as caught:
            parse(nameless)
        (fault,) = caught.value.faults
        assert (fault.key, fault.found) == ("admin_api.address", "nothing")
        assert "https://" in fault.right


@pytest.mark.parametrize("address", ["rec.example", "https://rec.example/page", "ftp://rec.example", "https://a@b", ""])
def test_an_address_has_no_path(address: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(f'[admin_api]\naddress = "{address}"\n'.encode() + HEAD.encode())
    assert [fault.key for fault in caught.value.faults] == ["admin_api.address"]


def test_plain_http_is_no_address_for_others() -> None:
    more = (
        '[admin_api]\nlisten = "0.0.0.0:8443"\ncertificate = "/c"\nprivate_key = "/k"\naddress = "http://rec.example"\n'
    )
    with pytest.raises(SettingsError) as caught:
        parse(more.encode() + HEAD.encode())
    assert [fault.key for fault in caught.value.faults] == ["admin_api.address"]
