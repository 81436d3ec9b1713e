"""Opening the sealed part of rows, which is bound to the call's id, so that no row can replace another."""

from collections.abc import Sequence
from typing import Any

from storage.calls.call_row import CallRow, Query, from_columns, met, unpack
from storage.errors import Forgotten, StorageError
from storage.keys.row_keys import LABEL_DETAILS, Keys, context
from storage.search_forms import Needle


def open_row(keys: Keys, record: Any) -> tuple[CallRow, tuple[str, ...]] | None:
    """Return the call of a record and its search forms, None if its leaf was cut; raises SealBroken, BadDetails."""
    try:
        plain = keys.unseal(record.leaf, LABEL_DETAILS, record.sealed, context(record.id))
    except Forgotten:
        return None
    details, forms = unpack(plain)
    return from_columns(record, details), forms


class Batch:
    """Calls as the database stores them, not opened yet."""

    def __init__(
        self, total: int, keys: Keys, records: Sequence[Any], query: Query, needles: Sequence[Needle] | None
    ) -> None:
        self.total = total
        # number of calls in all batches; some may prove not to match when they are opened
        self._keys = keys
        self._records = records
        self._query = query
        self._needles = needles

    def __len__(self) -> int:
        return len(self._records)

    def open(self) -> list[CallRow]:
        """Open the calls, in any thread; leave out those that are erased, damaged or do not match."""
        found = []
        for record in self._records:
            try:
                opened = open_row(self._keys, record)
            except StorageError:
                continue  # damaged: `recorder verify` reports it
            if opened is None or not self._query.meets(opened[0].details):
                continue
            if self._needles is None or met(self._needles, opened[1]):
                found.append(opened[0])
        return found
