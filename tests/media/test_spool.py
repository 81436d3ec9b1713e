"""The newest whole slot counts, whatever a kill left of the one being written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import spool
from media.errors import Damaged


class File:
    """A spool in memory; `most` bytes of each write arrive."""

    def __init__(self) -> None:
        self.data = bytearray(spool.FIRST + 2 * spool.SLOT)

    def read(self, at: int, length: int) -> bytes:
        return bytes(self.data[at : at + length])

    def write(self, data: bytes, at: int, most: int | None = None) -> None:
        data = data[:most]
        self.data[at : at + len(data)] = data

    def base(self, number: int, most: int | None = None) -> None:
        self.write(spool.pack_base(number, head(number), b"state%d" % number), spool.middle(number), most)

    def slot(self, generation: int, base: int, most: int | None = None) -> int:
        """Write a slot and give its length."""
        rest = remainder(generation)
        data = rest + spool.pack_end(
            generation, 4096 * generation, base, 3, False, b"moved%d" % generation, len(rest)
        )  # fmt: skip
        self.write(data, spool.middle(generation) - len(data), most)
        return len(data)


def head(number: int) -> bytes:
    return b'{"parts":[%d]}' % number


def remainder(generation: int) -> bytes:
    return b"rest of %d" % generation * (1 + generation % 5)


def expected(generation: int, base: int) -> spool.Slot:
    return spool.Slot(
        generation, 4096 * generation, 3, False, base, head(base), b"state%d" % base, b"moved%d" % generation,
        remainder(generation),
    )  # fmt: skip


def written(last: int) -> File:
    """Give a file of `last` slots on one base."""
    file = File()
    file.base(1)
    for generation in range(1, last + 1):
        file.slot(generation, 1)
    return file


def test_an_empty_file_has_no_slot() -> None:
    assert spool.newest(File().read) is None
    assert spool.newest(lambda _at, _length: b"") is None


def test_the_newest_slot_counts_with_the_base_it_names() -> None:
    file = written(7)
    assert spool.newest(file.read) == expected(7, 1)
    file.base(2)
    assert spool.newest(file.read) == expected(7, 1)
    file.slot(8, 2)
    assert spool.newest(file.read) == expected(8, 2)


def test_a_slot_that_a_kill_cut_anywhere_leaves_the_one_before() -> None:
    length = written(7).slot(8, 1)
    for most in range(length):
        file = written(7)
        file.slot(8, 1, most)
        assert spool.newest(file.read) == expected(7, 1)


def test_a_base_that_a_kill_cut_anywhere_leaves_slot_and_base_before() -> None:
    file = written(7)
    file.base(2)
    file.slot(8, 2)
    for most in range(len(spool.pack_base(3, head(3), b"state3"))):
        file.base(3, most)
        assert spool.newest(file.read) == expected(8, 2)


def test_a_slot_whose_base_is_not_there_does_not_count() -> None:
    for number in (2, 3):  # at the place of 3 lies 1
        file = written(7)
        file.slot(8, number)
        assert spool.newest(file.read) == expected(7, 1)


def test_any_byte_of_a_base_that_is_wrong_is_noticed() -> None:
    file = written(7)
    file.base(2)
    file.slot(8, 2)
    for at in range(spool.middle(2), spool.middle(2) + len(spool.pack_base(2, head(2), b"state2"))):
        file.data[at] ^= 1
        assert spool.newest(file.read) == expected(7, 1)
        file.data[at] ^= 1
    assert spool.newest(file.read) == expected(8, 2)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(Damaged):
        spool.pack_end(1, 0, 1, 1, False, b"", spool.SLOT)
    with pytest.raises(Damaged):
        spool.pack_base(1, b"", bytes(spool.SLOT))


def test_any_byte_of_an_end_that_is_wrong_is_noticed() -> None:
    file = written(7)
    end = len(spool.pack_end(7, 0, 1, 3, False, b"moved7", 0))
    for at in range(spool.middle(7) - end, spool.middle(7)):
        file.data[at] ^= 1
        assert spool.newest(file.read) == expected(6, 1)
        file.data[at] ^= 1
    assert spool.newest(file.read) == expected(7, 1)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_noise_is_no_slot(one: bytes, two: bytes) -> None:
    noise = {spool.middle(place) - len(data): data for place, data in enumerate((one, two))}

    def read(at: int, length: int) -> bytes:
        for begin, data in noise.items():
            if begin <= at < begin + len(data):
                return data[at - begin : at - begin + length]
        return b""

    assert spool.newest(read) is None
