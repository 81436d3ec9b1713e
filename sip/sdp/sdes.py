"""SDES crypto attributes (RFC 4568, 6188, 7714): parse the offered ones, write our own line.

Keys are kept in dataclasses whose repr omits them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import field
from functools import lru_cache
from sys import intern

from sip.errors import RemoteError
from sip.message.value import small_value

SUITES: dict[str, int] = {
    "AEAD_AES_256_GCM": 44,
    "AEAD_AES_128_GCM": 28,
    "AES_256_CM_HMAC_SHA1_80": 46,
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_256_CM_HMAC_SHA1_32": 46,
    "AES_192_CM_HMAC_SHA1_80": 38,
    "AES_192_CM_HMAC_SHA1_32": 38,
    "AES_CM_128_HMAC_SHA1_32": 30,
}
"""Bytes of key and salt of every suite that we know. F8 and NULL are left out on purpose."""
SUPPORTED = frozenset(SUITES) - {"AES_192_CM_HMAC_SHA1_80", "AES_192_CM_HMAC_SHA1_32"}
"""Suites that we answer; the others a client may use only until it has our answer."""
WEAK, USUAL, STRONG = range(3)
"""Classes of suites: 32-bit tags; 128-bit keys; 256-bit keys."""
_NAMES = {name: name for name in SUITES}
"""One copy of each name, shared by all offers."""

_ALIASES = {
    f"AES_CM_{bits}_HMAC_SHA1_{tag}": f"AES_{bits}_CM_HMAC_SHA1_{tag}" for bits in (192, 256) for tag in (32, 80)
}
"""Spelling used by libsrtp, seen in the SDP of devices built on it."""
MAX_SPELLINGS = 64
"""Spellings of suites kept with their registered name: clients use a handful, and each is asked for several times."""
MAX_KEYS = 4
"""Master keys of one line: no device was seen to offer more than 2, and each adds a check for every forged packet."""
MAX_OTHER_KEYS = 8
"""Keys in lines that are not answered: rtpengine offers six lines with suites that we decrypt, one key each."""
MAX_MKI = 128
"""Bytes of a master key identifier (RFC 4568 section 6.1)."""
REPLAY_WINDOW = 1_024
"""Our replay window in packets; a WSH parameter that asks for more cannot be met."""
_LINE = re.compile(r"(\d{1,9})\s+(\S+)\s+(\S+)(?:\s+(.*))?\Z", re.ASCII)
_INLINE = re.compile(r"inline:([A-Za-z0-9+/]+)(=*)((?:\|[^|]*){0,2})\Z", re.IGNORECASE | re.ASCII)
_MKI = re.compile(r"(\d{1,40}):(\d{1,3})\Z", re.ASCII)
_LIFETIME = re.compile(r"(2\^)?(\d{1,18})\Z", re.ASCII)


class UnusableCrypto(RemoteError):
    """A crypto attribute that we must not answer; others of the same m-line may be usable."""

    def __init__(self, code: str) -> None:
        super().__init__(code, 488)


@small_value
class MasterKey:
    """One inline key."""

    key: bytes = field(repr=False)
    """Key and salt joined."""
    mki: bytes | None = None
    """Master key identifier as it appears in packets."""
    lifetime: int | None = None
    """Packets that it may protect; None if not given."""


@small_value
class CryptoOffer:
    """One crypto attribute that can be answered."""

    tag: int
    """Tag that the answer must repeat."""
    suite: str
    """Suite as spelled in the offer."""
    key: bytes = field(repr=False)
    """Key and salt of the first key, joined."""
    mki: bytes | None = None
    """Master key identifier of the first key; None if packets carry none."""
    mki_length: int = 0
    """Length of the identifier in bytes."""
    lifetime: int | None = None
    """Packets that the first key may protect; None if not given."""
    others: tuple[MasterKey, ...] = ()
    """Further keys, distinguished by their identifiers."""
    padded: bool = True
    """Whether the peer pads base64; our answer does the same."""

    @classmethod
    def parse(cls, text: str, *, unencrypted_srtcp: bool = False) -> CryptoOffer:
        """Parse the value of an `a=crypto`; raise UnusableCrypto if it must not be answered."""
        found = _LINE.match(text.strip())
        if found is None:
            raise UnusableCrypto("crypto-syntax")
        name = canonical(found[2])
        if name is None:
            raise UnusableCrypto("crypto-suite")
        _judge_session_params((found[4] or "").split(), unencrypted_srtcp)
        keys, padded = _keys(found[3], SUITES[name])
        first = keys[0]
        length, suite = len(first.mki or b""), intern(found[2])
        return cls(int(found[1]), suite, first.key, first.mki, length, first.lifetime, tuple(keys[1:]), padded)


def other_keys(offers: Sequence[CryptoOffer]) -> tuple[tuple[str, bytes, int], ...]:
    """Return (suite, key and salt, MKI length in bytes) of each key in lines that are not answered, best first."""
    keys = [
        (canonical(offer.suite) or "", key, offer.mki_length)
        for offer in offers
        for key in (offer.key, *(other.key for other in offer.others))
    ]
    return tuple(keys[:MAX_OTHER_KEYS])


@lru_cache(MAX_SPELLINGS)
def canonical(suite: str) -> str | None:
    """Return the registered name of a suite, or None if we do not know it."""
    name = suite.upper()
    name = _ALIASES.get(name, name)
    return _NAMES.get(name)


def _keys(text: str, size: int) -> tuple[list[MasterKey], bool]:
    keys, padded = [], True
    for piece in text.split(";")[: MAX_KEYS + 1]:
        found = _INLINE.match(piece)
        if found is None:
            raise UnusableCrypto("crypto-key")
        keys.append(_key(found[1], found[3], size))
        padded = padded and (bool(found[2]) or size % 3 == 0)
    widths = {len(key.mki or b"") for key in keys}
    names = {key.mki for key in keys}
    if len(keys) > MAX_KEYS or len(widths) > 1 or (len(keys) > 1 and (None in names or len(names) < len(keys))):
        raise UnusableCrypto("crypto-mki")
    return keys, padded


def _key(text: str, tail: str, size: int) -> MasterKey:
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise UnusableCrypto("crypto-key") from error
    if len(key) != size:
        raise UnusableCrypto("crypto-key-length")
    mki = lifetime = None
    for field_ in tail.split("|")[1:]:
        if ":" in field_:
            mki = _mki(field_)
        else:
            lifetime = _lifetime(field_)
    return MasterKey(key, mki, lifetime)


def _mki(text: str) -> bytes:
    found = _MKI.match(text)
    length = int(found[2]) if found else 0
    if found is None or not 1 <= length <= MAX_MKI or int(found[1]) >= 1 << (8 * length):
        raise UnusableCrypto("crypto-mki")
    return int(found[1]).to_bytes(length, "big")


def _lifetime(text: str) -> int | None:
    """Read `2^20` or a decimal number; None if it is unreadable or above the limit of SRTP (2**48)."""
    found = _LIFETIME.match(text)
    if found is None or (found[1] and int(found[2]) > 48):
        return None
    value = 1 << int(found[2]) if found[1] else int(found[2])
    return value if 0 < value <= 1 << 48 else None


def _judge_session_params(words: list[str], unencrypted_srtcp: bool) -> None:
    """Check session parameters (RFC 4568 section 6.3); raise UnusableCrypto for one that changes the packets.

    A window size hint (WSH) is acceptable if our replay window is as large.
    """
    for word in words:
        name, _, value = word.partition("=")
        if name.upper() == "WSH" and value.isdigit() and len(value) < 6 and int(value) <= REPLAY_WINDOW:
            continue
        if not word.startswith("-") and not (unencrypted_srtcp and name.upper() == "UNENCRYPTED_SRTCP"):
            raise UnusableCrypto("crypto-parameter")


def strength(suite: str) -> int:
    """Return the class of a suite, so that no re-offer can use a weaker one."""
    if suite.endswith("_32"):
        return WEAK
    return STRONG if "256" in suite else USUAL
