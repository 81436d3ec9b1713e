"""The newest whole slot counts, whatever a kill left of the other."""

from hypothesis import given
from hypothesis import strategies as st

from media import spool


def slot(generation: int) -> spool.Slot:
    return spool.Slot(generation, 4096 * generation, 3, False, b"{}", b"state", b"rest")


def test_the_newest_counts_and_a_torn_one_does_not() -> None:
    old, new = spool.pack(slot(6)), spool.pack(slot(7))
    assert spool.newest(old, new) == slot(7)
    assert spool.offset(6) != spool.offset(7)
    for end in range(len(new)):
        assert spool.newest(old, new[:end]) == slot(6)
        assert spool.newest(old, new[:end] + bytes([new[end] ^ 1]) + new[end + 1 :]) == slot(6)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_noise_is_no_slot(one: bytes, two: bytes) -> None:
    assert spool.newest(one, two) is None
    assert spool.length(one) <= spool.SLOT
