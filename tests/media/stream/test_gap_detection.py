"""What is missing is marked in full: losses, outages, restarts; what a hold or pause explains is not."""

from dataclasses import replace
from typing import Any

import pytest

from media.rtp import header
from media.stream.gap_detection import NEVER
from tests.media.stream.lanes import receive, track_of

MS = 1_000_000
BEGIN = 1_700_000_000_000_000_000
PAYLOADS = ((8, "PCMA", 8000), (13, "CN", 8000), (18, "G729", 8000), (4, "G723", 8000), (111, "opus", 48000))
SECOND = 1000  # in ms, as the stories count


class Heard:
    """A stream that hears each packet alone; numbers count from 1, 20 ms apart unless said otherwise."""

    def __init__(self, packets: int = 10, **more: Any) -> None:
        self.track = track_of(pure=True, payloads=PAYLOADS, **more)
        for number in range(1, packets + 1):
            self.hear(number)

    def hear(
        self, number: int, at: float | None = None, timestamp: int | None = None, kind: int = 8, size: int = 160,
        ssrc: int = 7,
    ) -> None:  # fmt: skip
        arrival = BEGIN + int((20 * number if at is None else at) * MS)
        timestamp = 160 * number if timestamp is None else timestamp
        receive(self.track, [header.build(kind, number, timestamp, ssrc, bytes(size))], arrivals=[arrival])

    def expected(self) -> "Heard":
        """Have media expected all the time, as a worker does."""
        self.track.gaps.since = BEGIN
        return self

    def forgive(self, begin: float, end: float) -> None:
        self.track.forgive(BEGIN + int(begin * MS), NEVER if end == NEVER else BEGIN + int(end * MS))

    def resumed(self, at: float, *, kept: bool = False) -> None:
        self.track.gaps.resumed_at, self.track.gaps.kept = BEGIN + int(at * MS), kept

    def finish(self, at: float) -> None:
        self.track.finish(BEGIN + int(at * MS))

    @property
    def listed(self) -> list[tuple[float, float, str]]:
        return [((begin - BEGIN) / MS, (end - BEGIN) / MS, why) for begin, end, why in self.track.gaps.listed()]

    @property
    def gap_ms(self) -> float:
        return self.track.gaps.missing_ns / MS

    @property
    def lost(self) -> int:
        return self.track.reception.totals()[0]

    @property
    def reasons(self) -> set[str]:
        return {gap[2] for gap in self.track.gaps.listed()}


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
    assert (heard.gap_ms, heard.lost, heard.track.reception.duplicates) == (40, 2, 1)
    heard.hear(11, at=283)
    heard.hear(13, at=284)
    assert (heard.gap_ms, heard.lost, heard.track.gaps.listed()) == (0, 0, [])


@pytest.mark.parametrize(
    ("holds", "number", "at", "clock", "lost"),
    [
        ([], 16, 320, 16, 5),
        ([], 11, 3000, 150, 0),  # the sender was silent
        ([(200, 1200)], 61, 1220, 61, 0),  # it counted through the hold
        ([(1200, 1400)], 71, 1420, 71, 50),  # 60 are missing, 10 of them in the hold
        ([(200, 600), (610, 1200)], 61, 1220, 61, 0),  # two holds with nothing in between
        ([(220, 60_220)], 1011, 60_240, 3012, 0),  # half of a long hold may have been silence
        *([([(300, 1300)], 11 + n, 1320, 66, lost) for n, lost in ((1, 1), (24, 24), (30, 0), (50, 0), (53, 3))]),
    ],
)
def test_a_hold_explains_what_is_missing_in_it_alone(
    holds: list[tuple[int, int]], number: int, at: int, clock: int, lost: int
) -> None:
    """One second, fifty packets: a sender that counts through a hold misses about as many."""
    heard = Heard()
    for begin, end in holds:
        heard.forgive(begin, end)
    heard.hear(number, at=at, timestamp=160 * clock)
    assert (heard.gap_ms, heard.lost) == (lost * 20, lost)
    assert heard.reasons == ({"loss"} if lost else set())


@pytest.mark.parametrize(
    ("resumed", "kept", "hold", "heard_again", "gap_ms"),
    [(3000, True, None, None, 0), (3000, False, (1000, 2000), None, 1800), (900, False, None, 51, 800)],
    ids=["all sockets were kept", "what lies outside of a hold", "numbers are missing"],
)
def test_a_restart_costs_the_time_without_sockets(
    resumed: int, kept: bool, hold: tuple[int, int] | None, heard_again: int | None, gap_ms: int
) -> None:
    heard = Heard()
    if hold:
        heard.forgive(*hold)
    heard.resumed(resumed, kept=kept)
    if heard_again:
        heard.hear(heard_again)
    heard.finish(3000)
    assert (heard.gap_ms, heard.reasons) == (gap_ms, {"restart"} if gap_ms else set())


@pytest.mark.parametrize(("clock", "lost"), [(110, 68), (70, 65), (1_000, 65)], ids=["stands", "counts", "anew"])
def test_a_restart_gap_includes_a_late_hold(clock: int, lost: int) -> None:
    """Numbers that stood still in a hold leave it nothing to explain, however short we saw it."""
    heard = Heard()
    heard.resumed(2300)
    heard.forgive(2340, 2396)
    for n in (0, 1):
        heard.hear(11 + 68 + n, at=2440 + 20 * n, timestamp=160 * (9 + clock + n))
    assert (heard.gap_ms, heard.reasons, heard.lost) == (lost * 20, {"restart"}, lost)


def test_a_new_source_after_a_restart_leaves_a_gap() -> None:
    heard = Heard()
    heard.resumed(900)
    heard.hear(5, at=1000, ssrc=9)
    assert (heard.gap_ms, heard.reasons) == (1000 - 220, {"restart"})


def test_an_outage_is_a_loss_but_a_jump_is_a_new_start() -> None:
    heard = Heard()
    for number, at in ((4011, 80_220), (30_000, 80_240), (30_001, 80_260)):
        heard.hear(number, at=at)
        assert (heard.gap_ms, heard.lost) == (80_000, 4000)


def test_an_earlier_packet_reveals_what_is_missing_before_it() -> None:
    """Of another source, whose first packets come in disorder."""
    heard = Heard()
    for number, gap, lost in ((100, 0, 0), (95, 80, 4), (97, 60, 3), (94, 60, 3), (98, 40, 2), (101, 40, 2)):
        heard.hear(number, at=300, ssrc=9)
        assert (heard.gap_ms, heard.lost) == (gap, lost), number
    assert heard.reasons == {"loss"}


def test_a_stream_that_never_sends_is_one_gap() -> None:
    """Unless it is one that sends only now and then."""
    silent, slides = Heard(0).expected(), Heard(0, continuous=False).expected()
    silent.finish(4999)
    assert silent.listed == []
    for each in (silent, slides):
        each.finish(30 * SECOND)
    assert (silent.listed, slides.listed) == ([(0, 30 * SECOND, "no media")], [])


def test_a_stream_that_stops_is_a_gap_from_its_last_packet_on() -> None:
    heard = Heard().expected()
    heard.finish(20 * SECOND)
    assert heard.listed == [(220, 20 * SECOND, "no media")]


def test_a_silence_that_the_rtp_clock_explains_is_taken_back() -> None:
    heard = Heard().expected()
    heard.hear(11, at=20 * SECOND, timestamp=160 * 1000)
    assert heard.listed == []
    heard.hear(12, at=60 * SECOND, timestamp=160 * 1001)  # its clock stood: nothing says that it was silent
    assert heard.listed == [(20 * SECOND + 20, 60 * SECOND, "no media")]


def test_numbers_tell_more_of_a_silence_than_the_time() -> None:
    heard = Heard().expected()
    heard.hear(1011)  # 20 s are missing by numbers and by clock
    assert heard.listed == [(220, 20 * 1011, "loss")] and heard.gap_ms == 20 * SECOND


def test_an_outage_of_half_a_number_cycle_is_missing() -> None:
    heard = Heard().expected()
    for number in (40_010, 40_011):
        heard.hear(number)
    assert (heard.gap_ms, heard.reasons) == (20 * 39_999, {"no media"})


def test_repetitions_in_a_silence_do_not_count_it_again() -> None:
    heard = Heard().expected()
    for at in (6200, 6220, 6240):
        heard.hear(10, at=at)
    heard.hear(11, at=6300)
    assert (heard.track.reception.duplicates, heard.gap_ms, heard.listed) == (3, 6080, [(220, 6300, "no media")])


def test_another_source_does_not_explain_a_silence() -> None:
    heard = Heard().expected()
    heard.hear(5, at=20 * SECOND, ssrc=9)
    assert heard.listed == [(220, 20 * SECOND, "no media")]


@pytest.mark.parametrize(("kind", "size"), [(13, 1), (18, 2), (18, 22), (4, 4), (4, 28), (111, 1)])
def test_who_announces_silence_may_be_silent(kind: int, size: int) -> None:
    heard = Heard().expected()
    for number in (11, 12):
        heard.hear(number, kind=kind, size=size)
    heard.finish(3600 * SECOND)
    assert heard.listed == []


@pytest.mark.parametrize(("kind", "size"), [(8, 160), (18, 20), (4, 24), (4, 20), (111, 60)])
def test_who_does_not_announce_silence_is_missed(kind: int, size: int) -> None:
    heard = Heard().expected()
    for number in (11, 12):
        heard.hear(number, kind=kind, size=size)
    heard.finish(3600 * SECOND)
    assert [why for _, _, why in heard.listed] == ["no media"]


def test_reports_of_a_silent_sender_explain_its_silence() -> None:
    heard = Heard().expected()
    for at in range(5, 60, 5):
        heard.track.gaps.silent(7, BEGIN + at * SECOND * MS)
    heard.track.gaps.silent(8, BEGIN + 90 * SECOND * MS)  # somebody else's
    heard.finish(58 * SECOND)
    assert heard.listed == []
    heard.finish(100 * SECOND)
    assert heard.listed == [(55 * SECOND, 100 * SECOND, "no media")]


def test_the_silence_before_a_hold_counts_and_the_hold_does_not() -> None:
    heard = Heard().expected()
    for begin, end in ((10, 20), (40, 50)):
        heard.forgive(begin * SECOND, NEVER)
        heard.finish(15 * SECOND)  # as often as it is asked
        heard.forgive(begin * SECOND, end * SECOND)
    heard.finish(60 * SECOND)
    assert heard.listed == [
        (220, 10 * SECOND, "no media"), (20 * SECOND, 40 * SECOND, "no media"), (50 * SECOND, 60 * SECOND, "no media"),
    ]  # fmt: skip
    assert heard.gap_ms == 40 * SECOND - 220


def test_packets_queued_in_the_socket_cancel_a_silence() -> None:
    heard = Heard().expected()
    heard.forgive(10 * SECOND, NEVER)  # nothing was drained for 10 s
    for number in range(11, 500):
        heard.hear(number)
    assert heard.listed == []


def test_a_silence_over_a_restart_is_counted_once() -> None:
    heard = Heard().expected()
    heard.resumed(10 * SECOND)
    heard.track.gaps.since = BEGIN + 10 * SECOND * MS
    heard.finish(30 * SECOND)
    assert heard.listed == [(200, 10 * SECOND, "restart"), (10 * SECOND, 30 * SECOND, "no media")]


def taken_over(*, kept: bool = False, since: int = 0, **more: Any) -> Heard:
    """Give a stream of which nothing was heard until a successor takes it over after a second."""
    one = Heard(0, **more)
    one.track.gaps.since = NEVER if one.track.gaps.excused_until == NEVER else BEGIN + since * MS
    one.track.resume(BEGIN + SECOND * MS, kept)
    return one


@pytest.mark.parametrize(("number", "until"), [(48, 960), (51, 1020), (200, 1120)])
def test_a_restart_gap_lasts_until_the_first_packet(number: int, until: float) -> None:
    """Or until the sockets were there, if it had nothing to say for longer."""
    one = taken_over()
    one.hear(number)
    one.hear(number + 1)
    assert one.listed == [(0, until, "restart")]


def test_a_restart_gap_starts_when_media_were_expected() -> None:
    one = taken_over(since=900)
    one.hear(51)
    assert one.listed == [(900, 1020, "restart")]


@pytest.mark.parametrize(("heard", "silent"), [(15, 13), (6, None), (0, None)])
def test_a_silence_is_no_restart_gap_while_others_were_heard(heard: int, silent: int | None) -> None:
    one = taken_over(kept=True)
    one.track.resume(BEGIN + 20 * SECOND * MS, False, heard and BEGIN + heard * SECOND * MS)
    one.hear(1_001)
    since = (silent or max(0, heard - 2)) * SECOND
    assert one.listed == [*[(0, since, "no media")] * bool(silent), (since, 20 * SECOND + 20, "restart")]


def test_a_successor_with_all_sockets_knows_the_earlier_outage() -> None:
    one = taken_over()
    one.track.resume(BEGIN + 4 * SECOND * MS, True)
    one.hear(201)
    assert one.listed == [(0, 1120, "restart")]


def test_a_restart_is_no_gap_for_a_stream_that_lost_nothing() -> None:
    kept, held, slides, silent = (
        taken_over(kept=True), taken_over(held=True), taken_over(continuous=False), taken_over(),
    )  # fmt: skip
    for one in (kept, held, slides):
        one.hear(51)
    silent.finish(4 * SECOND)
    assert [one.listed for one in (kept, held, slides, silent)] == [[], [], [], []]
    never = taken_over()
    never.finish(30 * SECOND)
    assert never.listed == [(0, 30 * SECOND, "no media")]


def test_a_report_of_nothing_sent_explains_the_time_before() -> None:
    one = taken_over()
    one.track.gaps.silent(7, BEGIN + 1010 * MS)
    one.hear(51)
    assert one.listed == []


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


@pytest.mark.parametrize(
    ("missing", "refused", "why"), [(10, 5, "decrypt failure"), (10, 4, "loss"), (1, 1, "decrypt failure")]
)
def test_most_of_a_loss_failed_to_authenticate(missing: int, refused: int, why: str) -> None:
    heard = Heard()
    for n in range(refused):
        heard.track.gaps.unopened(bytes(8) + (7).to_bytes(4), BEGIN + 20 * (11 + n) * MS)
    heard.hear(11 + missing)
    heard.hear(13 + missing)  # the next loss has nothing to do with what failed before
    assert (heard.listed[0][2], heard.listed[-1][2]) == (why, "loss")
