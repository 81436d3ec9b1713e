"""Personal values as plain texts, so that tests can compare them."""

from __future__ import annotations

import dataclasses
from typing import Any

from personal import Personal


def plain(value: Any) -> Any:
    """Return a value with all personal values revealed, also within tuples, lists, dicts and dataclasses."""
    if isinstance(value, Personal):
        return plain(value.reveal())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(plain, value))
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value))
    if isinstance(value, dict):
        return {plain(name): plain(each) for name, each in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(
            value, **{each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value) if each.init}
        )
    return value
