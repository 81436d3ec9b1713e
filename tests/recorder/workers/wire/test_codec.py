"""Messages survive the wire; noise is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import encode

from media.spec import Dtls, StreamSpec
from recorder.workers import codec, messages


@pytest.mark.parametrize(
    "message",
    [
        messages.Adopt(
            messages.NewCall(
                "id",
                messages.Part("m1", b"k" * 32, b"p" * 7),
                (
                    StreamSpec(0, "S", b"\0\xff", payloads=((8, "PCMA", 8000),), source=("::1", 4)),
                    StreamSpec(1, networks=("192.0.2.0/24",), dtls=Dtls(("sha-256 AB",), None, identity=b"\1")),
                ),
                b"s" * 32,
                pauses=((1, None), (5, 6)),
            ),
            ((0, 2), (1, 1)),
            False,
            1_700_000_000_000_000_000,
            True,
        ),
        messages.Add(messages.NewCall("id", messages.Part("m1", b"k"), (), b"s" * 32, ((1, None),)), ((0, 2), (1, 1))),
        messages.Change("id", (), (), (3,), 5),
        messages.NextPart("id", messages.Part("m2", b"k")),
        messages.Drop("id"),
    ],
)
def test_commands_of_main_survive_encoding(message: messages.Command) -> None:
    data = codec.encode(message)
    assert codec.decode_command(data) == message
    for cut in range(len(data)):
        with pytest.raises(codec.WireError):
            codec.decode_command(data[:cut])


@pytest.mark.parametrize(
    "noise", [b"", b"{}", encode([999]), encode([]), encode("text"), encode(["Beat", 0.5]), encode(["Drop", "id", 1])]
)
def test_bytes_that_are_no_command_are_refused(noise: bytes) -> None:
    with pytest.raises(codec.WireError):
        codec.decode_command(noise)


@pytest.mark.parametrize(
    "message",
    [messages.DiskWell("\udcff"), messages.DiskTrouble("id", 1 << 64), messages.Drop("x" * codec.MAX_MESSAGE)],
    ids=["no text", "too large", "too long"],
)
def test_what_cannot_be_written_is_refused(message: messages.Report) -> None:
    with pytest.raises(codec.WireError):
        codec.encode(message)


def test_a_new_call_leaves_room_for_its_next_workers_message() -> None:
    def new(length: int) -> messages.NewCall:
        return messages.NewCall("id", messages.Part("m1", b"k"), (StreamSpec(0, "x" * length),), b"s" * 32)

    long = new(codec.MAX_OFFERED)
    with pytest.raises(codec.WireError):
        codec.encode(messages.Add(long, ()))
    assert codec.encode(messages.Add(new(codec.MAX_OFFERED - 300), ()))
    assert codec.encode(messages.Adopt(long, (), False, 0, True))


def test_a_customers_networks_are_encoded_once_for_all_streams() -> None:
    networks = tuple(f"10.{each // 250}.{each % 250}.0/24" for each in range(5_000))
    streams = tuple(StreamSpec(number, "AES_CM_128_HMAC_SHA1_80", bytes(30), networks=networks) for number in range(64))
    new = messages.NewCall("id", messages.Part("m1", b"k"), streams, b"s" * 32)
    for message in (messages.Add(new, ()), messages.Adopt(new, (), False, 0, True)):
        assert codec.decode_command(codec.encode(message)).new.streams == streams
    change = messages.Change("id", (*streams[:2], StreamSpec(2)), (), (), 5)
    assert codec.decode_command(codec.encode(change)).streams == change.streams


def test_counters_of_thousands_of_calls_are_short() -> None:
    """Names of fields would triple what main has to read of every call every five seconds."""
    counts = messages.Counts(1, 1_000_000, 1_000, 100, 100, 100, 100, 60_000, 160_000_000, 1_700_000_000_000_000_000)
    said = [codec.encode(messages.Stats(dict.fromkeys(calls, (counts, counts)))) for calls in (["a" * 36], [])]
    assert len(said[0]) - len(said[1]) <= 220


@pytest.mark.parametrize("calls", [5, [1], {"id": 5}, {"id": [[1, 2]]}, {"id": [{}]}, {"id": [None]}, None])
def test_counters_that_are_none_are_refused(calls: object) -> None:
    with pytest.raises(codec.WireError):
        codec.decode_report(encode(["Stats", calls]))


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    for decode in (codec.decode_report, codec.decode_command):
        with pytest.raises(codec.WireError):
            decode(noise)


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(messages.Part("m1", b"secret")) + repr(StreamSpec(0, "S", b"secret", own_key=b"secret"))
