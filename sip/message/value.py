"""How values are declared: as dataclasses that do not change once they are made, and states as keys of tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar, dataclass_transform

V = TypeVar("V")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def small_value(kind: type[V]) -> type[V]:
    """Make a class a dataclass with slots, comparable and hashable, which the type checker treats as frozen.

    Nothing enforces it at run time: each message makes dozens of them, and freezing costs more than everything else.
    """
    return dataclass(slots=True, unsafe_hash=True)(kind)


class TableKey(Enum):
    """A state or an input of a state machine: a key of its table, which is read with every message."""

    __hash__ = object.__hash__
    """Members are equal only to themselves; Enum's own hash is a Python function."""
