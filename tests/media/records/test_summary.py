"""What can be said of a recording without a worker's counters."""

from media.records import record_format
from media.records.summary import MAX_SOURCES, Summary
from tests.in_process.rendered_calls import MS, START, run, single


def summed(*stored: bytes) -> Summary:
    summary = Summary()
    for record in record_format.read(stored):
        summary.add(record)
    return summary


def ten(first: int, at: float = 0, **more: int) -> bytes:
    """Make ten packets in a row, from this number on."""
    return run([b"x"] * 10, seq=first, at=at, **more)


def test_loss_is_counted_between_first_and_last_packet() -> None:
    assert (summed(b"").figures(0), summed(b"").last_ns()) == ({"packets": 0, "lost": 0, "gap_ms": 0}, None)
    summary = summed(ten(100), ten(120, at=400))
    assert summary.figures(0) == {"packets": 20, "lost": 10, "gap_ms": 200}
    assert summary.last_ns() == START + 400 * MS


def test_packets_of_different_sizes_count_as_many() -> None:
    arrivals = tuple(START + 20_000_000 * n for n in range(3))
    stored = record_format.mixed(
        record_format.Mixed(0, 111, 7, 100, (False,) * 3, (0, 960, 1920), arrivals, (b"a", b"bb", b"c"))
    )
    assert summed(stored).figures(0) == {"packets": 3, "lost": 0, "gap_ms": 0}
    assert summed(stored + single(b"x", seq=104, ts=0, at=80)).figures(0)["lost"] == 1


def test_parts_in_any_order_and_sources_apart() -> None:
    summary = summed(ten(110, at=200), ten(100), single(b"x", ssrc=8, seq=5), single(b"x", stream=1, seq=5))
    assert summary.figures(0) == {"packets": 21, "lost": 0, "gap_ms": 0}
    assert summary.figures(1)["packets"] == 1


def test_a_flood_of_sources_is_not_remembered() -> None:
    flood = summed(*(single(b"x", ssrc=ssrc) for ssrc in range(MAX_SOURCES + 10)))
    assert flood.figures(0)["packets"] == MAX_SOURCES
