"""Messages show no keys, and give figures by their stream."""

import pytest

from media.spec import StreamSpec
from recorder import wire


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(wire.Part("m1", b"secret")) + repr(StreamSpec(0, "S", b"secret", own_key=b"secret"))


@pytest.mark.parametrize(
    "told", [wire.Figures("id", 1, ({"stream": 3},)), wire.Final("id", "m1", 9, (), ({"stream": 3},), True)]
)
def test_figures_are_given_by_their_stream(told: wire.Figures | wire.Final) -> None:
    assert told.streams == {3: {"stream": 3}}
