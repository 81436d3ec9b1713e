"""Sealing of texts that people write besides calls: reasons, corrections, names of rules.

Each text is bound to its kind and row. A text that belongs to a call is sealed under the call's leaf and forgotten with
it. All others get their own leaf of `NO_CALL_DAY`, on which nothing is recorded, so that cutting a whole past day does
not erase a waiver.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from storage.errors import SealBroken
from storage.json_bytes import utf8_json
from storage.keys.cut_log import Entry
from storage.keys.row_keys import LABEL_DETAILS, Keys

NO_CALL_DAY = 65534  # in the year 2149; the day after it holds the audit key
MAX_TEXT = 4000  # characters of a reason or a correction


class DeletableKeys(Keys, Protocol):
    """Keys that can also be forgotten (storage.keys.key_store.CustomerKeys)."""

    def keeps(self, leaf: int) -> bool:
        """Return whether a leaf has not been erased."""
        ...

    def cut(self, *leaves: int) -> bool:
        """Forget leaves for good and durably, with a line of the cut log."""
        ...

    def forget(self, entry: Entry) -> bool:
        """Write a line of the cut log, then forget its leaves and days, both durably."""
        ...

    def repeat(self, entries: Iterable[Entry]) -> bool:
        """Forget again what entries of the cut log name."""
        ...

    def prepare(self) -> None:
        """Reserve space for the next lines of the cut log."""
        ...


def new_leaf(keys: Keys) -> int:
    """Allocate a leaf for something that does not belong to a call."""
    return keys.allocate(NO_CALL_DAY)


def seal(keys: Keys, leaf: int, kind: str, id: str, document: Mapping[str, Any]) -> bytes:
    """Seal a JSON document for the row `id` of a table; raises Forgotten."""
    plain = utf8_json(document)
    return keys.seal(leaf, LABEL_DETAILS, plain, _context(kind, id))


def unseal(keys: Keys, leaf: int, kind: str, id: str, sealed: bytes) -> dict[str, Any]:
    """Open what `seal` returned; raises Forgotten, SealBroken."""
    plain = keys.unseal(leaf, LABEL_DETAILS, sealed, _context(kind, id))
    try:
        found = json.loads(plain.decode("utf-8", "surrogatepass"))
    except ValueError:
        raise SealBroken("a sealed value has an unknown format") from None
    if not isinstance(found, dict):
        raise SealBroken("a sealed value has an unknown format")
    return found


def _context(kind: str, id: str) -> bytes:
    return f"{kind}\0{id}".encode()
