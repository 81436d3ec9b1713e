"""The newest whole slot counts, whatever a kill left of the one being written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.errors import Damaged
from media.records import commit_slots

KEY, NONCES = b"k" * commit_slots.KEY, commit_slots.Nonces(b"n" * commit_slots.KEY)
CIPHER = commit_slots.cipher_of(KEY)


class File:
    """A spool in memory; `most` bytes of each write arrive."""

    def __init__(self) -> None:
        self.data = bytearray(commit_slots.FIRST + 2 * commit_slots.SLOT)

    def read(self, at: int, length: int) -> bytes:
        return bytes(self.data[at : at + length])

    def write(self, data: bytes, at: int, most: int | None = None) -> None:
        data = data[:most]
        self.data[at : at + len(data)] = data

    def base(self, number: int, most: int | None = None) -> None:
        self.write(
            commit_slots.pack_base(CIPHER, NONCES, number, head(number), b"state%d" % number),
            commit_slots.middle(number),
            most,
        )

    def slot(self, generation: int, base: int, most: int | None = None) -> int:
        """Write a slot and give its length."""
        data = slot(generation, base)
        self.write(data, commit_slots.middle(generation) - len(data), most)
        return len(data)


def head(number: int) -> bytes:
    return b'{"parts":[%d]}' % number


def remainder(generation: int) -> bytes:
    return b"rest of %d" % generation * (1 + generation % 5)


def slot(generation: int, base: int, nonces: commit_slots.Nonces = NONCES) -> bytes:
    rest = remainder(generation)
    return commit_slots.pack_slot(
        CIPHER, nonces, generation, 4096 * generation, base, 3, False, b"moved%d" % generation, [rest[:5], rest[5:]]
    )  # fmt: skip


def expected(generation: int, base: int) -> commit_slots.Slot:
    return commit_slots.Slot(
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


def test_the_newest_slot_counts_with_the_base_it_names() -> None:
    assert commit_slots.newest(File().read, KEY) is None
    assert commit_slots.newest(lambda _at, _length: b"", KEY) is None
    file = written(7)
    assert commit_slots.newest(file.read, KEY) == expected(7, 1)
    file.base(2)
    assert commit_slots.newest(file.read, KEY) == expected(7, 1)
    file.slot(8, 2)
    assert commit_slots.newest(file.read, KEY) == expected(8, 2)


def test_a_slot_that_a_kill_cut_anywhere_leaves_the_one_before() -> None:
    length = written(7).slot(8, 1)
    for most in range(length - 4):  # the last four are those of the slot that lay there
        file = written(7)
        file.slot(8, 1, most)
        assert commit_slots.newest(file.read, KEY) == expected(7, 1)


def test_a_slot_whose_base_is_not_there_does_not_count() -> None:
    for number in (2, 3):  # at the place of 3 lies 1
        file = written(7)
        file.slot(8, number)
        assert commit_slots.newest(file.read, KEY) == expected(7, 1)


def test_any_wrong_byte_of_a_slot_or_its_base_is_noticed() -> None:
    file = written(7)
    file.base(2)
    length = file.slot(8, 2)
    base = len(commit_slots.pack_base(CIPHER, NONCES, 2, head(2), b"state2"))
    for at in (
        *range(commit_slots.middle(2), commit_slots.middle(2) + base),
        *range(commit_slots.middle(8) - length, commit_slots.middle(8)),
    ):
        file.data[at] ^= 1
        assert commit_slots.newest(file.read, KEY) == expected(7, 1)
        file.data[at] ^= 1
    assert commit_slots.newest(file.read, KEY) == expected(8, 2)


def test_an_oversized_slot_or_base_is_refused() -> None:
    with pytest.raises(Damaged):
        commit_slots.pack_slot(CIPHER, NONCES, 1, 0, 1, 1, False, b"", [bytes(commit_slots.SLOT)])
    with pytest.raises(Damaged):
        commit_slots.pack_base(CIPHER, NONCES, 1, b"", bytes(commit_slots.SLOT))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_noise_is_no_slot(one: bytes, two: bytes) -> None:
    noise = {commit_slots.middle(place) - len(data): data for place, data in enumerate((one, two))}

    def read(at: int, length: int) -> bytes:
        for begin, data in noise.items():
            if begin <= at < begin + len(data):
                return data[at - begin : at - begin + length]
        return b""

    assert commit_slots.newest(read, KEY) is None


def test_a_commit_slot_cannot_be_read_without_its_key() -> None:
    file = written(7)
    assert commit_slots.newest(file.read, b"o" * commit_slots.KEY) is None
    assert not any(word in file.data for word in (b"rest of", b"moved", b"state", b"parts"))
    assert commit_slots.remainder_of(CIPHER, slot(7, 1)) == remainder(7)
    for wrong in (slot(7, 1)[:-1], slot(7, 1)[1:], b"", bytes(200)):
        with pytest.raises(Damaged):
            commit_slots.remainder_of(CIPHER, wrong)


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 3)), max_size=30), st.binary(min_size=32, max_size=32))
def test_a_nonce_never_comes_back_for_anything_else(slots: list[tuple[bytes, int]], key: bytes) -> None:
    """Though a machine restored from a snapshot has the same secret, generation, clock and random numbers again."""
    before: dict[bytes, tuple[bytes, int]] = {}
    for rest, committed in slots:
        nonces = commit_slots.Nonces(key)
        sealed = commit_slots.pack_slot(CIPHER, nonces, 7, committed, 1, 3, False, b"", [rest])
        nonce = sealed[len(rest) + commit_slots.TAG :][: commit_slots.NONCE]
        assert before.setdefault(nonce, (rest, committed)) == (rest, committed)


def test_each_process_has_nonces_of_its_own() -> None:
    assert slot(7, 1) == slot(7, 1) != slot(7, 1, commit_slots.Nonces(b"m" * commit_slots.KEY))
