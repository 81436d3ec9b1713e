"""The root secret from a PKCS#11 token (a hardware security module, a smart card, SoftHSM).

The token holds a generic secret key that never leaves it, and computes the root secret with this key:

    root secret = HMAC-SHA-256(key in the token, "siprec-recorder/1 root secret")        CKM_SHA256_HMAC

The root secret is computed once, when the keys are opened, and is then in memory like any other root secret. The token
protects against a stolen disk, not against root on the running machine. The package python-pkcs11 is an optional extra.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from storage import extras
from storage.errors import KeysError, KeysExposed, KeysMissing, KeysUnsupported, KeysWrong
from storage.keys.pkcs11_uri import TokenKey

STATEMENT = b"siprec-recorder/1 root secret"
KEY_BITS = 256


def root_of(place: TokenKey, pin: str) -> bytes:
    """Return the root secret that the token computes, 32 bytes; raises KeysError with a hint."""
    with _session(place, pin) as (pkcs11, session):
        key = _find(pkcs11, session, place)
        if key is None:
            hint = "use the token that the recordings were made with; for a new installation run `recorder init`"
            raise KeysMissing("the token has no such secret key", hint)
        if key[pkcs11.Attribute.EXTRACTABLE]:
            raise KeysExposed("the key of the root secret can be read out of its token", "make it with EXTRACTABLE off")
        return bytes(key.sign(STATEMENT, mechanism=pkcs11.Mechanism.SHA256_HMAC))


def make_root(place: TokenKey, pin: str) -> bool:
    """Create a key that can never leave the token; return False if it exists already."""
    with _session(place, pin, rw=True) as (pkcs11, session):
        if _find(pkcs11, session, place) is not None:
            return False
        session.generate_key(
            pkcs11.KeyType.GENERIC_SECRET,
            KEY_BITS,
            label=place.label,
            id=place.id,
            store=True,
            capabilities=pkcs11.MechanismFlag.SIGN,
            template={pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False},
        )
        return True


@contextmanager
def _session(place: TokenKey, pin: str, *, rw: bool = False) -> Iterator[tuple[Any, Any]]:
    """Open the token for the block, then unload the library completely, because worker processes start and end."""
    try:
        import pkcs11
    except ImportError:
        hint = f"{extras.how_to_install(extras.HSM)}, or use credential:NAME or file:PATH"
        raise KeysUnsupported("python-pkcs11 is not installed, so no token can be asked", hint) from None
    library = None
    try:
        library = pkcs11.lib(place.module)
        with _token(library, place).open(rw=rw, user_pin=pin) as session:
            yield pkcs11, session
    except (pkcs11.exceptions.PinIncorrect, pkcs11.exceptions.PinLenRange, pkcs11.exceptions.PinLocked):
        hint = "correct pin-source before the next try: tokens lock themselves after a few wrong ones"
        raise KeysWrong("the token refuses the PIN of the root secret", hint) from None
    except pkcs11.exceptions.PKCS11Error as error:  # the vendor writes its text
        hint = "look at module-path, at the token, and whether this user may use it"
        raise KeysError(f"the token of the root secret cannot be used ({type(error).__name__})", hint) from None
    finally:
        if library is not None:
            library.finalize()


def _token(library: Any, place: TokenKey) -> Any:
    serial = None if place.serial is None else place.serial.encode()
    found = [
        token
        for token in library.get_tokens()
        if place.token in (None, token.label.strip()) and serial in (None, token.serial.strip())
    ]
    if len(found) == 1:
        return found[0]
    hint = "name it by token=… or serial=…, as `pkcs11-tool --list-slots` or `softhsm2-util --show-slots` shows it"
    raise KeysMissing(f"{len(found) or 'no'} tokens fit what the configuration names", hint)


def _find(pkcs11: Any, session: Any, place: TokenKey) -> Any:
    wanted: dict[Any, Any] = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY}
    if place.label is not None:
        wanted[pkcs11.Attribute.LABEL] = place.label
    if place.id is not None:
        wanted[pkcs11.Attribute.ID] = place.id
    found = list(session.get_objects(wanted))
    if len(found) > 1:
        raise KeysWrong("the token has several keys of this name", "add id=… to say which one is meant")
    return found[0] if found else None
