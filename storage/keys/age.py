"""A writer of age files (age-encryption.org/v1), which encrypts in pieces to a recipient or with a passphrase.

    recipient = parse("age1…")                     raises BadRecipient
    with Encrypter(put, recipient=…) as file:      or passphrase=…
        file.write(data)                           any length; `put` gets the age file in pieces
        file.close()

`age -d FILE` decrypts the result. A file with hours of audio does not fit into memory, so this holds at most one chunk;
existing bindings need the whole file for a passphrase (docs/decisions/0012-own-writer-for-age-files.md).
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from storage.errors import StorageError

CHUNK = 64 << 10  # bytes of plaintext that one tag covers
KEY = 16  # bytes of a file key
WORK = 16  # 2^16 rounds of scrypt: 64 MiB and 0.2 s; the age command's 2^18 would take 256 MiB
LEAST_PASSPHRASE = 12  # characters; a shorter one can be guessed even at one try a second
_VERSION = b"age-encryption.org/v1"
_PREFIX = "age"
_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"  # Bech32 (BIP 173)
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_LONGEST = 100  # characters of a recipient; X25519 recipients have 62


class BadRecipient(StorageError):
    """The text is not an age recipient."""


class Encrypter:
    """A file-like object that takes plaintext and writes an age file."""

    def __init__(
        self,
        put: Callable[[bytes], object],
        *,
        recipient: bytes | None = None,
        passphrase: str | None = None,
        work: int = WORK,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Write the header; give exactly one of `recipient` (from `parse`) and `passphrase` (which takes 0.2 s)."""
        if (recipient is None) == (passphrase is None):
            raise ValueError("an age file is for a recipient or has a passphrase")
        self._put = put
        key, nonce = random(KEY), random(KEY)
        if recipient is not None:
            stanza = _to_recipient(key, recipient, random(32))
        else:
            stanza = _by_passphrase(key, (passphrase or "").encode(), random(KEY), work)
        header = _VERSION + b"\n" + stanza + b"---"
        mac = hmac.digest(_derive(key, b"", b"header"), header, hashlib.sha256)
        put(header + b" " + _base64(mac) + b"\n" + nonce)
        self._cipher = ChaCha20Poly1305(_derive(key, nonce, b"payload"))
        self._count = 0
        self._kept = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Add plaintext; a chunk is written only when more plaintext follows."""
        self._kept += data
        while len(self._kept) > CHUNK:
            self._seal(bytes(self._kept[:CHUNK]), last=False)
            del self._kept[:CHUNK]
        return len(data)

    def flush(self) -> None:
        """Do nothing, because a partial chunk cannot be written."""

    def close(self) -> None:
        """Write the last chunk."""
        self._seal(bytes(self._kept), last=True)
        self._kept.clear()

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        nonce = self._count.to_bytes(11, "big") + bytes([last])
        self._count += 1
        self._put(self._cipher.encrypt(nonce, chunk, None))


def parse(text: str) -> bytes:
    """Return the public key of a recipient `age1…`; raises BadRecipient."""
    wrong = BadRecipient("this is no recipient of age", "age-keygen prints one: age1… (62 characters)")
    text = text.strip()
    if not text.isascii() or len(text) > _LONGEST or text.lower() not in (text, text.swapcase()):
        raise wrong
    prefix, _, data = text.lower().rpartition("1")
    if prefix != _PREFIX or set(data) - set(_LETTERS):
        raise wrong
    values = [_LETTERS.index(letter) for letter in data]
    if _polymod([*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix), *values]) != 1:
        raise wrong
    bits = sum(value << 5 * place for place, value in enumerate(reversed(values[:-6])))
    length, spare = divmod(5 * len(values[:-6]), 8)
    if length != 32 or bits & ((1 << spare) - 1):
        raise wrong
    key = (bits >> spare).to_bytes(32, "big")
    _shared(X25519PrivateKey.from_private_bytes(bytes(32)), key)
    return key


def _to_recipient(key: bytes, recipient: bytes, secret: bytes) -> bytes:
    """Wrap a file key for the holder of an X25519 key."""
    own = X25519PrivateKey.from_private_bytes(secret)
    share = own.public_key().public_bytes_raw()
    wrap = _derive(_shared(own, recipient), share + recipient, b"age-encryption.org/v1/X25519")
    return b"-> X25519 " + _base64(share) + b"\n" + _wrapped(wrap, key)


def _shared(own: X25519PrivateKey, recipient: bytes) -> bytes:
    """Return the shared secret; raises BadRecipient for a point of low order, which makes the secret public."""
    try:
        return own.exchange(X25519PublicKey.from_public_bytes(recipient))
    except ValueError:
        raise BadRecipient("this is no recipient of age", "age-keygen prints one: age1…") from None


def _by_passphrase(key: bytes, passphrase: bytes, salt: bytes, work: int) -> bytes:
    """Wrap a file key with a passphrase."""
    salted = b"age-encryption.org/v1/scrypt" + salt
    wrap = Scrypt(salt=salted, length=32, n=1 << work, r=8, p=1).derive(passphrase)
    return b"-> scrypt " + _base64(salt) + b" " + str(work).encode() + b"\n" + _wrapped(wrap, key)


def _wrapped(wrap: bytes, key: bytes) -> bytes:
    return _base64(ChaCha20Poly1305(wrap).encrypt(bytes(12), key, None)) + b"\n"


def _derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _polymod(values: list[int]) -> int:
    """Return the Bech32 checksum."""
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FF_FFFF) << 5 ^ value
        for bit, term in enumerate(_GENERATOR):
            check ^= term if top >> bit & 1 else 0
    return check
