"""Messages survive the wire; noise is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.spec import StreamSpec
from recorder import wire


@pytest.mark.parametrize(
    "message",
    [
        wire.Add(
            wire.NewCall(
                "id", wire.Part("m1", b"k" * 32, b"p" * 7),
                (StreamSpec(0, "S", b"\0\xff", payloads=((8, "PCMA", 8000),), source=("::1", 4)),), pauses=((1, None),),
            ),
            ((0, 2), (1, 1)),
        ),
        wire.Stats({"id": (wire.Counts(0, 1, 2, 3, 4, 5, 6, 7, 8, 9),)}),
        wire.Final("id", "m2", 99, (("m1", 5),), ({"stream": 0, "gaps": ((1, 2, "loss"),)},), True),
    ],
)  # fmt: skip
def test_a_message_comes_back(message: object) -> None:
    assert wire.decode(wire.encode(message)) == message


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(wire.Part("m1", b"secret")) + repr(StreamSpec(0, "S", b"secret", own_key=b"secret"))


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(noise)
