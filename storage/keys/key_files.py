"""The format of the files in `keys/`, and the choice of the valid ones (docs/formats/keytree.md). Pure.

Two secrets seal a tree: the root secret and the *forget secret*, which is replaced at every cut. Two files may hold a
forget secret, and two slots a sealed tree; in both pairs the older one is overwritten. Whatever a crash leaves, the
newest tree that opens is valid.
"""

import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage.errors import KeysMissing, KeysOutdated, KeysWrong, RootSecretWrong
from storage.keys.key_tree import KeyTree

SECRET = 32
_FORGET_MAGIC = b"SRKF\x01\0\0\0"
_TREE_MAGIC = b"SRKS\x01\0\0\0"
_FORGET = struct.Struct(">8sQ32s")  # magic, generation, secret; SHA-256 of these and a MAC under the root secret follow
_TREE = struct.Struct(">8sQI12s")  # magic, generation, bytes that follow, nonce
_SUM = 32
FORGET_BYTES = _FORGET.size + 2 * _SUM
_RESTORE = "restore `keys/` and the root secret of this installation with `recorder keys restore`"


@dataclass(frozen=True, slots=True)
class ForgetSecret:
    """The half of a customer's key that is replaced at every cut."""

    generation: int
    # number of cuts, from 1
    secret: bytes = field(repr=False)
    # 32 random bytes


@dataclass(frozen=True, slots=True)
class KeyState:
    """The newest tree that opens, and where it was found."""

    tree: KeyTree = field(repr=False)
    forget: ForgetSecret
    # forget secret that seals it
    slot: int
    # index of the sealed tree among those given
    fitting: tuple[bool, ...]
    # for each forget file, whether it holds exactly `forget`; if all do, no older secret is left


def pack_forget(root: bytes, customer: str, forget: ForgetSecret) -> bytes:
    """Serialise a forget secret with a checksum that detects damage and a MAC that detects a wrong root secret."""
    body = _FORGET.pack(_FORGET_MAGIC, forget.generation, forget.secret)
    return body + hashlib.sha256(body).digest() + _check(root, customer, body)


def is_forget(data: bytes) -> bool:
    """Return whether this is an undamaged forget secret, whatever its root secret."""
    body, total = data[: _FORGET.size], data[_FORGET.size : -_SUM]
    return len(data) == FORGET_BYTES and data.startswith(_FORGET_MAGIC) and hashlib.sha256(body).digest() == total


def unpack_forget(root: bytes, customer: str, data: bytes) -> ForgetSecret | None:
    """Parse a forget secret; return None if it is damaged, raise KeysWrong for another root secret or customer."""
    if not is_forget(data):
        return None
    body = data[: _FORGET.size]
    _, generation, secret = _FORGET.unpack(body)
    if not hmac.compare_digest(data[-_SUM:], _check(root, customer, body)):
        raise RootSecretWrong(f"the root secret is not the one that the keys of {customer} were made with", _RESTORE)
    return ForgetSecret(generation, secret)


def seal_tree(root: bytes, customer: str, forget: ForgetSecret, tree: KeyTree, nonce: bytes) -> bytes:
    """Seal a tree under both secrets, bound to customer and generation."""
    plain = bytes(tree)
    head = _TREE.pack(_TREE_MAGIC, forget.generation, len(plain) + 16, nonce)
    return head + AESGCM(_tree_key(root, customer, forget)).encrypt(nonce, plain, head)


def open_tree(root: bytes, customer: str, forget: ForgetSecret, data: bytes) -> KeyTree | None:
    """Open a sealed tree, ignoring bytes after it; return None if it has another generation or is not genuine."""
    if len(data) < _TREE.size:
        return None
    magic, generation, length, nonce = _TREE.unpack_from(data)
    if magic != _TREE_MAGIC or generation != forget.generation or length > len(data) - _TREE.size:
        return None
    sealed = memoryview(data)[_TREE.size : _TREE.size + length]
    try:
        plain = AESGCM(_tree_key(root, customer, forget)).decrypt(nonce, sealed, data[: _TREE.size])
    except InvalidTag:
        return None
    return KeyTree.from_bytes(plain)


def choose(root: bytes, customer: str, forgets: Sequence[bytes | None], trees: Sequence[bytes | None]) -> KeyState:
    """Return the newest tree that opens under a forget secret; raise KeysMissing or KeysWrong if none does."""
    if not any(forgets):
        raise KeysMissing(f"the forget secret of {customer} is not in keys/", _RESTORE)
    secrets, foreign = _secrets(root, customer, forgets)
    if foreign and not secrets:
        raise foreign
    for forget in sorted(set(secrets), key=lambda s: s.generation, reverse=True):
        for slot, data in enumerate(trees):
            tree = open_tree(root, customer, forget, data) if data else None
            if tree is not None:
                ours = pack_forget(root, customer, forget)
                return KeyState(tree, forget, slot, tuple(data == ours for data in forgets))
    if not secrets:
        raise KeysWrong(f"the forget secret of {customer} is damaged", _RESTORE)
    if not any(trees):
        raise KeysMissing(f"the key tree of {customer} is not in keys/", _RESTORE)
    raise KeysWrong(f"the key tree of {customer} does not open: it is damaged or from another time", _RESTORE)


def _secrets(
    root: bytes, customer: str, forgets: Sequence[bytes | None]
) -> tuple[list[ForgetSecret], KeysWrong | None]:
    """Parse the valid forget secrets: during a rotation, the two files are under different root secrets."""
    found: list[ForgetSecret] = []
    foreign: KeysWrong | None = None
    for data in forgets:
        try:
            secret = unpack_forget(root, customer, data or b"")
        except KeysWrong as error:
            foreign = error
        else:
            found += [secret] if secret else []
    return found, foreign


def _check(root: bytes, customer: str, body: bytes) -> bytes:
    return hmac.digest(root, b"siprec-recorder/1 forget " + customer.encode() + b"\0" + body, "sha256")


def _tree_key(root: bytes, customer: str, forget: ForgetSecret) -> bytes:
    info = b"siprec-recorder/1 tree " + customer.encode()
    return HKDF(hashes.SHA256(), SECRET, None, info).derive(root + forget.secret)


def generation_of(data: bytes) -> int:
    """Return the generation from the clear head of a sealed tree, without any key; 0 if it is not a sealed tree."""
    if len(data) < _TREE.size or not data.startswith(_TREE_MAGIC):
        return 0
    return int(_TREE.unpack_from(data)[1])


def check_age(customer: str, state: KeyState, copy: bytes | None) -> None:
    """Raise KeysOutdated if the copy beside the vault is from a later cut than the newest state in `keys/`.

    A cut writes the copy last, so the copy is never newer than its own keys. If the copy is older, the data come from
    an old backup and can be used. The copy's head is not authenticated, but altering it can only cause a refusal.
    """
    if generation_of(copy or b"") <= state.forget.generation:
        return
    hint = "restore the newest `keys/`; these could read what was erased since. If there are no newer ones, use "
    raise KeysOutdated(f"the keys of {customer} are older than its data", hint + "`recorder keys restore --older`")


def trim(data: bytes) -> bytes:
    """Return a sealed tree without the unused space after it."""
    if len(data) < _TREE.size:
        return b""
    return data[: _TREE.size + _TREE.unpack_from(data)[2]]
