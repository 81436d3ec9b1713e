"""Grouping packets into records loses nothing and mixes nothing."""

from hypothesis import given
from hypothesis import strategies as st

from media import records, rtp
from media.grouping import MAX_PAUSE, MAX_RUN, Item, group

AT = 1_700_000_000_000_000_000


def item(number: int, arrival: int, payload: bytes, kind: int = 8, ssrc: int = 7, marker: bool = False) -> Item:
    packet = rtp.build(kind, number, number * 160, ssrc, payload, marker)
    return number, arrival, rtp.parse(packet), packet


def packets(found: list[records.Record]) -> list[tuple[int, bytes]]:
    out = []
    for record in found:
        if isinstance(record, records.Run):
            out += [(number, packet) for number, _, packet in record.packets()]
        elif isinstance(record, records.Packet):
            out.append((record.sequence, record.packet))
    return out


@given(
    st.lists(
        st.tuples(
            st.integers(1, 40), st.integers(-5, 60), st.integers(0, 3), st.sampled_from((8, 0, 101)),
            st.sampled_from((7, 9)), st.booleans(),
        ),
        max_size=60,
    )
)  # fmt: skip
def test_property_what_goes_in_comes_out_in_order(raw: list[tuple[int, int, int, int, int, bool]]) -> None:
    arrival, items = AT, []
    for number, delta, size, kind, ssrc, marker in raw:
        arrival += delta * 1_000_000
        items.append(item(number, arrival, bytes([number]) * size, kind, ssrc, marker))
    found = list(records.read(group(3, items)))
    assert packets(found) == [(each[0], each[3]) for each in items]
    assert all(record.stream == 3 for record in found if isinstance(record, records.Run | records.Packet))


def test_an_even_row_is_one_run_until_it_is_too_long_or_pauses() -> None:
    items = [item(n, AT + n * 20_000_000, bytes(160)) for n in range(MAX_RUN + 5)]
    assert len(list(group(0, items))) == 2
    late = [*items[:5], *(item(n, AT + n * 20_000_000 + MAX_PAUSE, bytes(160)) for n in range(5, 9))]
    assert len(list(group(0, late))) == 2
