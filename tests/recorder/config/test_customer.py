"""What a customer may set about its users; the rest is told in test_settings."""

from __future__ import annotations

import pytest

from recorder.config.faults import SettingsError
from recorder.config.parser import parse
from recorder.persist.customers import storage_settings

ACME = '[sip]\nlisten = ["udp:127.0.0.1:5060"]\n[[customer]]\nname = "acme"\nsources = ["192.0.2.1"]\n'


def test_users_are_kept_and_have_no_extensions_by_default() -> None:
    (plain,) = parse(ACME.encode()).customers
    assert (plain.extension_digits, plain.purge_users) == (0, False)
    (said,) = parse((ACME + "extension_digits = 4\npurge_users = true\n").encode()).customers
    kept = storage_settings(said)
    assert (kept.extension_digits, kept.purge_users) == (4, True)


@pytest.mark.parametrize("line", ["extension_digits = 9", 'extension_digits = "4"', "purge_users = 1"])
def test_a_wrong_customer_setting_is_named(line: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse((ACME + line).encode())
    assert line.split()[0] in str(raised.value)
