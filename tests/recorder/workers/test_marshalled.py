"""Values come back as they were; what is no value is refused."""

from __future__ import annotations

import marshal
from dataclasses import dataclass

import pytest

from recorder.workers.marshalled import Marshalled


@dataclass(frozen=True)
class Leaf:
    """A value without others in it."""

    name: str
    data: bytes = b""


@dataclass(frozen=True)
class Branch:
    """A value with others in it."""

    leaves: tuple[Leaf, ...]
    one: Leaf | None
    numbers: tuple[tuple[int, bool], ...] = ()


FORM = Marshalled([Leaf, Branch])


@pytest.mark.parametrize(
    "value",
    [
        Leaf("ä", b"\0\xff"),
        Branch((), None),
        Branch((Leaf("a"), Leaf("b")), Leaf("c"), ((1, True), (2, False))),
    ],
)
def test_a_value_comes_back_and_no_part_of_it_is_one(value: object) -> None:
    data = FORM.write(value)
    assert FORM.read(data) == value
    assert FORM.read(memoryview(bytearray(data))) == value
    for cut in range(len(data)):
        with pytest.raises(ValueError, match="not a marshalled value"):
            FORM.read(data[:cut])


@pytest.mark.parametrize("data", [b"{}", marshal.dumps([7]), marshal.dumps([0]), marshal.dumps("text")])
def test_what_is_no_value_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a marshalled value"):
        FORM.read(data)


def test_a_list_becomes_a_tuple_and_a_stranger_is_refused() -> None:
    assert FORM.read(FORM.write(Branch([Leaf("a")], None))) == Branch((Leaf("a"),), None)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match="unmarshallable"):
        FORM.write(Leaf(object()))  # type: ignore[arg-type]  # on purpose
