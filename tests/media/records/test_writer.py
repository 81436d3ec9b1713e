"""Grouping packets into records loses nothing and mixes nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.records import record_format
from media.records.writer import MAX_PAUSE, MAX_RUN, Item, group
from media.rtp import header

AT = 1_700_000_000_000_000_000


TICK = 20_000_000


def item(
    number: int, arrival: int, payload: bytes, kind: int = 8, ssrc: int = 7, marker: bool = False, moved: int = 0
) -> Item:
    packet = header.build(kind, number, (number * 160 + moved) & 0xFFFFFFFF, ssrc, payload, marker)
    return number, arrival, header.parse(packet), packet


def packets(found: list[record_format.Record]) -> list[tuple[int, bytes]]:
    out = []
    for record in found:
        if isinstance(record, record_format.Run):
            out += [(number, packet) for number, _, packet in record.packets()]
        elif isinstance(record, record_format.Packet):
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
    found = list(record_format.read(group(3, items)))
    assert packets(found) == [(each[0], each[3]) for each in items]
    assert all(record.stream == 3 for record in found if isinstance(record, record_format.Run | record_format.Packet))


def test_an_even_row_is_one_run_until_it_is_too_long_or_pauses() -> None:
    items = [item(n, AT + n * 20_000_000, bytes(160)) for n in range(MAX_RUN + 5)]
    assert len(list(group(0, items))) == 2
    late = [*items[:5], *(item(n, AT + n * 20_000_000 + MAX_PAUSE, bytes(160)) for n in range(5, 9))]
    assert len(list(group(0, late))) == 2
    assert [len(list(group(0, items[:count]))) for count in (1, MAX_RUN, MAX_RUN + 1)] == [1, 1, 2]


def even(count: int) -> list[Item]:
    return [item(n, AT + n * TICK, bytes([n]) * 160) for n in range(count)]


def with_padding(item: Item) -> Item:
    packet = bytes([item[3][0] | 0x20]) + item[3][1:-1] + b"\1"
    return item[0], item[1], header.parse(packet), packet


ODD = {
    "a gap": item(4, AT + 3 * TICK, bytes(160), moved=-160),
    "a shorter packet": item(3, AT + 3 * TICK, bytes(80)),
    "a marker": item(3, AT + 3 * TICK, bytes(160), marker=True),
    "another payload type": item(3, AT + 3 * TICK, bytes(160), kind=0),
    "another source": item(3, AT + 3 * TICK, bytes(160), ssrc=9),
    "another step": item(3, AT + 3 * TICK, bytes(160), moved=160),
    "a timestamp that goes back by half a round": item(3, AT + 3 * TICK, bytes(160), moved=1 << 31),
    "a clock that was set back": item(3, AT + 2 * TICK - 1, bytes(160)),
    "a pause that no delta holds": item(3, AT + 2 * TICK + MAX_PAUSE + 1, bytes(160)),
    "padding": with_padding(item(3, AT + 3 * TICK, bytes(160))),
}
ROWS = {
    **{name: [*even(3), odd] for name, odd in ODD.items()},
    "another second step": [*even(2), item(2, AT + 2 * TICK, bytes(160), moved=80)],
    "what follows padding": [with_padding(item(0, AT, bytes(160))), item(1, AT + TICK, bytes(160))],
}


@pytest.mark.parametrize("items", ROWS.values(), ids=ROWS)
def test_an_irregular_packet_begins_another_record(items: list[Item]) -> None:
    found = list(group(0, items))
    assert len(found) == 2
    assert packets(list(record_format.read(found))) == [(each[0], each[3]) for each in items]
