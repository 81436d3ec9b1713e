"""Extension data of the documents of one call, compressed, because thousands of calls are in memory at once."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable

import msgspec

from personal import Personal
from sip.siprec.document import MAX_PATH, Extension

MAX_PIECES = 64
"""Pieces of extension data kept in memory; the raw metadata, which the recorder stores, contain all of it."""
MAX_TEXT = 2_048
"""Total characters of their values, because thousands of calls are in memory at once."""
WINDOW_BITS = 12
"""Window of the compression: 4 KiB, more than the data have."""
MEMORY_LEVEL = 5
"""Memory of the compression beside its window (zlib's memLevel): 32 KiB."""


def _pieces(packed: bytes) -> list[tuple[str, str, str, str]]:
    """Return kind, parent, path and value of each piece in order; compressed they take a quarter of the space."""
    return [tuple(piece) for piece in json.loads(zlib.decompress(packed))] if packed else []


def shown(packed: bytes) -> tuple[tuple[Personal[str], Personal[str]], ...]:
    """Return path and value of each piece; the path begins with kind and id of the containing element."""
    return tuple(
        (Personal(f"{kind}[{parent}]/{path}" if parent else f"{kind}/{path}"), Personal(value))
        for kind, parent, path, value in _pieces(packed)
    )


def with_more(packed: bytes, extensions: Iterable[Extension]) -> bytes:
    """Add pieces that are not there yet, up to the limits."""
    kept: dict[tuple[str, str, str, str], None] = dict.fromkeys(_pieces(packed))
    before = len(kept)
    room = MAX_TEXT - sum(len(value) for *_, value in kept)
    for kind, parent, path, hidden in extensions:
        if len(parent) + len(path) > MAX_PATH:
            continue
        value = hidden.reveal()
        room -= len(value)
        if room < 0 or len(kept) >= MAX_PIECES:
            break
        kept[kind, parent, path, value] = None
    if len(kept) == before:
        return packed
    # Little memory: to clear the usual quarter of a megabyte takes ten times as long as compressing 2 kB.
    packer = zlib.compressobj(1, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL)
    return packer.compress(_json(list(kept))) + packer.flush()


def _json(pieces: list[tuple[str, str, str, str]]) -> bytes:
    """Encode pieces as JSON; the fast encoder refuses text with lone surrogates."""
    try:
        return msgspec.json.encode(pieces)
    except UnicodeEncodeError:
        return json.dumps(pieces).encode()
