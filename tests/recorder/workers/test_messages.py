"""Messages show no keys, and give figures by their stream."""

import pytest

from media.spec import StreamSpec
from recorder.workers import messages


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(messages.Part("m1", b"secret")) + repr(StreamSpec(0, "S", b"secret", own_key=b"secret"))


@pytest.mark.parametrize(
    "told", [messages.Figures("id", 1, ({"stream": 3},)), messages.Final("id", "m1", 9, (), ({"stream": 3},), True)]
)
def test_figures_are_given_by_their_stream(told: messages.Figures | messages.Final) -> None:
    assert told.streams == {3: {"stream": 3}}
