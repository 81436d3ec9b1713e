"""Redundant audio (RFC 2198): packets that repeat earlier ones; find what is new in each."""

from __future__ import annotations

from typing import NamedTuple

from media.errors import Malformed

NAME = "red"
# encoding name, in lower case
MAX_BLOCKS = 16  # in one packet; senders repeat one to five


class Block(NamedTuple):
    """One block of a packet."""

    payload_type: int
    # of the SDP, as if it had come alone
    behind: int
    # timestamp units by which it is older than the packet; 0: the new block
    payload: bytes


def blocks(payload: bytes) -> list[Block]:
    """Split a payload into blocks (section 3); the new block is the last. Raise Malformed."""
    heads: list[tuple[int, int, int]] = []
    at = 0
    while at < len(payload) and payload[at] & 0x80:
        if at + 4 > len(payload) or len(heads) == MAX_BLOCKS:
            raise Malformed("the headers of a redundant payload do not end")
        word = int.from_bytes(payload[at : at + 4], "big")
        heads.append((word >> 24 & 127, word >> 10 & 0x3FFF, word & 0x3FF))
        at += 4
    if at >= len(payload):
        raise Malformed("a redundant payload has no new block")
    newest, at = payload[at], at + 1
    found: list[Block] = []
    for payload_type, behind, size in heads:
        found.append(Block(payload_type, behind, payload[at : at + size]))
        at += size
    if at > len(payload):
        raise Malformed("a redundant payload is shorter than its headers say")
    return [*found, Block(newest, 0, payload[at:])]
