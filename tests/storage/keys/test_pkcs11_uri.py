"""Where a key lies in a token is read as RFC 7512 writes it, and nothing secret stands there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.keys.pkcs11_uri import TokenKey

TAIL = "?module-path=/usr/lib/p11.so&pin-source=file:/etc/recorder/pin"


def test_all_that_is_understood() -> None:
    place = TokenKey.parse("pkcs11:token=My%20token;serial=0a1b;object=root;id=%00%ff;type=secret-key" + TAIL)
    assert place == TokenKey("/usr/lib/p11.so", "My token", "0a1b", "root", b"\x00\xff", "file:/etc/recorder/pin")
    place = TokenKey.parse("pkcs11:serial=1;id=%01?pin-source=credential:pin&module-path=/a")
    assert (place.token, place.label, place.pin_source) == (None, None, "credential:pin")


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:",
        "pkcs12:token=a;object=b" + TAIL,
        "pkcs11:object=b" + TAIL,
        "pkcs11:token=a" + TAIL,
        "pkcs11:token=a;object=b;type=private" + TAIL,
        "pkcs11:token=a;token=a;object=b" + TAIL,
        "pkcs11:token;object=b" + TAIL,
        "pkcs11:token=;object=b" + TAIL,
        "pkcs11:token=a;object=b;colour=red" + TAIL,
        "pkcs11:token=a;object=b?module-path=p11.so&pin-source=file:/etc/pin",
        "pkcs11:token=a;object=b?module-path=/p11.so",
        "pkcs11:token=a;object=b?module-path=/p11.so&pin-source=file:pin",
        "pkcs11:token=a;object=b?module-path=/p11.so&pin-source=|ask",
        "pkcs11:token=a;object=b?module-path=/p11.so&pin-source=credential:",
        "pkcs11:token=a;object=b?module-path=/p11.so&pin-value=271828",
    ],
)
def test_an_invalid_uri_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        TokenKey.parse(text)
    assert "271828" not in str(caught.value) and "colour" not in str(caught.value)


def test_a_pin_in_the_uri_is_answered_with_where_it_belongs() -> None:
    with pytest.raises(ValueError, match="the configuration must not contain secrets"):
        TokenKey.parse("pkcs11:token=a;object=b?module-path=/p11.so&pin-value=271828")


@given(st.text(max_size=80))
def test_any_text_is_a_place_or_refused(text: str) -> None:
    for each in (text, f"pkcs11:{text}", f"pkcs11:token=a;object={text}{TAIL}"):
        try:
            assert TokenKey.parse(each).module.startswith("/")
        except ValueError:
            continue
