"""Records survive the way out and back; nothing a reader meets makes it fail otherwise than documented."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.errors import Damaged
from media.records import record_format


def test_every_kind_comes_back() -> None:
    run = record_format.Run(3, True, 8, 7, 160, 65530, 1000, (10**18, 10**18 + 20_000_000), (b"a" * 160, b"b" * 160))
    data = (
        record_format.run(run)
        + record_format.packet(1, 9, 10**18, b"packet")
        + record_format.mark(255, record_format.Mark.PAUSE, 5, 6)
        + record_format.pad(100)
        + record_format.rtcp(2, 7, b"compound")
        + record_format.other(16, b"{}")
    )
    expected: list[record_format.Record] = [
        run,
        record_format.Packet(1, 9, 10**18, b"packet"),
        record_format.Marked(255, 1, 5, 6),
        record_format.Rtcp(2, 7, b"compound"),
        record_format.Other(16, b"{}"),
    ]
    assert list(record_format.read([data])) == expected
    assert list(record_format.read([data[i : i + 1] for i in range(len(data))])) == expected


def test_a_record_cut_by_the_end_of_its_part_is_void() -> None:
    whole = record_format.mark(0, record_format.Mark.END, 1)
    data = whole + record_format.packet(0, 1, 1, b"x" * 50)
    for end in range(len(whole), len(data)):
        assert len(list(record_format.read([data[:end]]))) == 1
        assert record_format.last_start(data, end) == len(whole)


def test_a_run_that_contradicts_itself_is_damaged() -> None:
    data = bytearray(record_format.run(record_format.Run(0, False, 8, 7, 160, 1, 1, (1, 2), (b"a" * 16, b"b" * 16))))
    data[7] += 1  # the count
    with pytest.raises(Damaged):
        list(record_format.read([bytes(data)]))


#: Opus, as docs/formats/records.md has it.
VECTOR = (
    "0500002e 01 6f 0003 00000007 000003c0 000000000000ffff 00000064 0de0b6b3a7640000"
    " 40 00c8 00c8 0001 0002 0000 61 6262"
)
#: A RUN of two, a PACKET and a MARK, written before there was MIXED.
OLDER = (
    "0100002803880002000200000007000000a0000000000000ffff000003e80de0b6b3a764000000c861626364020000"
    "18010000000000000000090de0b6b3a76400007061636b657403000012ff0100000000000000050000000000000006"
)
MS = 1_000_000


def opus(**more: object) -> record_format.Mixed:
    arrivals = tuple(10**18 + 20 * MS * n for n in range(3))
    fields = {
        "stream": 1, "payload_type": 111, "ssrc": 7, "sequence": 65535, "markers": (False, True, False),
        "timestamps": (100, 1060, 2020), "arrivals": arrivals, "payloads": (b"a", b"bb", b""),
    }  # fmt: skip
    return record_format.Mixed(**{**fields, **more})  # type: ignore[arg-type]  # test shorthand


def test_packets_of_different_sizes_are_the_bytes_of_the_format() -> None:
    assert record_format.mixed(opus()) == bytes.fromhex(VECTOR)
    assert list(record_format.read([bytes.fromhex(VECTOR)])) == [opus()]
    assert VECTOR in (Path(__file__).parents[3] / "docs/formats/records.md").read_text()
    assert [packet[1:4].hex() for _, _, packet in opus().packets()] == ["6fffff", "ef0000", "6f0001"]


def test_records_of_earlier_versions_are_still_read() -> None:
    run, packet, mark = record_format.read([bytes.fromhex(OLDER)])
    arrivals = (10**18, 10**18 + 20 * MS)
    assert run == record_format.Run(3, True, 8, 7, 160, 65535, 1000, arrivals, (b"ab", b"cd"))
    assert (packet, mark) == (record_format.Packet(1, 9, 10**18, b"packet"), record_format.Marked(255, 1, 5, 6))


@given(st.data(), st.integers(2, 70), st.integers(0, 2**64 - 80), st.integers(0, 2**32 - 1))
def test_property_packets_of_any_sizes_come_back(data: st.DataObject, count: int, sequence: int, stamp: int) -> None:
    steps = data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=count - 1, max_size=count - 1))
    if data.draw(st.booleans()):
        steps = [steps[0]] * (count - 1)
    deltas = data.draw(st.lists(st.integers(0, record_format.MAX_DELTA), min_size=count - 1, max_size=count - 1))
    stamps, arrivals = [stamp], [10**18]
    for step, delta in zip(steps, deltas, strict=True):
        stamps.append((stamps[-1] + step) % 2**32)
        arrivals.append(arrivals[-1] + delta * record_format.DELTA_NS)
    whole = opus(
        sequence=sequence, timestamps=tuple(stamps), arrivals=tuple(arrivals),
        markers=tuple(data.draw(st.lists(st.booleans(), min_size=count, max_size=count))),
        payloads=tuple(data.draw(st.lists(st.binary(max_size=40), min_size=count, max_size=count))),
    )  # fmt: skip
    assert list(record_format.read([record_format.mixed(whole)])) == [whole]


def test_every_length_of_a_mixed_record_but_its_own_is_damaged() -> None:
    for steps in ((100, 1060, 2020), (100, 100, 3700)):
        body = record_format.mixed(opus(timestamps=steps))[record_format.HEAD :]
        for size in (*range(len(body)), len(body) + 1):
            with pytest.raises(Damaged):
                list(record_format.read([record_format.other(record_format.Kind.MIXED, body[:size].ljust(size, b"x"))]))


@given(st.binary(max_size=300))
def test_noise_is_records_or_damaged(noise: bytes) -> None:
    try:
        list(record_format.read([noise]))
    except Damaged:
        pass
    try:
        (found,) = record_format.read([record_format.other(record_format.Kind.MIXED, noise)])
    except Damaged:
        return
    assert isinstance(found, record_format.Mixed) and len(list(found.packets())) >= 2


def test_one_packet_is_no_mixed_record() -> None:
    data = bytearray(record_format.mixed(opus()))
    alone = data[record_format.HEAD : record_format.MIXED_HEAD] + b"\0" + b"\0\1" + b"a"
    alone[3] = 1
    with pytest.raises(Damaged):
        list(record_format.read([record_format.other(record_format.Kind.MIXED, bytes(alone))]))
    for count, payload_type in ((0, 111), (3, 239)):
        data[5], data[7] = payload_type, count
        with pytest.raises(Damaged):
            list(record_format.read([bytes(data)]))
