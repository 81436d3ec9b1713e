"""Values of messages: equal and hashable by their fields, small, shown without what is left out."""

from __future__ import annotations

from dataclasses import field

from sip.message.value import small_value


@small_value
class Place:
    """A value for these tests."""

    name: str
    secret: str = field(default="", repr=False)


def test_a_value_is_what_its_fields_are() -> None:
    assert Place("a", "b") == Place("a", "b") != Place("a", "c")
    assert {Place("a"): 1}[Place("a")] == 1
    assert repr(Place("a", "hidden")) == "Place(name='a')"


def test_a_value_has_no_room_for_more() -> None:
    assert not hasattr(Place("a"), "__dict__")
