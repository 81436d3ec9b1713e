"""Streams: whole messages, keep-alives, and when a connection has to be given up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import FramingError
from sip.message.framing import KEEPALIVE, Framer
from sip.message.message import Framed, Head


def written(length: str | None = "4", body: bytes = b"body", name: str = "Content-Length") -> bytes:
    """A message with the given Content-Length field."""
    field = f"{name}: {length}\r\n" if length is not None else ""
    return f"BYE sip:rec@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n{field}\r\n".encode() + body


def whole(data: bytes) -> Framed:
    """The same message, cut."""
    head, _, body = data.partition(b"\r\n\r\n")
    return Framed(Head.cut(head), body)


def fed(data: bytes, step: int) -> tuple[list[Framed | bytes], str | None]:
    """What a framer gives for data that arrive in pieces, and the code of its fault."""
    framer, found = Framer(), []
    try:
        for at in range(0, len(data), step):
            found += framer.feed(data[at : at + step])
    except FramingError as fault:
        return found + list(fault.before), fault.code
    return found, None


def test_an_unfinished_message_waits_and_is_counted() -> None:
    framer = Framer()
    assert framer.feed(written("9")) == []
    assert framer.pending == len(written("9"))
    assert framer.feed(b"54321") == [whole(written("9", b"body54321"))]
    assert framer.pending == 0


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\r\n\r\n" + written() + b"\r\n\r\n\r\n", [KEEPALIVE, whole(written()), KEEPALIVE]),
        (b"\r\n" + written(), [whole(written())]),
        (b"\n\n\n" + written(), [whole(written())]),
        (written("\r\n 4"), [whole(written("\r\n 4"))]),  # folded
        (written("4\r\nl: 4"), [whole(written("4\r\nl: 4"))]),
    ],
)
def test_two_line_ends_are_a_ping_and_one_is_nothing(data: bytes, found: list[Framed | bytes]) -> None:
    """Duty S20."""
    assert Framer().feed(data) == found


@pytest.mark.parametrize("length", ["-1", "4, 4", "4 4", "0x4", "+4", "", "4\r\nl: 5", "4a", "٤"])
def test_a_length_that_can_be_read_in_two_ways_ends_the_stream(length: str) -> None:
    """Duty S18."""
    with pytest.raises(FramingError) as caught:
        Framer().feed(written() + written(length) + written())
    assert (caught.value.code, caught.value.status) == ("content-length", 400)
    assert caught.value.before == (whole(written()),)
    assert caught.value.request.via.host == "h"


def test_a_given_up_stream_stays_given_up() -> None:
    framer = Framer()
    for _ in range(2):
        with pytest.raises(FramingError):
            framer.feed(written("-1"))
    assert framer.pending == 0


@pytest.mark.parametrize(
    ("data", "code", "status"),
    [
        (b"A" * 9_000, "start-line-size", 400),
        (b"BYE sip:h SIP/2.0\r\n" + b"X: y\r\n" * 12_000, "head-size", 513),
        (written("99999999"), "body-size", 513),
        (written(None), "content-length-missing", 400),
        (b"\x16\x03\x01\x02\x00\x01", "not-sip", 400),
        (b"\x00\x01\x00\x00!\x12\xa4B", "not-sip", 400),
        (b" BYE", "not-sip", 400),
        (b"\xff", "not-sip", 400),
    ],
)
def test_limits_end_the_stream(data: bytes, code: str, status: int) -> None:
    """Duty S36."""
    with pytest.raises(FramingError) as caught:
        Framer().feed(data)
    assert (caught.value.code, caught.value.status) == (code, status)


def test_4_mib_of_metadata_pass() -> None:
    """Duty 8.9."""
    body = b"x" * (4 << 20)
    assert fed(written(str(len(body)), body), 65_536) == ([whole(written(str(len(body)), body))], None)


@given(
    st.lists(st.sampled_from([written(), written("0", b""), b"\r\n", b"\n", b"\r", written("x"), b"\x00"]), max_size=6),
    st.integers(1, 40),
)
def test_pieces_never_change_the_result(items: list[bytes], step: int) -> None:
    data = b"".join(items)
    assert fed(data, step) == fed(data, max(1, len(data)))
