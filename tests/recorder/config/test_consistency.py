"""Values that are right alone may be wrong together; [[sign_in]] has faults of its own."""

from __future__ import annotations

import pytest

from recorder.config.faults import SettingsError
from recorder.config.parser import parse

DOMAIN = '[[customer]]\nname = "acme"\ndomains = ["acme.example"]\n'
CUSTOMER = '[[customer]]\nname = "acme"\nsources = ["192.0.2.1"]\n'
GLOBEX = CUSTOMER.replace("acme", "globex") + 'domains = ["globex.example"]\n'
SIP = '[sip]\nlisten = ["udp:127.0.0.1:5060"]\n'


STORE = """
endpoint = "https://s3.example"
bucket = "recordings"
access_key = "file:/etc/recorder/s3.id"
secret_key = "credential:s3-secret-key"
"""


SHARED = 'media = "s3"\ndatabase = "postgresql+asyncpg:///rec_{customer}"\n'


def keys_of(text: str) -> list[str]:
    """Return the keys of the faults."""
    try:
        parse(text.encode())
    except SettingsError as error:
        return [fault.key for fault in error.faults]
    return []


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('[sip]\nlisten = ["tls:127.0.0.1:5061"]\n' + CUSTOMER, ["sip.certificate", "sip.private_key"]),
        ('[sip]\nlisten = ["udp:127.0.0.1:5060", "udp:127.0.0.1:5060"]\n' + CUSTOMER, ["sip.listen[1]"]),
        ('[sip]\nlisten = ["udp:127.0.0.1:20002"]\n' + CUSTOMER, ["media.ports"]),
        ('[sip]\nlisten = ["tcp:127.0.0.1:8443"]\n' + CUSTOMER, ["admin_api.listen"]),
        (SIP + '[admin_api]\nlisten = "0.0.0.0:8443"\n' + CUSTOMER, ["admin_api.listen"]),
        (SIP + '[admin_api]\nlisten = "[::]:8443"\n' + CUSTOMER, ["admin_api.listen"]),
        (SIP + '[admin_api]\ncertificate = "/a.crt"\n' + CUSTOMER, ["admin_api.private_key"]),
        (SIP + '[node]\nruntime_dir = "/var/lib/recorder/run"\n' + CUSTOMER, ["node.runtime_dir"]),
        (SIP + '[keys]\nroot = "file:/var/lib/recorder/root.key"\n' + CUSTOMER, ["keys.root"]),
        (SIP + CUSTOMER, []),
        (SIP, ["customer"]),
        # customers of one SBC need different domains
        (SIP + CUSTOMER + GLOBEX, []),
        (SIP + CUSTOMER + 'domains = ["globex.example"]\n' + GLOBEX, ["customer[1].domains"]),
        # the same port on different addresses is no clash
        (
            '[sip]\nlisten = ["tcp:127.0.0.2:8443", "udp:127.0.0.2:20002"]\n[media]\nbind = "127.0.0.1"\n' + CUSTOMER,
            [],
        ),
        # one wrong value gives one fault
        ('[sip]\nlisten = ["tls:nowhere:5061"]\n' + CUSTOMER, ["sip.listen[0]"]),
        (SIP + '[[customer]]\nname = "acme"\nsources = ["nowhere"]\n', ["customer[0].sources[0]"]),
        (SIP + '[[customer]]\nname = "acme"\n', ["customer[0].sources"]),
        (SIP + CUSTOMER + 'certificates = ["a.example"]\n', ["customer[0].certificates"]),
        (SIP + DOMAIN, ["customer[0].digest"]),
        (SIP + DOMAIN + 'digest = "/users"\n', []),
        (SIP + DOMAIN + 'sources = ["192.0.2.1"]\n', []),
        (SIP + CUSTOMER + 'client_ca = "/ca.crt"\n', ["customer[0].client_ca"]),
        (SIP + CUSTOMER + 'country = "UK"\n', ["customer[0].country"]),
        (SIP + CUSTOMER + 'country = "GB"\n', []),
        # an object store is described whole, and reached in the clear on this machine alone
        (SIP + "[storage]\n" + STORE + CUSTOMER, []),
        (SIP + '[storage]\nendpoint = "https://s3.example"\n' + CUSTOMER,
         ["storage.bucket", "storage.access_key", "storage.secret_key"]),
        (SIP + "[storage]\n" + STORE.replace("https", "http") + CUSTOMER, ["storage.endpoint"]),
        (SIP + "[storage]\n" + STORE.replace("https://s3.example", "http://127.0.0.1:9000") + CUSTOMER, []),
        # nodes that share the databases share their recordings too
        (SIP + "[node]\nnumber = 2\n" + CUSTOMER, ["storage.database", "storage.media"]),
        (SIP + "[node]\nnumber = 2\n[storage]\n" + STORE + 'media = "s3"\n' + CUSTOMER, ["storage.database"]),
        (SIP + "[node]\nnumber = 2\n[storage]\n" + STORE + SHARED + CUSTOMER, []),
        (SIP + "[storage]\n" + STORE.replace("https://s3.example", "http://[::1]:9000") + CUSTOMER, []),
        (SIP + CUSTOMER + CUSTOMER, ["customer[1].name", "customer[1].sources"]),
        (SIP + CUSTOMER + CUSTOMER.replace("acme", "globex"), ["customer[1].sources"]),
    ],
)  # fmt: skip
def test_a_contradiction_is_named_at_its_key(text: str, keys: list[str]) -> None:
    assert keys_of(text) == keys


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
