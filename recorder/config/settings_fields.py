"""How a configured field is declared: how it is read, what holds if it is absent, what it means."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from recorder.config.readers import Reader


def option(reader: Reader, default: object, doc: str, *, example: object = None) -> Any:
    """Declare a field: how it is read, what holds if it is absent, its documentation, and what the example shows."""
    return field(default=default, metadata={"read": reader, "doc": doc, "example": example})


def required(reader: Reader, doc: str, *, example: object) -> Any:
    """Declare a field that must be given."""
    return field(metadata={"read": reader, "doc": doc, "example": example})
