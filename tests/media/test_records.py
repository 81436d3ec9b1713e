"""Records survive the way out and back; nothing a reader meets makes it fail otherwise than documented."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import records
from media.errors import Damaged


def test_every_kind_comes_back() -> None:
    run = records.Run(3, True, 8, 7, 160, 65530, 1000, (10**18, 10**18 + 20_000_000), (b"a" * 160, b"b" * 160))
    data = (
        records.run(run)
        + records.packet(1, 9, 10**18, b"packet")
        + records.mark(255, records.Mark.PAUSE, 5, 6)
        + records.pad(100)
        + records.rtcp(2, 7, b"compound")
        + records.other(16, b"{}")
    )
    expected = [
        run,
        records.Packet(1, 9, 10**18, b"packet"),
        records.Marked(255, 1, 5, 6),
        records.Rtcp(2, 7, b"compound"),
    ]
    assert list(records.read([data])) == [*expected, records.Other(16, b"{}")]
    assert list(records.read([data[i : i + 1] for i in range(len(data))])) == [*expected, records.Other(16, b"{}")]


def test_a_record_cut_by_the_end_of_its_part_is_void() -> None:
    whole = records.mark(0, records.Mark.END, 1)
    data = whole + records.packet(0, 1, 1, b"x" * 50)
    for end in range(len(whole), len(data)):
        assert len(list(records.read([data[:end]]))) == 1
        assert records.last_start(data, end) == len(whole)


@given(st.binary(max_size=300))
def test_noise_is_records_or_damaged(noise: bytes) -> None:
    try:
        list(records.read([noise]))
    except Damaged:
        pass


def test_a_run_that_contradicts_itself_is_damaged() -> None:
    data = bytearray(records.run(records.Run(0, False, 8, 7, 160, 1, 1, (1, 2), (b"a" * 16, b"b" * 16))))
    data[7] += 1  # the count
    with pytest.raises(Damaged):
        list(records.read([bytes(data)]))
