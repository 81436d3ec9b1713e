"""Whatever two versions could misunderstand changes the first word of a worker."""

from dataclasses import dataclass, make_dataclass
from typing import NamedTuple, get_args

import pytest

from recorder.workers import codec, messages
from recorder.workers.version_check import GREETING, greeting


@dataclass
class Sent:
    """A message."""

    call: str
    at: int


class Counted(NamedTuple):
    """Another one."""

    stream: int


def named(name: str, *fields: tuple[str, type]) -> type:
    return make_dataclass(name, fields)


def test_the_same_messages_are_greeted_alike() -> None:
    same = named("Sent", ("call", str), ("at", int))
    assert greeting((Sent, Counted), 1) == greeting((same, Counted), 1)
    assert len(GREETING) < 64


@pytest.mark.parametrize(
    "other",
    [
        named("Sent", ("call", str), ("at", int), ("more", int)),
        named("Sent", ("call", str)),
        named("Sent", ("at", int), ("call", str)),
        named("Sent", ("call", str), ("at", float)),
        named("Sent", ("call", str), ("since", int)),
        named("Told", ("call", str), ("at", int)),
    ],
    ids=["more", "fewer", "order", "type", "field", "name"],
)
def test_another_field_is_another_greeting(other: type) -> None:
    assert greeting((other, Counted)) != greeting((Sent, Counted))


def test_the_order_of_messages_and_the_formats_count() -> None:
    assert len({greeting((Sent, Counted), 1), greeting((Counted, Sent), 1), greeting((Sent, Counted), 2)}) == 3


def test_every_message_is_greeted_with() -> None:
    """What a worker is told or tells, and what is in it; what recorder.workers.pool says of itself is never sent."""
    assert {*get_args(messages.Command), *get_args(messages.Report)} < set(codec.CLASSES)
