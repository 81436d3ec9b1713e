"""PKCS#11 URIs, which locate a key in a token: the part of RFC 7512 that a root secret needs.

    pkcs11:token=recorder;object=recorder-root?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/recorder/pin

The path may have `token`, `serial`, `object`, `id` and `type=secret-key`; the query `module-path` and `pin-source`
(`file:PATH`, or `credential:NAME` of systemd). `pin-value` is refused, because a secret must not be in a file that
people read. Values are percent-encoded according to the RFC.
"""

from dataclasses import dataclass
from urllib.parse import unquote, unquote_to_bytes

SCHEME = "pkcs11"
_PATH = frozenset({"token", "serial", "object", "id", "type"})
_QUERY = frozenset({"module-path", "pin-source"})
_NEEDED = "token=…;object=…?module-path=/…&pin-source=file:/… (RFC 7512)"


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A secret key in a token."""

    module: str
    """Absolute path of the PKCS#11 library."""
    token: str | None
    """Label of the token, None if the serial number identifies it."""
    serial: str | None
    """Serial number of the token."""
    label: str | None
    """Label of the key, None if the id identifies it."""
    id: bytes | None
    """Id of the key."""
    pin_source: str
    """Source of the PIN: file:PATH or credential:NAME."""

    @classmethod
    def parse(cls, text: str) -> "TokenKey":
        """Parse a URI; raises ValueError, whose text names the correct form and repeats nothing of the input."""
        scheme, _, rest = text.partition(":")
        path, _, query = rest.partition("?")
        found = {**_pairs(path, ";", _PATH), **_pairs(query, "&", _QUERY)}
        if scheme != SCHEME or found.get("type", "secret-key") != "secret-key":
            raise ValueError(f"pkcs11:{_NEEDED}, of a secret key")
        text_of = {name: unquote(value) for name, value in found.items()}
        module, pin = text_of.get("module-path", ""), text_of.get("pin-source", "")
        if not module.startswith("/") or not ({"token", "serial"} & set(found)) or not ({"object", "id"} & set(found)):
            raise ValueError(f"pkcs11:{_NEEDED}")
        kind, _, name = pin.partition(":")
        if kind not in ("file", "credential") or not name or (kind == "file" and not name.startswith("/")):
            raise ValueError("pin-source=file:/PATH or pin-source=credential:NAME")
        raw_id = found.get("id")
        return cls(
            module,
            text_of.get("token"),
            text_of.get("serial"),
            text_of.get("object"),
            None if raw_id is None else unquote_to_bytes(raw_id),
            pin,
        )


def _pairs(text: str, separator: str, known: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in text.split(separator) if text else ():
        name, equals, value = pair.partition("=")
        if name == "pin-value":
            raise ValueError("pin-source=… instead of pin-value: the configuration must not contain secrets")
        if name not in known or not equals or not value or name in found:
            raise ValueError(f"each of {', '.join(sorted(known))} at most once, with a value")
        found[name] = value
    return found
