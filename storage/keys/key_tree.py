"""The tree from which the secret of every recording is derived, and that can forget single ones for good.

It is a puncturable pseudo-random function after Goldreich, Goldwasser and Micali (docs/formats/keytree.md): the child
of a node is HMAC-SHA-256(node, 0x00 or 0x01); 16 levels choose the day, 32 more the recording. The tree is stored as
the set of its topmost known nodes, at first only the root. To erase a node, the known node above it is replaced by the
siblings along the path, from which the erased node cannot be computed.
"""

import hmac
import struct
from collections.abc import Iterator

from storage.errors import Forgotten, KeysWrong

DAY_BITS = 16
NUMBER_BITS = 32
LEAF_BITS = DAY_BITS + NUMBER_BITS
SECRET = 32
LAST_LEAF = (1 << LEAF_BITS) - 1
MAX_NODES = 1 << 24  # 650 MB of state; 10,000 scattered erasures take about 200,000
CACHED_DAYS = 4096  # a search probes one leaf per day: eleven years
CACHED_LEAVES = 4096  # live calls use several labels of one leaf
LABEL_PREFIX = b"siprec-recorder/1 label "

_MAGIC = b"SRKT\x01"
_HEAD = struct.Struct(">5sBI")  # magic and version, depth of the tree, number of nodes
_NODE = struct.Struct(">BHI32s")  # depth, prefix (16 + 32 bits), secret
_BITS = (b"\0", b"\1")

_NOWHERE: tuple[int, list[bytes]] = (-1, [])

_digest = hmac.digest


def leaf_of(day: int, number: int) -> int:
    """Join a day, as days since 1970-01-01 UTC, and a recording number to a leaf."""
    return day << NUMBER_BITS | number


def day_of(leaf: int) -> int:
    """Return the day number of a leaf."""
    return leaf >> NUMBER_BITS


def label(secret: bytes, name: str) -> bytes:
    """Return the 32-byte key for one use of a leaf secret: HKDF-Expand (RFC 5869) with SHA-256."""
    return _digest(secret, LABEL_PREFIX + name.encode("ascii") + b"\x01", "sha256")


class KeyTree:
    """The topmost known nodes of the tree: (depth, the first `depth` bits of the leaf) → secret."""

    __slots__ = ("_days", "_leaves", "_near", "_nodes")

    def __init__(self, nodes: dict[tuple[int, int], bytes]) -> None:
        self._nodes = nodes
        self._days: dict[int, bytes] = {}  # nodes of days without any cut
        self._leaves: dict[int, bytes] = {}
        # The last derived leaf, and the nodes from its day down to it: the calls of a list, and new calls, are adjacent
        # and share all but two of 32 steps.
        self._near = _NOWHERE

    @classmethod
    def new(cls, root: bytes) -> "KeyTree":
        """Return a tree that can derive every leaf, from 32 random bytes."""
        if len(root) != SECRET:
            raise ValueError("the root of a key tree has 32 bytes")
        return cls({(0, 0): root})

    def copy(self) -> "KeyTree":
        """Return a copy that can be cut without changing this tree."""
        return KeyTree(dict(self._nodes))

    @property
    def nodes(self) -> int:
        """Return the number of stored nodes."""
        return len(self._nodes)

    def items(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield depth, prefix and secret of every stored node, unordered."""
        for (depth, prefix), secret in self._nodes.items():
            yield depth, prefix, secret

    def keeps(self, leaf: int) -> bool:
        """Return whether the secret of `leaf` can still be derived."""
        return leaf >> NUMBER_BITS in self._days or self._above(leaf, LEAF_BITS) >= 0

    def keeps_day(self, day: int) -> bool:
        """Return whether any leaf of the day can still be derived."""
        if self._above(day, DAY_BITS) >= 0:
            return True
        return any(depth > DAY_BITS and prefix >> (depth - DAY_BITS) == day for depth, prefix in self._nodes)

    def derive(self, leaf: int) -> bytes:
        """Return the 32-byte secret of `leaf`; raise Forgotten if it was cut."""
        known = self._leaves.get(leaf)
        if known is not None:
            return known
        _check(leaf, LEAF_BITS)
        day = leaf >> NUMBER_BITS
        node = self._days.get(day) or self._day(day)
        if node is None:
            depth = self._above(leaf, LEAF_BITS)
            if depth < 0:
                raise Forgotten("this recording was erased: its key no longer exists")
            secret = _walk(self._nodes[depth, leaf >> (LEAF_BITS - depth)], leaf, LEAF_BITS - depth)
        else:
            secret = self._from_near(node, leaf)
        if len(self._leaves) >= CACHED_LEAVES:
            self._leaves.clear()
        self._leaves[leaf] = secret
        return secret

    def cut(self, leaf: int) -> bool:
        """Forget one leaf; return False if it was already forgotten."""
        return self._cut(leaf, LEAF_BITS)

    def cut_day(self, day: int) -> bool:
        """Forget every leaf of a day; return False if there was nothing left to forget."""
        return self._cut(day, DAY_BITS)

    def cut_range(self, first: int, last: int) -> bool:
        """Forget the leaves `first` to `last`, both included; return False if there was nothing left to forget."""
        _check(first, LEAF_BITS)
        _check(last, LEAF_BITS)
        changed = False
        while first <= last:
            height = (first & -first).bit_length() - 1 if first else LEAF_BITS
            while first + (1 << height) - 1 > last:
                height -= 1
            changed |= self._cut(first >> height, LEAF_BITS - height)
            first += 1 << height
        return changed

    def __bytes__(self) -> bytes:
        """Serialise the nodes in the order of their leaves."""
        order = sorted(self._nodes.items(), key=lambda item: item[0][1] << (LEAF_BITS - item[0][0]))
        body = [_NODE.pack(d, *_split(d, prefix), secret) for (d, prefix), secret in order]
        return _HEAD.pack(_MAGIC, LEAF_BITS, len(body)) + b"".join(body)

    to_bytes = __bytes__

    @classmethod
    def from_bytes(cls, data: bytes) -> "KeyTree":
        """Parse what `bytes()` returned; raise KeysWrong if it is anything else."""
        if len(data) < _HEAD.size:
            raise KeysWrong("the key tree is cut short")
        magic, bits, count = _HEAD.unpack_from(data)
        if magic != _MAGIC or bits != LEAF_BITS:
            raise KeysWrong("this is not a key tree that this version can read")
        if count > MAX_NODES or len(data) != _HEAD.size + count * _NODE.size:
            raise KeysWrong("the key tree does not have the length that it states")
        return cls(_nodes(data))

    def _from_near(self, day: bytes, leaf: int) -> bytes:
        """Derive a leaf from the last node that its path shares with the previous leaf; never change a shared path."""
        before, path = self._near
        levels = (before ^ leaf).bit_length()
        if before < 0 or levels > NUMBER_BITS:
            levels, path = NUMBER_BITS, [day]
        path = path[: NUMBER_BITS - levels + 1]
        for shift in range(levels - 1, -1, -1):
            path.append(_digest(path[-1], _BITS[leaf >> shift & 1], "sha256"))
        self._near = leaf, path
        return path[-1]

    def _day(self, day: int) -> bytes | None:
        """Return the node of a day and cache it; None if the day was cut, wholly or in part."""
        depth = self._above(day, DAY_BITS)
        if depth < 0:
            return None
        secret = _walk(self._nodes[depth, day >> (DAY_BITS - depth)], day, DAY_BITS - depth)
        if len(self._days) >= CACHED_DAYS:
            self._days.clear()
        self._days[day] = secret
        return secret

    def _above(self, prefix: int, depth: int) -> int:
        """Return the depth of the nearest stored node at or above a node, -1 if there is none."""
        nodes = self._nodes
        for d in range(depth, -1, -1):
            if (d, prefix) in nodes:
                return d
            prefix >>= 1
        return -1

    def _cut(self, prefix: int, depth: int) -> bool:
        _check(prefix, depth)
        self._days.clear()
        self._leaves.clear()
        self._near = _NOWHERE
        above = self._above(prefix, depth)
        if above < 0:
            return self._drop_below(prefix, depth)
        secret = self._nodes.pop((above, prefix >> (depth - above)))
        for level in range(above + 1, depth + 1):
            path = prefix >> (depth - level)
            self._nodes[level, path ^ 1] = _digest(secret, _BITS[~path & 1], "sha256")
            secret = _digest(secret, _BITS[path & 1], "sha256")
        return True

    def _drop_below(self, prefix: int, depth: int) -> bool:
        if depth == LEAF_BITS:
            return False
        below = [node for node in self._nodes if node[0] > depth and node[1] >> (node[0] - depth) == prefix]
        for node in below:
            del self._nodes[node]
        return bool(below)


def _walk(secret: bytes, path: int, levels: int) -> bytes:
    """Derive the node `levels` levels down along the lowest bits of `path`."""
    for shift in range(levels - 1, -1, -1):
        secret = _digest(secret, _BITS[path >> shift & 1], "sha256")
    return secret


def _check(prefix: int, depth: int) -> None:
    if not 0 <= prefix < 1 << depth:
        raise ValueError("no such place in the key tree")


def _split(depth: int, prefix: int) -> tuple[int, int]:
    leaf = prefix << (LEAF_BITS - depth)
    return leaf >> NUMBER_BITS, leaf & 0xFFFF_FFFF


def _nodes(data: bytes) -> dict[tuple[int, int], bytes]:
    nodes: dict[tuple[int, int], bytes] = {}
    free = 0  # the first leaf that the nodes so far do not cover
    for depth, day, number, secret in _NODE.iter_unpack(memoryview(data)[_HEAD.size :]):
        leaf = leaf_of(day, number)
        height = LEAF_BITS - depth
        if height < 0 or leaf & ((1 << height) - 1) or leaf < free:
            raise KeysWrong("the key tree contains nodes that cannot be in one tree")
        nodes[depth, leaf >> height] = secret
        free = leaf + (1 << height)
    return nodes
