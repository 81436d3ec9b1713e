"""Personal values: names, numbers, addresses and search terms, which no text, log line, error or encoder shows.

    name = Personal("Anna Schmidt")     where it is parsed, or where a sealed row is opened
    f"{name}", repr(name), "%s" % name  ***
    name.reveal()                       where it is sealed, turned into a search token, compared or answered

This package lies below all others and knows nothing of them. tests/test_personal.py lists the modules that may reveal.
"""

from __future__ import annotations

from typing import Any, Generic, NoReturn, TypeVar

MASK = "***"
"""What is shown instead of a personal value, here and in every log line (recorder.observe.redaction)."""

Value_co = TypeVar("Value_co", covariant=True)


class Personal(Generic[Value_co]):
    """A personal value. Two are equal if their contents are; it is true if its content is."""

    __slots__ = ("_value",)
    _value: Value_co

    def __init__(self, value: Value_co) -> None:
        _set(self, value)

    def reveal(self) -> Value_co:
        """Return the content."""
        return self._value

    def __str__(self) -> str:
        return MASK

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Personal) and bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash((Personal, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __copy__(self) -> Personal[Value_co]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Personal[Value_co]:
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a personal value does not change")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a personal value is not pickled")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a personal value is not pickled")


_set = Personal.__dict__["_value"].__set__  # the slot itself: `__setattr__` refuses every other way in


def revealed(value: object) -> Any:
    """Return the content of a personal value, for the encoder of what is sealed: `json.dumps(default=revealed)`.

    Raises TypeError for anything else that JSON does not have.
    """
    if isinstance(value, Personal):
        return value.reveal()
    raise TypeError(f"JSON has no {type(value).__name__}")
