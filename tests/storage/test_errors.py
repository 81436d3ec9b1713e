"""Errors of storage have one root, say where, and tell what to do."""

import inspect

import pytest

from storage import errors
from storage.errors import BadEnd, DamagedPart, Forged, StorageError, Torn


def test_everything_has_one_root() -> None:
    classes = [value for _, value in inspect.getmembers(errors, inspect.isclass)]
    assert len(classes) > 10
    assert all(issubclass(value, StorageError) for value in classes)


@pytest.mark.parametrize("kind", [Torn, Forged, BadEnd])
def test_damage_says_where(kind: type[DamagedPart]) -> None:
    error = kind("it is bad", 4096)
    assert error.offset == 4096
    assert "4096" in str(error)
