"""Byte formats of the lines of the table `cuts` and of their acknowledgements (docs/formats/cuts.md). Pure.

A line names keys that all holders of a customer's keys cut, or changes who the holders are. A chain of MACs binds each
line to all lines before it, and a MAC binds each acknowledgement to its holder. The keys of both come from a leaf that
is never cut, so an attacker who can only write to the database can forge neither.
"""

import enum
import hmac
import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from storage.errors import StorageError
from storage.json_bytes import ascii_json

BEGIN = bytes(32)
"""The chain before the first line."""
CHAIN_LABEL = "cuts"
ACKNOWLEDGEMENT_LABEL = "cut acknowledgement"
MAX_BYTES = 64 << 20  # bytes of a line; 100,000 scattered calls of one sweep take 2 MB
_ID = re.compile(r"[0-9a-f]{32}")
_NODE = re.compile(r"[a-z0-9-]{1,40}")
_NUMBER = struct.Struct(">Q")


class CutsForged(StorageError):
    """A line that no node with the keys wrote."""


class Kind(enum.Enum):
    """What a line does."""

    CUT = "cut"
    ADMIT = "admit"
    RETIRE = "retire"
    RETURN = "return"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its number, because a line that a fail-over lost comes back under another number."""

    id: str
    """128 random bits in hexadecimal; a request that is repeated gets another id."""
    kind: Kind
    """What it does."""
    node: str = ""
    """Name of the holder that is admitted, is retired or returns; "" for a cut."""
    text: str = ""
    """The line of the cut log (docs/formats/ledger.md) without its line feed; "" for all other kinds."""

    def __bytes__(self) -> bytes:
        """Return the JSON that is stored and that the chain covers."""
        return ascii_json({"id": self.id, "kind": self.kind.value, "node": self.node, "text": self.text})

    @classmethod
    def parse(cls, data: bytes) -> "Line":
        """Parse a line; raise CutsForged for anything that `bytes` would not return."""
        try:
            if len(data) > MAX_BYTES:
                raise ValueError
            members: Any = json.loads(data)
            line = cls(members["id"], Kind(members["kind"]), members["node"], members["text"])
            empty = line.node if line.kind is Kind.CUT else line.text
            named = _NODE.fullmatch(line.node) or line.kind in (Kind.CUT, Kind.VOID)
            if not (isinstance(members["text"], str) and _ID.fullmatch(line.id) and not empty and named):
                raise ValueError
            if bytes(line) != data:
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise CutsForged("a line of the table cuts cannot be read", "restore the database") from None
        return line


@dataclass(frozen=True, slots=True)
class Numbered:
    """A line with its number in the table, or in the cut log of a holder that applied it."""

    n: int
    """Its number, from 1."""
    chain: bytes
    """HMAC over the chain of the line before and this line, 32 bytes."""
    line: Line
    """The line."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A holder's statement of the lines that it has applied."""

    node: str
    """Name of the holder."""
    n: int
    """Number of the last line that it applied."""
    chain: bytes
    """The chain at that line."""
    tree: bytes
    """MAC of its key tree: all holders at one line must have the same."""
    mac: bytes
    """HMAC over all other fields, 32 bytes."""


@dataclass(frozen=True, slots=True)
class ChainKeys:
    """The keys of chain and acknowledgements, the same for all holders of a customer's keys."""

    chain: bytes
    """Key of the chain."""
    acknowledgement: bytes
    """Key of the MACs of acknowledgements and trees."""

    @classmethod
    def of(cls, secret: Callable[[str], bytes]) -> "ChainKeys":
        """Derive the keys; `secret` derives a key for a label from the leaf that is never cut."""
        return cls(secret(CHAIN_LABEL), secret(ACKNOWLEDGEMENT_LABEL))

    def link(self, before: bytes, line: Line) -> bytes:
        """Return the chain after a line."""
        return hmac.digest(self.chain, before + bytes(line), "sha256")

    def tree(self, state: bytes) -> bytes:
        """Return the MAC of a key tree; `state`: its bytes, which are sealed on the disk (docs/formats/keytree.md)."""
        return hmac.digest(self.acknowledgement, b"tree\0" + sha256(state).digest(), "sha256")

    def acknowledge(self, node: str, n: int, chain: bytes, tree: bytes) -> Acknowledgement:
        """Return an acknowledgement of all lines up to `n`."""
        return Acknowledgement(node, n, chain, tree, self._mac(node, n, chain, tree))

    def genuine(self, acknowledgement: Acknowledgement) -> bool:
        """Return whether a node with the keys made an acknowledgement."""
        a = acknowledgement
        return hmac.compare_digest(a.mac, self._mac(a.node, a.n, a.chain, a.tree))

    def _mac(self, node: str, n: int, chain: bytes, tree: bytes) -> bytes:
        covered = b"acknowledgement\0" + node.encode() + b"\0" + _NUMBER.pack(n) + chain + tree
        return hmac.digest(self.acknowledgement, covered, "sha256")
