"""How the values of a message are declared: dataclasses that nothing changes once they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

V = TypeVar("V")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def small_value(kind: type[V]) -> type[V]:
    """Make a class a dataclass with slots, comparable and hashable, that the type checker treats as frozen.

    At run time nothing guards it: dozens are made for every message, and freezing costs more than all the rest of it.
    """
    return dataclass(slots=True, unsafe_hash=True)(kind)
