"""Merging of several nodes' journals: the newest item of each row is valid, in whatever order the items come.

Every item has a *place* in one order of all items of all nodes. A place consists of the time by the clock of the
database, at least one microsecond after every place that the database knows, and of the number of the node. Only one
transaction writes at a time, so within one history of a database this is the order of its commits. If a fail-over loses
commits, the places of the nodes that wrote them and of the nodes that went on from an older state still form one order.

For each row the database keeps the place of the item that wrote or removed it. For each removal by columns other than
the primary key (such as of all rules, before the new ones are written) it keeps the place and the condition. An item is
carried out if it is newer than the known place of its row, and not older than a removal that its row matches. Therefore
an item may be given back more than once, and nodes may give back their items in any order.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from storage.database.schema import metadata
from storage.journal.journal import Item, State

NODES = 256
"""Number of places in one microsecond: one for each node number."""
UNIQUE = {"users": "source_key"}
"""Columns besides the primary key that must be unique: of two rows with the same value, the newer one stays."""

Key = tuple[str, str]
"""Table, and JSON: a list with a row's primary key, or an object of the column values by which rows were removed."""


def key_of(item: Item) -> Key:
    """Return the key of an item: the row that it writes or removes, or the condition of the rows that it removes."""
    if item.put is not None:
        return item.table, _list(item.key)
    names = [column.name for column in metadata.tables[item.table].primary_key]
    if set(item.drop) == set(names):
        return item.table, _list([item.drop[name] for name in names])
    return item.table, json.dumps(dict(item.drop), sort_keys=True)


def condition_of(key: Key) -> dict[str, Any] | None:
    """Return the column values of a removal by columns other than the primary key, None for a single row."""
    found = json.loads(key[1])
    return found if isinstance(found, dict) else None


@dataclass(slots=True)
class Merge:
    """Rows and their known places, both of which `give` changes."""

    rows: State
    """The rows that the items concern, by table and primary key."""
    places: dict[Key, int]
    """Place of the newest item of each row, and of each removal by other columns."""
    taken: set[Key] = field(default_factory=set)
    """Keys whose newest item was among the given items, whether or not it was known before."""
    _removals: dict[str, dict[str, int]] = field(default_factory=dict)
    _owners: dict[tuple[str, str], tuple[Any, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, place in self.places.items():
            if condition_of(key) is not None:
                self._removals.setdefault(key[0], {})[key[1]] = place
        for name in UNIQUE.keys() & self.rows.keys():
            for row, values in self.rows[name].items():
                if (owned := _unique(name, values)) is not None:
                    self._owners[owned] = row

    def give(self, items: Iterable[Item]) -> None:
        """Carry out items in the order of their places, unless newer ones are known."""
        for item in sorted(items, key=lambda item: item.place):  # a stable sort: items of one transaction stay in order
            if item.table not in self.rows:
                continue  # written by a later version
            key = key_of(item)
            known = self.places.get(key, -1)
            if item.place == known:
                self.taken.add(key)
            elif item.place > known and self._carried_out(key, item):
                self.places[key] = item.place
                self.taken.add(key)

    def _carried_out(self, key: Key, item: Item) -> bool:
        """Carry out an item that is newer than the known place of its key; return False if another rules it out."""
        condition, rows = condition_of(key), self.rows[item.table]
        if condition is not None:
            for row in [row for row, values in rows.items() if _meets(values, condition)]:
                if self.places.get((item.table, _list(row)), -1) < item.place:
                    self._remove(item.table, row)
            if not condition:  # removed rows no longer need places of their own
                for old in [k for k, place in self.places.items() if k[0] == item.table and place < item.place]:
                    if condition_of(old) is None:
                        del self.places[old]
            self._removals.setdefault(item.table, {})[key[1]] = item.place
            return True
        if item.put is None:
            self._remove(item.table, tuple(json.loads(key[1])))
            return True
        removals = self._removals.get(item.table, {}).items()
        if any(place > item.place and _meets(item.put, json.loads(told)) for told, place in removals):
            return False
        unique = _unique(item.table, item.put)
        other = self._owners.get(unique) if unique is not None else None
        if other is not None and other != item.key:
            if self.places.get((item.table, _list(other)), -1) > item.place:
                return False
            self._remove(item.table, other)
        if item.key in rows:
            self._remove(item.table, item.key)  # with the rows that it owned
        rows[item.key] = dict(item.put)
        if unique is not None:
            self._owners[unique] = item.key
        return True

    def _remove(self, name: str, row: tuple[Any, ...]) -> None:
        values = self.rows[name].pop(row, None)
        self.places.pop((name, _list(row)), None)
        owned = None if values is None else _unique(name, values)
        if owned is not None:
            self._owners.pop(owned, None)


def _unique(name: str, values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the unique value of a row, which no other row of the table may have; None if it has none."""
    value = values.get(UNIQUE[name]) if name in UNIQUE else None
    return None if value is None else (name, json.dumps(value, sort_keys=True))


def _list(key: Iterable[Any]) -> str:
    return json.dumps(list(key))


def _meets(row: Mapping[str, Any], condition: Mapping[str, Any]) -> bool:
    return all(row.get(name) == value for name, value in condition.items())
