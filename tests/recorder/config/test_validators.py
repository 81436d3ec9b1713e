"""Values that are right alone may be wrong together."""

from __future__ import annotations

import pytest

from recorder.config.faults import SettingsError
from recorder.config.parser import parse

DOMAIN = '[[customer]]\nname = "acme"\ndomains = ["acme.example"]\n'
CUSTOMER = '[[customer]]\nname = "acme"\nsources = ["192.0.2.1"]\n'
GLOBEX = CUSTOMER.replace("acme", "globex") + 'domains = ["globex.example"]\n'
SIP = '[sip]\nlisten = ["udp:127.0.0.1:5060"]\n'


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
        (SIP + CUSTOMER + CUSTOMER, ["customer[1].name", "customer[1].sources"]),
        (SIP + CUSTOMER + CUSTOMER.replace("acme", "globex"), ["customer[1].sources"]),
    ],
)
def test_a_contradiction_is_named_at_its_key(text: str, keys: list[str]) -> None:
    assert keys_of(text) == keys
