"""Open whatever can be opened of a pile of bytes with a pile of secrets, without the recorder.

    python -I open_everything.py PILE --customer NAME --reader docs/formats/reader.py [--guess]

This file and `reader.py` need Python and the package `cryptography`; what they know of the recorder stands in
docs/formats. PILE/secrets/NODE has `root.key` and `keys/` of each node. Everything else below PILE is searched: data
directories without keys, base backups and the write-ahead log of PostgreSQL, objects with all their versions, what went
over the wires to database and store.

Every secret that anything holds is used with every ciphertext:

- *trees*: each tree (magic `SRKS`) and each forget secret (`SRKF`) anywhere in the pile, in the middle of a log too, is
  tried with each other and with each root secret. What opens gives nodes of the key tree.
- *parts*: files and objects with the name of a part, and bodies of requests that put one into the store.
- *rows*: wherever the id of a call is, what follows or precedes it is tried as the sealed column of its row, as a tuple
  of PostgreSQL (also over the borders of its pages) or as a value of its protocol.
- *journal*: the items of each line.

With `--guess` each run of 32 bytes outside of parts that looks random, in whatever encoding, is tried as a forget
secret and as a key of each part that does not open. It finds a key that was written where none may be.

Prints {"calls": {ID: {"leaf", "parts", "rows", "forms"}}, "journal": {LEAF: n}, "closed": [ID…], "trees": n}. `rows`
are the folders of the pile in which the row of a call was found and opened, `forms` what it can be found by.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import importlib
import json
import re
import struct
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
PART = re.compile(r"([0-9a-f-]{36})\.([0-9a-f]{12})\.([cma][0-9]+)$")
OBJECT = re.compile(r"/([0-9a-f]{12})/([0-9a-f-]{36})\.([cma][0-9]+)-[0-9a-f]{64}")
PAGE, SEGMENT = 8192, 16 << 20
NEAR = 6_000
"""Bytes around an id in which its row is looked for; the sealed column of a call with two parties has 700."""
LEAST, MOST = 28, 64 << 10
"""Bytes of a sealed value: nonce and tag, and more than any row has."""
RANDOM = 24
"""Different bytes that 32 random ones have at least, but for one in 100,000."""

Nodes = dict[tuple[int, int], bytes]


class Pile:
    """What was collected, each stretch of bytes once."""

    def __init__(self, folder: Path, customer: str, reader: Any) -> None:
        self.customer, self.reader = customer, reader
        self.secrets = sorted((folder / "secrets").iterdir())
        self.parts: dict[tuple[str, int, str], set[bytes]] = defaultdict(set)
        self.places: list[tuple[str, bytes]] = []
        self.journals: list[bytes] = []
        seen = set()
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not path.is_file() or folder / "secrets" in path.parents:
                continue
            data = path.read_bytes()
            digest = hashlib.sha256(data).digest()
            if digest not in seen:
                seen.add(digest)
                self._sort(path, "/".join(path.relative_to(folder).parts[:-1][:2]), data)

    @property
    def streams(self) -> list[bytes]:
        """All bytes but those of parts."""
        return [data for _, data in self.places]

    def _sort(self, path: Path, place: str, data: bytes) -> None:
        if found := PART.search(path.name):
            self.parts[found[1], int(found[2], 16), found[3]].add(data)
        elif found := OBJECT.search(str(path)):
            self.parts[found[2], int(found[1], 16), found[3]].add(data)
        elif re.fullmatch("[0-9A-F]{24}", path.name) and len(data) == SEGMENT:
            self.places.append((place, _without_heads(data)))
        else:
            if path.name.endswith(".journal"):
                self.journals.append(data)
            self.places.append((place, data))
            self._puts(data)

    def _puts(self, data: bytes) -> None:
        """Take the parts out of requests to the store."""
        for found in re.finditer(rb"PUT (\S+) HTTP/1\.1\r\n((?:[^\r\n]+\r\n)+)\r\n", data):
            name = OBJECT.search(found[1].decode("latin1"))
            size = re.search(rb"(?i)content-length: *([0-9]+)", found[2])
            if name and size:
                body = data[found.end() : found.end() + int(size[1])]
                self.parts[name[2], int(name[1], 16), name[3]].add(body)


def _without_heads(segment: bytes) -> bytes:
    """Join the pages of a segment of the write-ahead log: XLogPageHeaderData has 24 bytes, the first page's 40."""
    pages = []
    for at in range(0, len(segment), PAGE):
        (info,) = struct.unpack_from("<H", segment, at + 2)
        pages.append(segment[at + (40 if info & 2 else 24) : at + PAGE])
    return b"".join(pages).rstrip(b"\0")


# ---- secrets ----
def forget_secrets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Find forget secrets with their generation."""
    for found in re.finditer(rb"SRKF\x01\0\0\0", data):
        body = data[found.start() : found.start() + 48]
        if hashlib.sha256(body).digest() == data[found.start() + 48 : found.start() + 80]:
            generation, secret = struct.unpack(">Q32s", body[8:])
            yield generation, secret


def sealed_trees(data: bytes) -> Iterator[bytes]:
    """Find sealed key trees: their head and ciphertext."""
    for found in re.finditer(rb"SRKS\x01\0\0\0", data):
        head = data[found.start() : found.start() + 32]
        if len(head) == 32 and 0 < int.from_bytes(head[16:20]) <= len(data) - found.start() - 32:
            yield data[found.start() : found.start() + 32 + int.from_bytes(head[16:20])]


def derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256 of 32 bytes (RFC 5869), which takes a tenth of the time of the class in `cryptography`."""
    return hmac.digest(hmac.digest(salt, secret, "sha256"), info + b"\x01", "sha256")


def tree_cipher(root: bytes, secret: bytes, customer: str) -> AESGCM:
    """Return what a root secret and a forget secret seal a key tree with."""
    return AESGCM(derived(root + secret, bytes(32), b"siprec-recorder/1 tree " + customer.encode()))


def opened_tree(tree: bytes, cipher: AESGCM) -> Nodes:
    """Open a key tree; empty if the secrets do not fit."""
    try:
        state = cipher.decrypt(tree[20:32], tree[32:], tree[:32])
    except InvalidTag:
        return {}
    return {
        (depth, (day << 32 | number) >> (48 - depth)): node
        for depth, day, number, node in struct.iter_unpack(">BHI32s", state[10:])
    }


class Secrets:
    """All nodes of key trees that can be had."""

    def __init__(self, pile: Pile) -> None:
        self._reader = pile.reader
        paths = [path for one in pile.secrets for path in sorted((one / "keys").iterdir()) if path.is_file()]
        files = [path.read_bytes() for path in paths]
        self.roots = sorted({(one / "root.key").read_bytes() for one in pile.secrets})
        self.trees = sorted({tree for data in (*files, *pile.streams) for tree in sealed_trees(data)})
        self.forgets = {secret for data in (*files, *pile.streams) for _, secret in forget_secrets(data)}
        self.opened = 0
        self.nodes: list[Nodes] = []
        for secret in sorted(self.forgets):
            self.use(secret, pile.customer)
        self._known: dict[int, list[bytes]] = {}

    def use(self, secret: bytes, customer: str) -> bool:
        """Try a forget secret with every tree that nothing has opened yet; tell whether it opened any."""
        ciphers = [tree_cipher(root, secret, customer) for root in self.roots]
        found = [(tree, nodes) for tree in self.trees for each in ciphers if (nodes := opened_tree(tree, each))]
        for tree, nodes in found:
            self.trees.remove(tree)
            self.nodes.append(nodes)
            self.opened += 1
            self._known = {}
        return bool(found)

    def of(self, leaf: int) -> list[bytes]:
        """Return every secret of a leaf that some tree gives."""
        if leaf not in self._known:
            found = set()
            for nodes in self.nodes:
                with suppress(LookupError):
                    found.add(self._reader.leaf_secret(nodes, leaf))
            self._known[leaf] = sorted(found)
        return self._known[leaf]


def label(secret: bytes, name: bytes) -> bytes:
    """Derive the key of a purpose from a leaf's secret."""
    return hmac.digest(secret, b"siprec-recorder/1 label " + name + b"\x01", "sha256")


# ---- what is opened ----
def parts_opened(pile: Pile, secrets: Secrets) -> dict[tuple[str, int], int]:
    """Count the parts of each call that open, as their last byte shows."""
    found: dict[tuple[str, int], int] = {}
    for (call, leaf, part), copies in pile.parts.items():
        name = f"{call}.{leaf:012x}.{part}"
        keys = [label(secret, pile.reader.LABEL[part[0]]) for secret in secrets.of(leaf)]
        opens = any(_opens(pile, data, key, name) for data in copies for key in keys)
        found[call, leaf] = found.get((call, leaf), 0) + opens
    return found


def _opens(pile: Pile, data: bytes, key: bytes, name: str) -> bool:
    try:
        for _ in pile.reader.plaintext(data, key, pile.customer, name):
            return True  # a part that was being written has no last segment
    except (ValueError, IndexError):
        pass
    return False


def rows_opened(pile: Pile, keys: dict[str, list[bytes]]) -> dict[str, dict[str, set[bytes]]]:
    """Find and open sealed rows of calls, by call and place; `keys` are those of each call for its row."""
    found: dict[str, dict[str, set[bytes]]] = defaultdict(lambda: defaultdict(set))
    for place, data in pile.places:
        for at in re.finditer(UUID, data):
            call = at[0].decode()
            for key in keys.get(call, ()):
                near = data[max(0, at.start() - NEAR) : at.end() + NEAR]
                if values := set(_values(near, AESGCM(key), b"call\0" + at[0])):
                    found[call][place] |= values
    return found


def _values(data: bytes, cipher: AESGCM, context: bytes) -> Iterator[bytes]:
    """Try each place as the length and the bytes of a value: varlena of a tuple, or int32 of the protocol."""
    for at in range(len(data) - LEAST):
        first, four = data[at], data[at : at + 4]
        varlena = (1, (first >> 1) - 1) if first & 1 else (4, (int.from_bytes(four, "little") >> 2) - 4)
        for head, size in (varlena, (4, int.from_bytes(four, "big"))):
            begin = at + head
            if LEAST <= size <= min(MOST, len(data) - begin):
                with suppress(InvalidTag):
                    yield cipher.decrypt(data[begin : begin + 12], data[begin + 12 : begin + size], context)


def journal_opened(pile: Pile, secrets: Secrets) -> dict[int, int]:
    """Count the items of the journal that open, by leaf; also of leaves of which none does."""
    found: dict[int, int] = {}
    for line in {line for data in pile.journals for line in data.split(b"\n") if line.startswith(b"{")}:
        head = json.loads(line)
        for number, leaf, box in head.get("items", ()):
            sealed, place = base64.b64decode(box), int(leaf, 16)
            bound = f"{head['id']}.{number}.{head.get('of', head.get('n'))}.{pile.customer}"
            found.setdefault(place, 0)
            for secret in secrets.of(place):
                cipher = AESGCM(label(secret, b"details"))
                with suppress(InvalidTag):
                    cipher.decrypt(sealed[:12], sealed[12:], b"journal\0" + bound.encode())
                    found[place] += 1
    return found


# ---- keys where none may be ----
def guesses(streams: list[bytes]) -> Iterator[bytes]:
    """Yield each run of 32 bytes that looks random, in the clear, in hexadecimal and in base64, once."""
    seen = set()
    for data in streams:
        texts = [bytes.fromhex(found[0].decode()) for found in re.finditer(rb"(?i)(?:[0-9a-f]{2}){32,}", data)]
        for found in re.finditer(rb"[A-Za-z0-9+/_-]{43,}", data):
            for shift in range(4):
                text = found[0][shift:].replace(b"-", b"+").replace(b"_", b"/")
                text = text[: len(text) - (len(text) % 4 == 1)]  # so many digits are no bytes
                texts.append(base64.b64decode(text + b"=" * (-len(text) % 4)))
        for one in (data, *texts):
            for at in range(len(one) - 31):
                run = one[at : at + 32]
                if len(set(run)) >= RANDOM and (mark := hash(run)) not in seen:
                    seen.add(mark)
                    yield run


def guessed(pile: Pile, secrets: Secrets, closed: list[tuple[str, int]]) -> list[str]:
    """Try each guess as a forget secret, and as a key of the parts that do not open; return what opened."""
    first = []
    for (call, leaf, part), copies in pile.parts.items():
        if (call, leaf) in closed and part == "c1":
            data = min(copies, key=len)[:1024]
            fields = (b"siprec-recorder/1", pile.customer.encode(), call.encode(), b"%012x" % leaf, part.encode())
            first.append((call, data, b"\0".join(fields)))
    found = []
    for guess in guesses(pile.streams):
        if guess not in secrets.forgets and secrets.use(guess, pile.customer):
            found.append("forget secret")
        for call, data, bound in first:
            for key in (guess, label(guess, b"media")):
                cipher = AESGCM(derived(key, data[1:33], bound))
                for last in (b"\0", b"\1"):
                    with suppress(InvalidTag):
                        cipher.decrypt(data[33:40] + bytes(4) + last, data[40:], None)
                        found.append(f"key of {call}")
    return found


def main() -> int:
    """Print what opens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pile", type=Path)
    parser.add_argument("--customer", required=True)
    parser.add_argument("--reader", type=Path, required=True)
    parser.add_argument("--guess", action="store_true")
    given = parser.parse_args()
    sys.path.insert(0, str(given.reader.parent))
    pile = Pile(given.pile, given.customer, importlib.import_module(given.reader.stem))
    secrets = Secrets(pile)
    parts = parts_opened(pile, secrets)
    keys = {call: [label(secret, b"details") for secret in secrets.of(leaf)] for call, leaf in parts}
    rows = rows_opened(pile, keys)
    calls: dict[str, Any] = {}
    for (call, leaf), count in parts.items():
        mine = rows.get(call, {})
        if count or mine:
            plain = {row for found in mine.values() for row in found}
            forms = sorted({form for row in plain for form in json.loads(zlib.decompress(row[1:]))["forms"]})
            calls[call] = {"leaf": f"{leaf:012x}", "parts": count, "rows": sorted(mine), "forms": forms}
    closed = [each for each in parts if each[0] not in calls]
    told = {
        "calls": calls,
        "closed": sorted(call for call, _ in closed),
        "journal": {f"{leaf:012x}": count for leaf, count in sorted(journal_opened(pile, secrets).items())},
        "trees": secrets.opened,
    }
    if given.guess:
        told["guessed"] = guessed(pile, secrets, closed)
    json.dump(told, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
