"""Open one part of a recording without the recorder: this file, Python 3.9 or later, and the package `cryptography`.

    python reader.py PART --customer NAME --key HEX                        the part's input key, 64 hex digits
    python reader.py PART --customer NAME --root FILE --keys data_dir/keys the key is derived (keytree.md)

PART must have its original name, CALLID.LLLLLLLLLLLL.PART, because the name is authenticated. The plaintext, records as
records.md describes them, goes to standard output up to the first byte that is not genuine. Exit status: 0 the whole
part is genuine, 1 it is damaged (where, on standard error), 2 wrong use, key erased, or keys that do not fit.
The formats are described in container.md and keytree.md beside this file.
"""

import argparse
import hashlib
import hmac
import struct
import sys
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SEGMENT = {"c": 1024, "m": 4096, "a": 4096}
LABEL = {"c": b"media", "m": b"media", "a": b"attachment"}


def plaintext(data, key, customer, name):
    """Yield the plaintext of every segment; raise ValueError with the offset of the first one that is not genuine."""
    call, leaf, part = name.split(".")
    segment = SEGMENT[part[0]]
    if len(data) < 40 or data[0] != 40:
        raise ValueError("no header at offset 0")
    aad = b"\0".join([b"siprec-recorder/1", customer.encode(), call.encode(), leaf.encode(), part.encode()])
    cipher = AESGCM(HKDF(hashes.SHA256(), 32, data[1:33], aad).derive(key))
    starts = range(0, len(data), segment)
    for index, start in enumerate(starts):
        begin, last = max(start, 40), index == len(starts) - 1
        nonce = data[33:40] + struct.pack(">IB", index, last)
        try:
            yield cipher.decrypt(nonce, data[begin : start + segment], None)
        except (InvalidTag, ValueError):
            raise ValueError(f"not genuine, or cut, from offset {begin}") from None


def part_key(root, keys_dir, customer, leaf, label):
    """Derive the input key of a part from the root secret and the folder `keys/`."""
    secret = leaf_secret(tree_nodes(root, keys_dir, customer), leaf)
    return hmac.digest(secret, b"siprec-recorder/1 label " + label + b"\x01", "sha256")


def tree_nodes(root, keys_dir, customer):
    """Open the newest key tree and return {(depth, prefix): secret}."""
    found = {}
    for forget in (keys_dir / f"{customer}.forget", keys_dir / f"{customer}.forget.new"):
        body, total = forget.read_bytes()[:48], forget.read_bytes()[48:80]
        if hashlib.sha256(body).digest() != total:
            continue
        generation, secret = struct.unpack(">Q32s", body[8:])
        info = b"siprec-recorder/1 tree " + customer.encode()
        cipher = AESGCM(HKDF(hashes.SHA256(), 32, None, info).derive(root + secret))
        for slot in (keys_dir / f"{customer}.tree.0", keys_dir / f"{customer}.tree.1"):
            data = slot.read_bytes()
            length, nonce = struct.unpack(">I12s", data[16:32])
            try:
                found[generation] = cipher.decrypt(nonce, data[32 : 32 + length], data[:32])
            except (InvalidTag, ValueError):
                continue
    if not found:
        raise LookupError("the root secret or the folder keys/ does not fit")
    tree = found[max(found)]
    nodes = {}
    for depth, day, number, secret in struct.iter_unpack(">BHI32s", tree[10:]):
        nodes[depth, (day << 32 | number) >> (48 - depth)] = secret
    return nodes


def leaf_secret(nodes, leaf):
    """Walk down from the node above the leaf."""
    for depth in range(49):
        secret = nodes.get((depth, leaf >> (48 - depth)))
        if secret is not None:
            for shift in range(47 - depth, -1, -1):
                secret = hmac.digest(secret, bytes([leaf >> shift & 1]), "sha256")
            return secret
    raise LookupError("this recording was erased: its key no longer exists")


def main():
    """Write the plaintext of one part to standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", type=Path)
    parser.add_argument("--customer", required=True)
    parser.add_argument("--key", type=bytes.fromhex)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--keys", type=Path)
    given = parser.parse_args()
    name = given.part.name
    if not given.key and not (given.root and given.keys):
        parser.error("give --key, or --root and --keys")
    try:
        _, leaf, part = name.split(".")
        root = given.root.read_bytes() if given.root else b""
        key = given.key or part_key(root, given.keys, given.customer, int(leaf, 16), LABEL[part[0]])
    except (LookupError, ValueError, OSError) as error:
        print(f"reader: {error}", file=sys.stderr)
        return 2
    try:
        for piece in plaintext(given.part.read_bytes(), key, given.customer, name):
            sys.stdout.buffer.write(piece)
    except ValueError as error:
        print(f"reader: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
