"""The root secret comes out of a PKCS#11 token, and every way that it cannot is said in a sentence."""

import builtins
import hashlib
import hmac
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pkcs11
import pytest

from storage import extras
from storage.errors import KeysError, KeysExposed, KeysMissing, KeysUnsupported, KeysWrong
from storage.keys.pkcs11 import STATEMENT
from storage.keys.root_secret import load_root, make_token_root
from tests.in_process.hardware_token import MODULE, PIN, address, make_token

pytestmark = pytest.mark.skipif(not MODULE.exists(), reason="SoftHSM is not installed (Debian: softhsm2)")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A token that this process sees, and the URI of a key in it."""
    for name, value in make_token(tmp_path).items():
        monkeypatch.setenv(name, value)

    def uri(**changes: Any) -> str:
        return address(tmp_path / "pin", **changes)

    return uri


def put_key(value: bytes, label: str, **attributes: bool) -> None:
    """Import a key whose value the test knows."""
    library = pkcs11.lib(str(MODULE))
    names = {pkcs11.Attribute[name.upper()]: on for name, on in attributes.items()}
    template = {
        pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
        pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.GENERIC_SECRET,
        pkcs11.Attribute.TOKEN: True,
        pkcs11.Attribute.SIGN: True,
        pkcs11.Attribute.LABEL: label,
        pkcs11.Attribute.VALUE: value,
    }
    with library.get_token(token_label="recorder").open(rw=True, user_pin=PIN) as session:
        session.create_object({**template, **names})
    library.finalize()


def test_a_token_key_is_made_once_and_stable(place: Callable[..., str]) -> None:
    assert make_token_root(place()) is True
    assert make_token_root(place()) is False
    first, again = load_root(place()), load_root(place())
    assert first.secret == again.secret and len(first.secret) == 32
    assert "object=root" in first.source
    make_token_root(place(key="object=other"))
    assert load_root(place(key="object=other")).secret != first.secret
    assert make_token_root(place(key="object=third;id=%07")) is True
    assert load_root(place(key="id=%07")).secret == load_root(place(key="object=third")).secret


def test_the_secret_is_what_the_format_says(place: Callable[..., str]) -> None:
    put_key(bytes(range(32)), "known", sensitive=True, extractable=False)
    expected = hmac.digest(bytes(range(32)), b"siprec-recorder/1 root secret", hashlib.sha256)
    assert STATEMENT == b"siprec-recorder/1 root secret"
    assert load_root(place(key="object=known")).secret == expected


def test_a_key_that_can_be_read_out_is_refused(place: Callable[..., str]) -> None:
    put_key(bytes(32), "open", sensitive=False, extractable=True)
    with pytest.raises(KeysExposed):
        load_root(place(key="object=open"))


def test_a_missing_or_ambiguous_hardware_key_gets_a_hint(place: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(KeysMissing, match="no such secret key"):
        load_root(place())
    with pytest.raises(KeysMissing, match="no tokens fit"):
        load_root(place(token="another"))
    for _ in range(2):
        put_key(bytes(32), "twice", sensitive=True, extractable=False)
    with pytest.raises(KeysWrong, match="several keys"):
        load_root(place(key="object=twice"))
    with pytest.raises(KeysError, match="cannot be used") as caught:
        load_root(place(module=tmp_path / "none.so"))
    assert "module-path" in caught.value.hint


def test_a_wrong_pin_is_refused_and_not_retried(place: Callable[..., str], tmp_path: Path) -> None:
    make_token_root(place())
    pin = tmp_path / "pin"
    pin.write_text("000000")
    with pytest.raises(KeysWrong, match="PIN"):
        load_root(place())
    pin.write_bytes(b"\xff\xfe")
    with pytest.raises(KeysWrong, match="not text"):
        load_root(place())
    pin.chmod(0o644)
    with pytest.raises(KeysExposed, match="PIN"):
        load_root(place())
    pin.unlink()
    with pytest.raises(KeysMissing, match=f"PIN.*{re.escape(str(pin))}") as caught:
        load_root(f"pkcs11:token=recorder;object=root?module-path={MODULE}&pin-source=file:{pin}")
    assert "recorder init" not in caught.value.hint


def test_without_the_package_it_says_which_one_is_needed(
    place: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def absent(name: str, *more: Any, **named: Any) -> Any:
        if name == "pkcs11":
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(KeysUnsupported, match="not installed") as caught:
        load_root(place())
    assert caught.value.hint.startswith(extras.how_to_install("hsm"))
