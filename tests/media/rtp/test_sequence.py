"""Order, loss and duplicates of one source."""

from media.rtp.sequence import WINDOW, Source, Verdict


def fed(*numbers: int) -> tuple[Source, list[Verdict]]:
    source = Source(1, numbers[0])
    return source, [source.accept(source.extend(number)) for number in numbers]


def test_a_late_packet_reduces_the_loss() -> None:
    source, verdicts = fed(10, 11, 14, 12, 12)
    assert verdicts == [Verdict.NEXT, Verdict.NEXT, Verdict.NEXT, Verdict.LATE, Verdict.DUPLICATE]
    assert (source.lost, source.received) == (1, 4)


def test_numbers_go_on_over_a_wrap() -> None:
    """Duty T1."""
    source, _ = fed(65534, 65535, 0, 1)
    assert (source.highest, source.lost) == (65537, 0)


def test_numbers_missing_within_the_window_are_awaited() -> None:
    source, _ = fed(100, 102, 100 + WINDOW)
    assert [source.accept(number) for number in (100, 103, 103)] == [Verdict.OLD, Verdict.LATE, Verdict.DUPLICATE]
    source, _ = fed(100, 102, 100 + WINDOW)
    assert [source.awaits(number) for number in (100, 101, 102, 103, 100 + WINDOW, 101 + WINDOW)] == [
        False, True, False, True, False, False,
    ]  # fmt: skip


def test_an_advance_equals_single_packets() -> None:
    one, _ = fed(*range(100, 1200))
    other, _ = fed(100)
    other.advance(1099, 0, 160, 0)
    assert (one.highest, one.window, one.received) == (other.highest, other.window, other.received)


def test_a_sender_that_starts_anew_keeps_what_was_lost() -> None:
    source, _ = fed(10, 13)
    assert source.jumped(source.extend(30000))
    assert source.accept(source.restart(30000)) is Verdict.NEXT
    assert (source.lost, source.highest) == (2, 65536 + 30000)
