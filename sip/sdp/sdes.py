"""SDES crypto attributes (RFC 4568, 6188, 7714): read what is offered, write our own line.

Keys stand in dataclasses whose repr leaves them out.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from sys import intern

from sip.errors import RemoteError

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
"""Bytes of key and salt of every suite we know. F8 and NULL are left out on purpose."""
SUPPORTED = frozenset(SUITES) - {"AES_192_CM_HMAC_SHA1_80", "AES_192_CM_HMAC_SHA1_32"}
"""Suites that we answer; under the others a client may send only until it has our answer."""
WEAK, USUAL, STRONG = range(3)
"""Classes of suites: tags of 32 bits; 128 bits of key; 256 bits of key."""
_NAMES = {name: name for name in SUITES}
"""The one copy of each name that all offers share."""

_ALIASES = {
    f"AES_CM_{bits}_HMAC_SHA1_{tag}": f"AES_{bits}_CM_HMAC_SHA1_{tag}" for bits in (192, 256) for tag in (32, 80)
}
"""Spelling of libsrtp, seen from devices that built their SDP on its names."""
MAX_KEYS = 4
"""Master keys of one line: nobody was seen to offer more than 2, and each costs a forged packet's check once more."""
MAX_OTHER_KEYS = 8
"""Keys of the lines that are not answered: rtpengine offers six lines of suites we decrypt, one key each."""
MAX_MKI = 128
"""Bytes of a master key identifier (RFC 4568 section 6.1)."""
REPLAY_WINDOW = 1_024
"""Packets; a WSH parameter that asks for more cannot be met."""
_LINE = re.compile(r"(\d{1,9})\s+(\S+)\s+(\S+)(?:\s+(.*))?\Z", re.ASCII)
_INLINE = re.compile(r"inline:([A-Za-z0-9+/]+)(=*)((?:\|[^|]*){0,2})\Z", re.IGNORECASE | re.ASCII)
_MKI = re.compile(r"(\d{1,40}):(\d{1,3})\Z", re.ASCII)
_LIFETIME = re.compile(r"(2\^)?(\d{1,18})\Z", re.ASCII)


class UnusableCrypto(RemoteError):
    """A crypto attribute that we must not answer; others of the same m-line may do."""

    def __init__(self, code: str) -> None:
        super().__init__(code, 488)


@dataclass(frozen=True, slots=True)
class MasterKey:
    """One inline key."""

    key: bytes = field(repr=False)
    """Key and salt joined."""
    mki: bytes | None = None
    """Master key identifier as it stands in packets."""
    lifetime: int | None = None
    """Packets it may protect, None if not said."""


@dataclass(frozen=True, slots=True)
class CryptoOffer:
    """One crypto attribute that can be answered."""

    tag: int
    """Number that the answer must repeat."""
    suite: str
    """Suite in the spelling of the offer."""
    key: bytes = field(repr=False)
    """Key and salt joined, of the first key."""
    mki: bytes | None = None
    """Master key identifier of the first key, None if packets carry none."""
    mki_length: int = 0
    """Bytes of the identifier in every packet."""
    lifetime: int | None = None
    """Packets the first key may protect, None if not said."""
    others: tuple[MasterKey, ...] = ()
    """Further keys, told apart by their identifiers."""
    padded: bool = True
    """Whether the peer writes base64 with padding: we answer in its manner."""

    @classmethod
    def parse(cls, text: str, *, unencrypted_srtcp: bool = False) -> CryptoOffer:
        """Read the value of an `a=crypto`; raise UnusableCrypto if it must not be answered."""
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
    """Give (suite, key and salt, bytes of the MKI) of each key of lines that are not answered, best first."""
    keys = [
        (canonical(offer.suite) or "", key, offer.mki_length)
        for offer in offers
        for key in (offer.key, *(other.key for other in offer.others))
    ]
    return tuple(keys[:MAX_OTHER_KEYS])


def canonical(suite: str) -> str | None:
    """Give the registered name of a suite, None if we do not know it."""
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
    """Read `2^20` or a decimal; what cannot be read or is above the limit of SRTP (2**48) counts as not said."""
    found = _LIFETIME.match(text)
    if found is None or (found[1] and int(found[2]) > 48):
        return None
    value = 1 << int(found[2]) if found[1] else int(found[2])
    return value if 0 < value <= 1 << 48 else None


def _judge_session_params(words: list[str], unencrypted_srtcp: bool) -> None:
    """Judge session parameters (RFC 4568 section 6.3); raise UnusableCrypto for one that changes the packets.

    A window size hint (WSH) is usable if our replay window is as large.
    """
    for word in words:
        name, _, value = word.partition("=")
        if name.upper() == "WSH" and value.isdigit() and len(value) < 6 and int(value) <= REPLAY_WINDOW:
            continue
        if not word.startswith("-") and not (unencrypted_srtcp and name.upper() == "UNENCRYPTED_SRTCP"):
            raise UnusableCrypto("crypto-parameter")


def strength(suite: str) -> int:
    """Class a suite, so that a re-offer cannot lead to a weaker one."""
    if suite.endswith("_32"):
        return WEAK
    return STRONG if "256" in suite else USUAL
