"""What is missing is marked in full: losses, outages, restarts; what a hold or pause explains is not."""

import json
from dataclasses import replace
from typing import Any

import pytest

from media.rtp import header
from media.stream.gap_detection import Expected, RefusedPackets
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
    ) -> "Heard":  # fmt: skip
        arrival = BEGIN + int((20 * number if at is None else at) * MS)
        timestamp = 160 * number if timestamp is None else timestamp
        receive(self.track, [header.build(kind, number, timestamp, ssrc, bytes(size))], arrivals=[arrival])
        return self

    def expected(self) -> "Heard":
        """Have media expected all the time, as a worker does."""
        self.track.gaps.since = BEGIN
        return self

    def forgive(self, begin: float, end: float | None) -> "Heard":
        self.track.forgive(BEGIN + int(begin * MS), None if end is None else BEGIN + int(end * MS))
        return self

    def resumed(self, at: float, *, kept: bool = False) -> "Heard":
        self.track.gaps.resumed_at, self.track.gaps.kept = BEGIN + int(at * MS), kept
        return self

    def finish(self, at: float) -> "Heard":
        self.track.finish(BEGIN + int(at * MS))
        return self

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
    heard = Heard().hear(14, at=280).hear(12, at=281).hear(12, at=282)
    assert (heard.gap_ms, heard.lost, heard.track.reception.duplicates) == (40, 2, 1)
    heard.hear(11, at=283).hear(13, at=284)
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
    ("heard", "gap_ms"),
    [
        (Heard().resumed(3000, kept=True), 0),
        (Heard().forgive(1000, 2000).resumed(3000), 1800),
        (Heard().resumed(900).hear(51), 800),
        (Heard().resumed(900).hear(5, at=1000, ssrc=9), 780),
    ],
    ids=["all sockets were kept", "what lies outside of a hold", "numbers are missing", "a new source"],
)
def test_a_restart_costs_the_time_without_sockets(heard: Heard, gap_ms: int) -> None:
    heard.finish(3000 if heard.track.reception.last_arrival < BEGIN + 900 * MS else 1020)
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


def silent_for_an_hour(kind: int, size: int) -> Heard:
    """Give a stream whose last packets have this type and size."""
    return Heard().expected().hear(11, kind=kind, size=size).hear(12, kind=kind, size=size).finish(3600 * SECOND)


COUNTED_ON = 160 * 1000
SILENCES = {
    "a stream that never sends": (Heard(0).expected().finish(30 * SECOND), [(0, 30 * SECOND, "no media")]),
    "not yet": (Heard(0).expected().finish(4999), []),
    "one that sends only now and then": (Heard(0, continuous=False).expected().finish(30 * SECOND), []),
    "a stream that stops": (Heard().expected().finish(20 * SECOND), [(220, 20 * SECOND, "no media")]),
    "explained by the RTP clock": (Heard().expected().hear(11, at=20 * SECOND, timestamp=COUNTED_ON), []),
    "the RTP clock stood": (
        Heard()
        .expected()
        .hear(11, at=20 * SECOND, timestamp=160 * 1000)
        .hear(12, at=60 * SECOND, timestamp=160 * 1001),
        [(20 * SECOND + 20, 60 * SECOND, "no media")],
    ),
    "missing by numbers and by clock": (Heard().expected().hear(1011), [(220, 20 * 1011, "loss")]),
    "half a cycle of numbers": (Heard().expected().hear(40_010).hear(40_011), [(220, 20 * 40_010, "no media")]),
    "repetitions do not count again": (
        Heard().expected().hear(10, at=6200).hear(10, at=6220).hear(10, at=6240).hear(11, at=6300),
        [(220, 6300, "no media")],
    ),
    "another source explains nothing": (
        Heard().expected().hear(5, at=20 * SECOND, ssrc=9),
        [(220, 20 * SECOND, "no media")],
    ),
    **{
        f"announced by type {kind}, {size} bytes": (silent_for_an_hour(kind, size), [])
        for kind, size in ((13, 1), (18, 2), (18, 22), (4, 4), (4, 28), (111, 1))
    },
    **{
        f"not announced by type {kind}, {size} bytes": (
            silent_for_an_hour(kind, size),
            [(260, 3600 * SECOND, "no media")],
        )
        for kind, size in ((8, 160), (18, 20), (4, 24), (4, 20))
    },
}


@pytest.mark.parametrize(("heard", "listed"), SILENCES.values(), ids=SILENCES)
def test_a_silence_is_a_gap_unless_it_is_explained(heard: Heard, listed: list[tuple[float, float, str]]) -> None:
    assert heard.listed == listed
    assert heard.gap_ms == sum(end - begin for begin, end, _ in listed)


def test_an_opus_stream_that_stops_after_speech_leaves_a_gap() -> None:
    assert [why for _, _, why in silent_for_an_hour(111, 60).listed] == ["no media"]


def test_the_silence_before_a_hold_counts_and_the_hold_does_not() -> None:
    heard = Heard().expected()
    for begin, end in ((10, 20), (40, 50)):
        heard.forgive(begin * SECOND, None)
        heard.finish(15 * SECOND)  # as often as it is asked
        heard.forgive(begin * SECOND, end * SECOND)
    heard.finish(60 * SECOND)
    assert heard.listed == [
        (220, 10 * SECOND, "no media"), (20 * SECOND, 40 * SECOND, "no media"), (50 * SECOND, 60 * SECOND, "no media"),
    ]  # fmt: skip
    assert heard.gap_ms == 40 * SECOND - 220


def test_packets_queued_in_the_socket_cancel_a_silence() -> None:
    heard = Heard().expected().forgive(10 * SECOND, None)  # nothing was drained for 10 s
    for number in range(11, 500):
        heard.hear(number)
    assert heard.listed == []


def test_a_silence_over_a_restart_is_counted_once() -> None:
    heard = Heard().expected().resumed(10 * SECOND)
    heard.track.gaps.since = BEGIN + 10 * SECOND * MS
    assert heard.finish(30 * SECOND).listed == [
        (200, 10 * SECOND, "restart"), (10 * SECOND, 30 * SECOND, "no media"),
    ]  # fmt: skip


def taken_over(*, kept: bool = False, since: int = 0, **more: Any) -> Heard:
    """Give a stream of which nothing was heard until a successor takes it over after a second."""
    one = Heard(0, **more)
    one.track.gaps.expect(BEGIN + since * MS)
    one.track.resume(BEGIN + SECOND * MS, kept)
    return one


@pytest.mark.parametrize(("since", "number", "until"), [(0, 48, 960), (0, 51, 1020), (0, 200, 1120), (900, 51, 1020)])
def test_a_restart_gap_lasts_until_the_first_packet(since: int, number: int, until: float) -> None:
    """From when media were expected; or until the sockets were there, if it had nothing to say for longer."""
    assert taken_over(since=since).hear(number).hear(number + 1).listed == [(since, until, "restart")]


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
    assert one.hear(201).listed == [(0, 1120, "restart")]


def test_a_restart_is_no_gap_for_a_stream_that_lost_nothing() -> None:
    """As a report of nothing sent says, too."""
    for one in (taken_over(kept=True), taken_over(held=True), taken_over(continuous=False)):
        assert one.hear(51).listed == []
    assert taken_over().finish(4 * SECOND).listed == []
    assert taken_over().finish(30 * SECOND).listed == [(0, 30 * SECOND, "no media")]
    reported = taken_over()
    reported.track.gaps.silent(7, BEGIN + 1010 * MS)
    assert reported.hear(51).listed == []


@pytest.mark.parametrize("paused", [True, False])
def test_a_successor_applies_a_hold_its_predecessor_missed(paused: bool) -> None:
    heard = Heard().expected()
    heard.track.spec = replace(heard.track.spec, held=not paused)
    heard.track.pauses.items = [(BEGIN + 400 * MS, None)] if paused else []
    heard.track.resume(BEGIN + 600 * MS, True)
    begin = 400 if paused else 600
    excused = [heard.track.gaps.excused]
    heard.track.spec = replace(heard.track.spec, held=False, since=BEGIN + 900 * MS)
    heard.track.pauses.items = []
    heard.track.resume(BEGIN + 1200 * MS, True)
    excused.append(heard.track.gaps.excused)
    assert excused == [(BEGIN + begin * MS, None), (BEGIN + begin * MS, BEGIN + 900 * MS)]
    assert heard.track.gaps.since == BEGIN + 900 * MS


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


def test_time_without_numbers_is_missing_in_whole_packets() -> None:
    """The last packet before may have come late, which hid that it was followed by one more."""
    heard = Heard().hear(11, at=235).resumed(1000).finish(1000)
    assert heard.listed == [(1000 - 39 * 20, 1000, "restart")]
    assert heard.gap_ms == 20 * len(range(240, 1001, 20))


def test_unstored_audio_lasts_as_long_as_its_packets() -> None:
    heard = Heard()
    heard.track.unstored(4, BEGIN + 130 * MS, BEGIN + 200 * MS)  # four, of which some came late
    assert (heard.listed, heard.gap_ms, heard.track.reception.packets) == ([(130, 200, "disk")], 80, 6)
    heard.track.unstored(3, BEGIN + 130 * MS, BEGIN + 300 * MS)
    assert (heard.listed, heard.gap_ms, heard.track.reception.packets) == ([(130, 300, "disk")], 140, 3)


def test_unstored_pictures_last_as_long_as_they_arrived() -> None:
    """Many packets make one of them."""
    heard = Heard()
    heard.track.spec = replace(heard.track.spec, continuous=False)
    for end in (200, 310):
        heard.track.unstored(4, BEGIN + 130 * MS, BEGIN + end * MS)
    assert (heard.listed, heard.gap_ms) == ([(130, 310, "disk")], 180)


@pytest.mark.parametrize(
    ("listens", "resumed", "silent"),
    [
        ([(9, False), (15, True), (24, False)], 20, 13),
        ([(25, True)], 20, 18),  # the clock was set back
        ([(900, True), (15, True), (16, False)], 60, 13),  # it was set back before that was noted anew
    ],
)
def test_a_silence_with_empty_sockets_is_no_restart_gap(
    listens: list[tuple[int, bool]], resumed: int, silent: int
) -> None:
    one = taken_over(kept=True)
    assert [one.track.listens(BEGIN + at * SECOND * MS) for at, _ in listens] == [noted for _, noted in listens]
    one.track.resume(BEGIN + resumed * SECOND * MS, False)
    one.hear(50 * resumed + 1)
    assert one.listed == [
        (0, silent * SECOND, "no media"), (silent * SECOND, resumed * SECOND + 20, "restart"),
    ]  # fmt: skip


def test_an_earlier_restart_is_missed_despite_later_listening() -> None:
    one = taken_over(since=900)
    assert one.track.listens(BEGIN + 15 * SECOND * MS)
    one.track.resume(BEGIN + 20 * SECOND * MS, False)
    one.hear(1_001)
    back = one.listed[0][1]
    assert one.listed == [
        (900, back, "restart"), (back, 13 * SECOND, "no media"), (13 * SECOND, 20 * SECOND + 20, "restart"),
    ]  # fmt: skip


def test_a_restart_gap_stays_when_another_restart_follows() -> None:
    one = taken_over(kept=True)
    assert one.track.listens(BEGIN + 15 * SECOND * MS)
    one.track.resume(BEGIN + 60 * SECOND * MS, False)
    assert one.track.listens(BEGIN + 60 * SECOND * MS)
    one.track.resume(BEGIN + 61 * SECOND * MS, False, BEGIN + 60 * SECOND * MS)
    one.hear(3_051)
    assert one.listed == [(0, 13 * SECOND, "no media"), (13 * SECOND, 61 * SECOND + 20, "restart")]


def test_a_held_or_idle_stream_need_not_be_listened_to() -> None:
    held, quiet = taken_over(held=True), taken_over(since=0)
    held.track.gaps.since, quiet.track.gaps.since = Expected.NOT_NOW, Expected.NOT_YET
    assert not any(each.track.listens(BEGIN + 99 * SECOND * MS) for each in (held, quiet))


@pytest.mark.parametrize(
    ("since", "excused", "refused", "numbers"),
    [
        (Expected.NOT_YET, None, None, ([0, 0], 0, [0, 0])),
        (Expected.NOT_NOW, (0, None), None, ([0, (1 << 63) - 1], (1 << 63) - 1, [0, 0])),
        (BEGIN, (BEGIN - 9, BEGIN), RefusedPackets(3, BEGIN + 1), ([BEGIN - 9, BEGIN], BEGIN, [3, BEGIN + 1])),
        (BEGIN, (BEGIN - 9, None), None, ([BEGIN - 9, (1 << 63) - 1], BEGIN, [0, 0])),
    ],
)
def test_a_checkpoint_has_the_numbers_of_earlier_versions(
    since: int | Expected, excused: tuple[int, int | None] | None, refused: RefusedPackets | None, numbers: object
) -> None:
    gaps, successor = Heard(0).track.gaps, Heard(0).track.gaps
    gaps.since, gaps.excused, gaps.refused = since, excused, refused
    state = json.loads(json.dumps(gaps.state()))
    assert (state["excused"], state["since"], state["refused"]) == numbers
    successor.restore(0, {**state, "gaps": []})
    assert (successor.since, successor.excused, successor.refused) == (since, excused, refused)
