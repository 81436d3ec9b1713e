"""What is missing is marked in full: losses, outages, restarts; what a hold or pause explains is not."""

from dataclasses import replace
from typing import Any

import pytest

from media.rtp.sequence import Source
from media.spec import StreamSpec
from media.stream import gap_detection
from media.stream.gap_detection import NEVER
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from media.stream.reception import DEFAULT_PACKET_NS

MS = 1_000_000
BEGIN = 1_700_000_000_000_000_000
PAYLOADS = ((8, "PCMA", 8000), (13, "CN", 8000), (18, "G729", 8000), (4, "G723", 8000), (111, "opus", 48000))
SECOND = 1000  # in ms, as the stories count


class Heard:
    """A stream of which each packet is told one by one; numbers count from 1, 20 ms apart unless said."""

    def __init__(self) -> None:
        self.track = ReceivedStream(StreamSpec(0, payloads=PAYLOADS), Pauses(), 1)
        self.source = self.track._source(7, 1, BEGIN)
        for number in range(1, 11):
            self.hear(number)

    def hear(
        self, number: int, at: float | None = None, timestamp: int | None = None, kind: int = 8, size: int = 160,
        ssrc: int = 7,
    ) -> None:  # fmt: skip
        arrival = BEGIN + int((20 * number if at is None else at) * MS)
        timestamp = 160 * number if timestamp is None else timestamp
        header = (False, kind, number & 0xFFFF, timestamp, ssrc, 12, 12 + size)
        self.track._place(header, bytes(12 + size), arrival)

    def expected(self) -> "Heard":
        """Have media expected all the time, as a worker does."""
        self.track.gaps.since = BEGIN
        return self

    def finish(self, at: float) -> None:
        self.track.finish(BEGIN + int(at * MS))

    @property
    def told(self) -> list[tuple[float, float, str]]:
        return [((begin - BEGIN) / MS, (end - BEGIN) / MS, why) for begin, end, why in self.track.gaps.listed()]

    @property
    def gap_ms(self) -> float:
        return self.track.gaps.missing_ns / MS

    @property
    def reasons(self) -> set[str]:
        return {gap[2] for gap in self.track.gaps.listed()}


def test_a_loss_is_as_long_as_its_packets() -> None:
    heard = Heard()
    heard.hear(16)
    assert (heard.gap_ms, heard.reasons, heard.track.reception.totals()[0]) == (100, {"loss"}, 5)


def test_silence_of_the_sender_is_no_gap_and_no_loss() -> None:
    heard = Heard()
    heard.hear(11, at=20 * 150, timestamp=160 * 150)
    heard.hear(13, at=20 * 400, timestamp=160 * 400)
    assert (heard.gap_ms, heard.track.reception.totals()[0]) == (20, 1)


def test_longer_packets_are_counted_with_their_true_length() -> None:
    heard = Heard()
    for number in range(11, 20):
        heard.hear(number, at=200 + 60 * (number - 10), timestamp=1600 + 480 * (number - 10))
    before = heard.gap_ms
    heard.hear(25, at=200 + 60 * 15, timestamp=1600 + 480 * 15)
    assert heard.gap_ms - before == 5 * 60


def test_a_late_packet_fills_its_place_once() -> None:
    heard = Heard()
    heard.hear(14, at=280)
    heard.hear(12, at=281)
    heard.hear(12, at=282)
    assert (heard.gap_ms, heard.track.reception.totals()[0], heard.track.reception.duplicates) == (40, 2, 1)
    heard.hear(11, at=283)
    heard.hear(13, at=284)
    assert (heard.gap_ms, heard.track.reception.totals()[0], heard.track.gaps.listed()) == (0, 0, [])


def test_numbers_that_pass_during_a_hold_are_excused() -> None:
    heard = Heard()
    heard.track.forgive(BEGIN + 200 * MS, BEGIN + 1200 * MS)
    heard.hear(61, at=1220)
    assert (heard.gap_ms, heard.track.reception.totals()[0]) == (0, 0)


def test_a_loss_before_a_hold_is_not_excused_by_it() -> None:
    heard = Heard()
    heard.track.forgive(BEGIN + 1200 * MS, BEGIN + 1400 * MS)
    heard.hear(71, at=1420)  # 60 missing, 10 of them in the hold
    assert (heard.gap_ms, heard.track.reception.totals()[0]) == (50 * 20, 50)


@pytest.mark.parametrize(("missing", "lost"), [(1, 1), (10, 10), (24, 24), (30, 0), (50, 0), (53, 3)])
def test_a_loss_beside_a_hold_is_still_a_loss(missing: int, lost: int) -> None:
    """One second, fifty packets: a sender that counts through it misses about as many."""
    heard = Heard()
    heard.track.forgive(BEGIN + 300 * MS, BEGIN + 1300 * MS)
    heard.hear(11 + missing, at=1320, timestamp=160 * 66)
    assert (heard.gap_ms, heard.track.reception.totals()[0]) == (lost * 20, lost)


def test_half_a_long_hold_may_have_been_silence() -> None:
    """A speaker who is not sent and is silent in between: what he said is no loss of five seconds and more."""
    heard = Heard()
    heard.track.forgive(BEGIN + 220 * MS, BEGIN + 60_220 * MS)
    heard.hear(11 + 1000, at=60_240, timestamp=160 * 3012)
    assert (heard.gap_ms, heard.track.reception.totals()[0]) == (0, 0)


def test_two_holds_with_nothing_in_between_are_one() -> None:
    heard = Heard()
    heard.track.forgive(BEGIN + 200 * MS, BEGIN + 600 * MS)
    heard.track.forgive(BEGIN + 610 * MS, BEGIN + 1200 * MS)
    heard.hear(61, at=1220)
    assert heard.gap_ms == 0


def test_a_restart_over_a_hold_counts_what_lies_outside_of_it() -> None:
    heard = Heard()
    heard.track.forgive(BEGIN + 1000 * MS, BEGIN + 2000 * MS)
    heard.track.gaps.resumed_at, heard.track.gaps.kept = BEGIN + 3000 * MS, False
    heard.track.finish(BEGIN + 3000 * MS)
    assert (heard.gap_ms, heard.reasons) == (1000 - 200 + 1000, {"restart"})


@pytest.mark.parametrize(("clock", "lost"), [(110, 68), (70, 65), (1_000, 65)], ids=["stands", "counts", "anew"])
def test_a_restart_gap_includes_a_late_hold(clock: int, lost: int) -> None:
    """Numbers that stood still in a hold leave it nothing to explain, however short we saw it."""
    heard = Heard()
    heard.track.gaps.resumed_at, heard.track.gaps.kept = BEGIN + 2300 * MS, False
    heard.track.forgive(BEGIN + 2340 * MS, BEGIN + 2396 * MS)
    heard.hear(11 + 68, at=2440, timestamp=160 * (9 + clock))
    assert (heard.gap_ms, heard.reasons, heard.track.reception.totals()[0]) == (lost * 20, {"restart"}, lost)


def test_a_restart_with_all_sockets_kept_is_no_gap() -> None:
    heard = Heard()
    heard.track.gaps.resumed_at, heard.track.gaps.kept = BEGIN + 3000 * MS, True
    heard.track.finish(BEGIN + 3000 * MS)
    assert heard.gap_ms == 0


def test_numbers_missing_over_a_restart_are_its_fault() -> None:
    heard = Heard()
    heard.track.gaps.resumed_at, heard.track.gaps.kept = BEGIN + 900 * MS, False
    heard.hear(51, at=1020)
    heard.track.finish(BEGIN + 3000 * MS)
    assert (heard.gap_ms, heard.reasons) == (800, {"restart"})


def test_a_new_source_after_a_restart_leaves_a_gap() -> None:
    heard = Heard()
    heard.track.gaps.resumed_at, heard.track.gaps.kept = BEGIN + 900 * MS, False
    heard.track._place((False, 8, 5, 5, 9, 12, 172), bytes(172), BEGIN + 1000 * MS)
    assert (heard.gap_ms, heard.reasons) == (1000 - 220, {"restart"})


def test_an_outage_is_a_loss_but_a_jump_is_a_new_start() -> None:
    heard = Heard()
    heard.hear(4011)
    assert (heard.gap_ms, heard.track.reception.totals()[0]) == (80_000, 4000)
    heard.hear(30_000, at=4012 * 20)
    assert (heard.gap_ms, heard.track.reception.totals()[0]) == (80_000, 4000)


def test_a_source_without_a_step_counts_20_ms_a_packet() -> None:
    heard = Heard()
    assert heard.track.reception.packet_ns(Source(1, 1)) == DEFAULT_PACKET_NS


def test_an_earlier_packet_reveals_what_is_missing_before_it() -> None:
    heard = Heard()
    began = heard.track._source(9, 100, BEGIN)  # another source, whose first packets come in disorder

    def hear(number: int) -> None:
        header = (False, 8, number, 160 * number, 9, 12, 172)
        heard.track._place(header, bytes(172), BEGIN + 300 * MS)

    for number, gap, lost in ((100, 0, 0), (95, 80, 4), (97, 60, 3), (94, 60, 3), (98, 40, 2), (101, 40, 2)):
        hear(number)
        assert (heard.gap_ms, began.lost) == (gap, lost), number
    assert heard.reasons == {"loss"}


def test_a_stream_that_never_sends_is_one_gap() -> None:
    track = ReceivedStream(StreamSpec(0, payloads=PAYLOADS), Pauses(), 1)
    track.gaps.since = BEGIN
    track.finish(BEGIN + 4999 * MS)
    assert track.gaps.items == ()
    track.finish(BEGIN + 30 * SECOND * MS)
    assert track.gaps.listed() == [(BEGIN, BEGIN + 30 * SECOND * MS, "no media")]


def test_a_discontinuous_stream_has_no_silence_gap() -> None:
    track = ReceivedStream(StreamSpec(0, payloads=PAYLOADS, continuous=False), Pauses(), 1)
    track.gaps.since = BEGIN
    track.finish(BEGIN + 30 * SECOND * MS)
    assert track.gaps.items == ()


def test_a_stream_that_stops_is_a_gap_from_its_last_packet_on() -> None:
    heard = Heard().expected()
    heard.finish(20 * SECOND)
    assert heard.told == [(220, 20 * SECOND, "no media")]


def test_a_silence_that_the_rtp_clock_explains_is_taken_back() -> None:
    heard = Heard().expected()
    heard.hear(11, at=20 * SECOND, timestamp=160 * 1000)
    assert heard.told == []
    heard.hear(12, at=60 * SECOND, timestamp=160 * 1001)  # its clock stood: nothing says that it was silent
    assert heard.told == [(20 * SECOND + 20, 60 * SECOND, "no media")]


def test_numbers_tell_more_of_a_silence_than_the_time() -> None:
    heard = Heard().expected()
    heard.hear(1011)  # 20 s are missing by numbers and by clock
    assert heard.told == [(220, 20 * 1011, "loss")] and heard.gap_ms == 20 * SECOND


def test_an_outage_of_half_a_number_cycle_is_missing() -> None:
    heard = Heard().expected()
    heard.hear(10 + 40_000)
    assert (heard.gap_ms, heard.reasons) == (20 * 39_999, {"no media"})


def test_repetitions_in_a_silence_do_not_count_it_again() -> None:
    heard = Heard().expected()
    for at in (6200, 6220, 6240):
        heard.hear(10, at=at)
    heard.hear(11, at=6300)
    assert (heard.track.reception.duplicates, heard.gap_ms, heard.told) == (3, 6080, [(220, 6300, "no media")])


def test_another_source_does_not_explain_a_silence() -> None:
    heard = Heard().expected()
    heard.hear(5, at=20 * SECOND, ssrc=9)
    assert heard.told == [(220, 20 * SECOND, "no media")]


@pytest.mark.parametrize(("kind", "size"), [(13, 1), (18, 2), (18, 22), (4, 4), (4, 28), (111, 1)])
def test_who_announces_silence_may_be_silent(kind: int, size: int) -> None:
    heard = Heard().expected()
    heard.hear(11, kind=kind, size=size)
    heard.finish(3600 * SECOND)
    assert heard.told == []


@pytest.mark.parametrize(("kind", "size"), [(8, 160), (18, 20), (4, 24), (4, 20), (111, 60)])
def test_who_does_not_announce_silence_is_missed(kind: int, size: int) -> None:
    heard = Heard().expected()
    heard.hear(11, kind=kind, size=size)
    heard.finish(3600 * SECOND)
    assert [why for _, _, why in heard.told] == ["no media"]


def test_reports_of_a_silent_sender_explain_its_silence() -> None:
    heard = Heard().expected()
    for at in range(5, 60, 5):
        heard.track.gaps.silent(7, BEGIN + at * SECOND * MS)
    heard.track.gaps.silent(8, BEGIN + 90 * SECOND * MS)  # somebody else's
    heard.finish(58 * SECOND)
    assert heard.told == []
    heard.finish(100 * SECOND)
    assert heard.told == [(55 * SECOND, 100 * SECOND, "no media")]


def test_the_silence_before_a_hold_counts_and_the_hold_does_not() -> None:
    heard = Heard().expected()
    for begin, end in ((10, 20), (40, 50)):
        heard.track.forgive(BEGIN + begin * SECOND * MS, gap_detection.NEVER)
        heard.finish(15 * SECOND)  # as often as it is asked
        heard.track.forgive(BEGIN + begin * SECOND * MS, BEGIN + end * SECOND * MS)
    heard.finish(60 * SECOND)
    assert heard.told == [
        (220, 10 * SECOND, "no media"), (20 * SECOND, 40 * SECOND, "no media"), (50 * SECOND, 60 * SECOND, "no media"),
    ]  # fmt: skip
    assert heard.gap_ms == 40 * SECOND - 220


def test_packets_queued_in_the_socket_cancel_a_silence() -> None:
    heard = Heard().expected()
    heard.track.forgive(BEGIN + 10 * SECOND * MS, gap_detection.NEVER)  # nothing was drained for 10 s
    for number in range(11, 500):
        heard.hear(number)
    assert heard.told == []


def test_a_silence_over_a_restart_is_counted_once() -> None:
    heard = Heard().expected()
    heard.track.gaps.resumed_at, heard.track.gaps.kept = BEGIN + 10 * SECOND * MS, False
    heard.track.gaps.since = heard.track.gaps.resumed_at
    heard.finish(30 * SECOND)
    assert heard.told == [(200, 10 * SECOND, "restart"), (10 * SECOND, 30 * SECOND, "no media")]


def taken_over(*, kept: bool = False, since: int = 0, **more: Any) -> Heard:
    """Give a stream of which nothing was heard until a successor takes it over after a second."""
    one = Heard.__new__(Heard)
    one.track = ReceivedStream(StreamSpec(0, payloads=PAYLOADS, **more), Pauses(), 1)
    one.track.gaps.since = NEVER if one.track.gaps.excused_until == NEVER else BEGIN + since * MS
    one.track.resume(BEGIN + SECOND * MS, kept)
    return one


@pytest.mark.parametrize(("number", "until"), [(48, 960), (51, 1020), (200, 1120)])
def test_a_restart_gap_lasts_until_the_first_packet(number: int, until: float) -> None:
    """Or until the sockets were there, if it had nothing to say for longer."""
    one = taken_over()
    one.hear(number)
    one.hear(number + 1)
    assert one.told == [(0, until, "restart")]


def test_a_restart_gap_starts_when_media_were_expected() -> None:
    one = taken_over(since=900)
    one.hear(51)
    assert one.told == [(900, 1020, "restart")]


@pytest.mark.parametrize(("heard", "silent"), [(15, 13), (6, None), (0, None)])
def test_a_silence_is_no_restart_gap_while_others_were_heard(heard: int, silent: int | None) -> None:
    one = taken_over(kept=True)
    one.track.resume(BEGIN + 20 * SECOND * MS, False, heard and BEGIN + heard * SECOND * MS)
    one.hear(1_001)
    since = (silent or max(0, heard - 2)) * SECOND
    assert one.told == [*[(0, since, "no media")] * bool(silent), (since, 20 * SECOND + 20, "restart")]


def test_a_successor_with_all_sockets_knows_the_earlier_outage() -> None:
    one = taken_over()
    one.track.resume(BEGIN + 4 * SECOND * MS, True)
    one.hear(201)
    assert one.told == [(0, 1120, "restart")]


def test_a_restart_is_no_gap_for_a_stream_that_lost_nothing() -> None:
    kept, held, slides, silent = (
        taken_over(kept=True), taken_over(held=True), taken_over(continuous=False), taken_over(),
    )  # fmt: skip
    for one in (kept, held, slides):
        one.hear(51)
    silent.finish(4 * SECOND)
    assert [one.told for one in (kept, held, slides, silent)] == [[], [], [], []]
    never = taken_over()
    never.finish(30 * SECOND)
    assert never.told == [(0, 30 * SECOND, "no media")]


def test_a_report_of_nothing_sent_explains_the_time_before() -> None:
    one = taken_over()
    one.track.gaps.silent(7, BEGIN + 1010 * MS)
    one.hear(51)
    assert one.told == []


@pytest.mark.parametrize("paused", [True, False])
def test_a_successor_applies_a_hold_its_predecessor_missed(paused: bool) -> None:
    heard = Heard().expected()
    heard.track.spec = replace(heard.track.spec, held=not paused)
    heard.track.pauses.items = [(BEGIN + 400 * MS, None)] if paused else []
    heard.track.resume(BEGIN + 600 * MS, True)
    begin = 400 if paused else 600
    assert (heard.track.gaps.excused_from, heard.track.gaps.excused_until) == (BEGIN + begin * MS, NEVER)
    heard.track.spec = replace(heard.track.spec, held=False, since=BEGIN + 900 * MS)
    heard.track.pauses.items = []
    heard.track.resume(BEGIN + 1200 * MS, True)
    assert heard.track.gaps.excused_until == heard.track.gaps.since == BEGIN + 900 * MS


def test_most_of_a_loss_failed_to_authenticate() -> None:
    heard = Heard()
    for missing, refused, why in ((10, 5, "decrypt failure"), (10, 4, "loss"), (1, 1, "decrypt failure")):
        before = heard.source.highest
        for n in range(refused):
            header = bytes(8) + (7).to_bytes(4)
            heard.track.gaps.unopened(header, BEGIN + (20 * (before + 1 + n)) * MS)
        heard.hear(before + missing + 1)
        assert heard.told[-1][2] == why, (missing, refused)
        heard.hear(heard.source.highest + 2)
        assert heard.told[-1][2] == "loss"  # which has nothing to do with what failed before
